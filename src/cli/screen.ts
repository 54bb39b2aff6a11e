import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';
import { DefaultRenderer, Listr, ListrLogger, ProcessOutput } from 'listr2';
import { oneLine } from '../text/safe.ts';
import {
  CommandError,
  type ExitCode,
  hasColours,
  isLive,
  type Output,
  paint,
  type Style,
  say,
  type Terminal,
} from './terminal.ts';

/** A restart is waited for; a sidecar that stays away is not. */
const AT_MOST_MS = 60_000;

/** How long the sidecar that is asked again and again has been away. */
export interface Absence {
  /** It answered. */
  over(): void;
  /** It did not, for one more look: said once, and thrown where that lasts. */
  goesOn(reason: CommandError): void;
}

export interface AbsenceOptions {
  /** Milliseconds between two looks. */
  readonly everyMs: number;
  /** `still waiting`, `stopped waiting`. */
  readonly doing: string;
  /** What is as it was, though nobody waits for it any more. */
  readonly hint: string;
}

export function createAbsence(
  terminal: Terminal,
  { everyMs, doing, hint }: AbsenceOptions,
): Absence {
  let awayMs = 0;
  return {
    over() {
      awayMs = 0;
    },
    goesOn({ message, exitCode }) {
      if (awayMs === 0) say(terminal, `${message}; still ${doing}`);
      awayMs += everyMs;
      if (awayMs > AT_MOST_MS) throw stopped(doing, message, exitCode, hint);
    },
  };
}

/** The end of a watching, for a reason that does not end what was watched. */
export const stopped = (doing: string, message: string, exitCode: ExitCode, hint: string) =>
  new CommandError(`stopped ${doing}: ${message}`, exitCode, [hint]);

/** Lines that change in place, at the bottom of a terminal. */
export interface LiveLines {
  /** Puts these lines in the place of those before; longer ones are cut. */
  draw(lines: readonly string[]): void;
  /** Takes them away. */
  clear(): void;
}

