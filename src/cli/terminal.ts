import { userInfo } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { styleText } from 'node:util';
import { redact } from '../text/safe.ts';

/**
 * What a shell learns from the end of a command; sysexits(3) where it has a number for the case.
 */
export const EXIT = {
  ok: 0,
  /** The command line was right, and what it asks for did not succeed or was refused. */
  failed: 1,
  /** Unknown command or option, missing argument. */
  usage: 2,
  /** EX_USAGE: the environment, `.env` or a file they name holds mistakes. */
  configuration: 64,
  /** EX_UNAVAILABLE: something must be installed or free and is not, or no sidecar runs. */
  unavailable: 69,
  /** EX_CANTCREAT: the state folder cannot be written. */
  cannotCreate: 73,
  /** 128 + SIGINT. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An end that was foreseen: what happened, what to do about it, and the code to leave with. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: ExitCode;
  readonly hints: readonly string[];
  /** Lines to show before the message, as they are: the end of a log, a list of mistakes. */
  readonly detail: readonly string[];

  constructor(
    message: string,
    exitCode: ExitCode = EXIT.failed,
    hints: readonly string[] = [],
    detail: readonly string[] = [],
  ) {
    super(message);
    this.exitCode = exitCode;
    this.hints = hints;
    this.detail = detail;
  }
}

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
  /** Results, and nothing else: the command may stand in `$(…)` or before a pipe. */
  readonly stdout: Output;
  readonly stderr: Output;
  /** Asked for by the command that reads it, and by no other. */
  readonly stdin?: () => Input;
}

/** What another program writes, or a person types. */
export interface Input extends AsyncIterable<Buffer | string> {
  readonly isTTY?: boolean | undefined;
  /** On a terminal: whether each character comes at once, and is not shown. */
  setRawMode?(raw: boolean): unknown;
}

/** Time as a command sees it: `cli.ts` passes the real one, a test its own. */
export interface Time {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Resolves after so many milliseconds, or at once where the signal was or is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemTime: Time = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    await setTimeout(ms, undefined, { ...(signal && { signal }) }).catch(() => undefined);
  },
};

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

/**
 * Says something on stderr: lower case, no full stop, the hints below it. It may repeat what was
 * typed, and somebody may have typed a key; where that is shown, a log often keeps it.
 */
export function say(terminal: Terminal, message: string, hints: readonly string[] = []): void {
  const { stderr } = terminal;
  const name = paint(terminal, stderr, 'bold', 'sidecar');
  const tail = hints.map((hint) => `  ${paint(terminal, stderr, 'cyan', 'hint')}: ${hint}\n`);
  stderr.write(redact(`${name}: ${message}\n${tail.join('')}`));
}

/** Says how a command ended, and what led to it. */
export function sayError(terminal: Terminal, { message, hints, detail }: CommandError): void {
  for (const line of detail) terminal.stderr.write(redact(`${line}\n`));
  say(terminal, message, hints);
}

/** Writes one JSON document on stdout. C1 controls are escaped too: a terminal may obey them. */
export function writeJson({ stdout }: Terminal, document: unknown): void {
  const text = JSON.stringify(document, undefined, 2);
  stdout.write(`${escapeControls(text)}\n`);
}

export const escapeControls = (text: string): string =>
  text.replaceAll(/[\u007f-\u009f]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);

/**
 * Who sits at the keyboard, for the audit. Behind sudo that is not root, and in a container nobody
 * but the operator knows it, who says so by `--as`.
 */
export function personOf({ env }: Pick<Terminal, 'env'>, as: string | undefined): string {
  if (as !== undefined) return as;
  const { name, uid } = currentUser();
  const before = env['SUDO_USER'] ?? env['DOAS_USER'] ?? '';
  return uid === 0 && before !== '' ? before : name;
}

/** The user of this process; in a container that user may have no name. */
export function currentUser(): { readonly name: string; readonly uid: number } {
  try {
    const { username, uid } = userInfo();
    return { name: username, uid };
  } catch {
    const uid = process.getuid?.() ?? -1;
    return { name: `uid-${uid}`, uid };
  }
}
