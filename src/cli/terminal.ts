import { styleText } from 'node:util';
import type { CommandError } from './exit-code.ts';

/** A stream that a person may be looking at. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/**
 * All that a command knows of the process it runs in: `cli.ts` passes the real one, a test its own.
 */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Results, and nothing else: it may stand in `$(…)` or before a pipe. */
  readonly stdout: Output;
  readonly stderr: Output;
}

/** A colour, or how bold a text is. */
export type Style = Parameters<typeof styleText>[0];

/** Whether a person is there to see movement. */
export function isLive(terminal: Terminal, output: Output): boolean {
  return output.isTTY === true && terminal.env['TERM'] !== 'dumb';
}

/** Whether colours are wanted (https://no-color.org). */
export function hasColours(terminal: Terminal, output: Output): boolean {
  return isLive(terminal, output) && (terminal.env['NO_COLOR'] ?? '') === '';
}

/** A text in a style, or as it is where colours are not wanted. */
export function paint(terminal: Terminal, output: Output, style: Style, text: string): string {
  return hasColours(terminal, output) ? styleText(style, text, { validateStream: false }) : text;
}

/** Says something on stderr: lower case, no full stop, the hints below it. */
export function say(terminal: Terminal, message: string, hints: readonly string[] = []): void {
  const { stderr } = terminal;
  const name = paint(terminal, stderr, 'bold', 'sidecar');
  const tail = hints.map((hint) => `  ${paint(terminal, stderr, 'cyan', 'hint')}: ${hint}\n`);
  stderr.write(`${name}: ${message}\n${tail.join('')}`);
}

/** Says how a command ended, and what led to it. */
export function sayError(terminal: Terminal, { message, hints, detail }: CommandError): void {
  for (const line of detail) terminal.stderr.write(`${line}\n`);
  say(terminal, message, hints);
}