/** Undefined where nobody is there to see movement. */
export function createLiveLines(terminal: Terminal, output: Output): LiveLines | undefined {
  if (!isLive(terminal, output)) return undefined;
  let drawn = 0;
  // ECMA-48: cursor up to the first line, then erase from there to the end of the screen.
  const back = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\r\u001b[J`);
  return {
    draw(lines) {
      // A line that wraps would be two, and the way back too short.
      const cut = lines.map((line) => cutTo(output.columns ?? 80, line));
      output.write(`${back()}${cut.map((line) => `${line}\n`).join('')}`);
      drawn = cut.length;
    },
    clear() {
      output.write(back());
      drawn = 0;
    },
  };
}

function cutTo(columns: number, line: string): string {
  const plain = stripVTControlCharacters(line);
  return plain.length < columns ? line : `${plain.slice(0, columns - 2)}…`;
}

/** One piece of work that somebody may be waiting for. */
export interface Step {
  readonly title: string;
  /** Resolves to its last words, rejects where it failed; `note` shows a line meanwhile. */
  run(note: (text: string) => void): Promise<string>;
}

export interface Progress {
  /** How many steps run at once. */
  readonly concurrency: number;
  /** A failed step leaves the others running, and nothing rejects: the caller keeps the results. */
  readonly keepGoing: boolean;
}

/**
 * listr2 asks about stdout, but progress goes to stderr: whoever pipes the result still sees it.
 */
class StderrRenderer extends DefaultRenderer {
  static override nonTTY = true;
}

/**
 * Runs steps with a live display on a terminal and one plain line for each elsewhere.
 * Rejects with the first failure unless `keepGoing`.
 */
export async function runSteps(
  terminal: Terminal,
  steps: readonly Step[],
  { concurrency, keepGoing }: Progress,
): Promise<void> {
  const live = isLive(terminal, terminal.stderr);
  const tasks = new Listr(
    steps.map((step) => ({
      title: step.title,
      task: async (_context: unknown, task: { title: string; output: string }) => {
        const note = (text: string): void => {
          task.output = text;
        };
        try {
          const words = await step.run(note);
          task.title = `${step.title}: ${words}`;
        } catch (error) {
          task.title = `${step.title}: ${error instanceof Error ? error.message : String(error)}`;
          throw error;
        } finally {
          if (!live) say(terminal, task.title);
        }
      },
    })),
    {
      concurrent: concurrency,
      exitOnError: !keepGoing,
      registerSignalListeners: false,
      silentRendererCondition: !live,
      renderer: StderrRenderer,
      rendererOptions: {
        showErrorMessage: false,
        collapseErrors: false,
        formatOutput: 'truncate',
        logger: new ListrLogger({
          useIcons: true,
          toStderr: [],
          // What it calls stdout is where it draws.
          processOutput: new ProcessOutput(process.stderr, process.stdout),
        }),
      },
    },
  );
  await tasks.run();
}

/** `store: ok`: a word that says what it is about, and what there is to say. */
export interface Line {
  readonly word: string;
  readonly style: Style;
  /** Whatever it holds stays on its line. */
  readonly text: string;
  /** Lines to go below it, as they are but for their indentation. */
  readonly below?: readonly string[];
}

/** For stdout; each ends with a line feed. */
export const renderLines = (terminal: Terminal, lines: readonly Line[]): string =>
  lines
    .map(({ word, style, text, below = [] }) => {
      const painted = paint(terminal, terminal.stdout, style, word.trim());
      const first = `${word.replace(/\S.*/, '')}${painted}: ${oneLine(text)}\n`;
      return first + below.map((line) => `    ${line}\n`).join('');
    })
    .join('');

interface Advice {
  readonly warnings: readonly { readonly message: string; readonly hint: string }[];
  readonly next: readonly string[];
}

export const warningLines = ({ warnings }: Advice): readonly Line[] =>
  warnings.flatMap(({ message, hint }): Line[] => [
    { word: 'warning', style: 'yellow', text: message },
    { word: '  hint', style: 'cyan', text: hint },
  ]);

export const nextLines = ({ next }: Advice): readonly Line[] =>
  next.map((text) => ({ word: 'next', style: 'cyan', text }));

/** A text, or one in a style. Control characters in it do not reach the terminal. */
export type Cell = string | { readonly text: string; readonly style: Style };

const NO_BORDER = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '', mid: '', 'left-mid': '' },
  ...{ 'mid-mid': '', 'right-mid': '', bottom: '', 'bottom-mid': '', 'bottom-left': '' },
  ...{ 'bottom-right': '', left: '', right: '', middle: '  ' },
};

/** The last column is never narrower than this, however narrow the terminal is. */
const NARROWEST = 24;

const textOf = (cell: Cell): string => oneLine(typeof cell === 'string' ? cell : cell.text);

/**
 * Rows in columns, the titles above them; the last column is broken between words to fit a
 * terminal's width, and elsewhere a row is a line. Ends with a line feed.
 */
export function renderColumns(
  terminal: Terminal,
  output: Output,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const room = roomForLast(head, rows, hasColours(terminal, output) ? output.columns : undefined);
  const show = (cell: Cell, isLast: boolean): string =>
    brokenAt(isLast ? room : Infinity, textOf(cell))
      .map((line) => (typeof cell === 'string' ? line : paint(terminal, output, cell.style, line)))
      .join('\n');
  const table = new Table({
    head: head.map((title) => paint(terminal, output, 'bold', title)),
    chars: NO_BORDER,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
  });
  for (const row of rows) table.push(row.map((cell, at) => show(cell, at === row.length - 1)));
  return `${table.toString().replaceAll(/ +$/gm, '')}\n`;
}

function roomForLast(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  width = Infinity,
): number {
  const widths = head
    .slice(0, -1)
    .map((title, at) => Math.max(title.length, ...rows.map((row) => textOf(row[at] ?? '').length)));
  return Math.max(NARROWEST, width - widths.reduce((sum, each) => sum + each + 2, 0));
}

/** Lines of at most so many characters, broken between words. */
function brokenAt(columns: number, text: string): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
