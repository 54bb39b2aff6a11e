import { stripVTControlCharacters } from 'node:util';
import { oneLine } from '../text/safe.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  isLive,
  type Output,
  paint,
  say,
  type Terminal,
  type Time,
} from './terminal.ts';

/** One piece of work that somebody may be waiting for. */
export interface Step {
  readonly title: string;
  /** Resolves to what is said at the end, rejects on failure; `note` shows a line meanwhile. */
  run(note: (text: string) => void): Promise<string>;
}

interface StepsOptions {
  /** How many steps run at once. */
  readonly concurrency: number;
  /** A failed step leaves the others running, and nothing rejects: the caller keeps the results. */
  readonly keepGoing: boolean;
}

/** A character of Braille that goes round. */
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const TURN_MS = 100;

/**
 * Runs steps and says how each ended, on stderr: whoever pipes the result still sees them. On a
 * terminal those that run stand below. Rejects with the first failure unless `keepGoing`.
 */
export async function runSteps(
  terminal: Terminal,
  steps: readonly Step[],
  { concurrency, keepGoing }: StepsOptions,
): Promise<void> {
  const { stderr } = terminal;
  const live = isLive(terminal, stderr) ? createLiveLines(stderr) : undefined;
  const running = new Map<Step, string>();
  let turns = 0;
  const draw = (): void => {
    const mark = SPINNER[turns % SPINNER.length];
    live?.draw(
      [...running].flatMap(([{ title }, note]) => [
        `${mark} ${oneLine(title)}`,
        ...(note === '' ? [] : [`  ${oneLine(note)}`]),
      ]),
    );
  };
  const runOne = async (step: Step): Promise<void> => {
    const note = (text: string): void => {
      running.set(step, text);
      draw();
    };
    note('');
    const { words, error } = await step.run(note).then(
      (words) => ({ words, error: undefined }),
      (error: Error) => ({ words: error.message, error }),
    );
    running.delete(step);
    live?.clear();
    const line = oneLine(`${step.title}: ${words}`);
    const mark = error
      ? paint(terminal, stderr, 'red', '✖')
      : paint(terminal, stderr, 'green', '✔');
    if (live) stderr.write(`${mark} ${line}\n`);
    else say(terminal, line);
    draw();
    if (error && !keepGoing) throw error;
  };
  const left = steps.values();
  const runSome = async (): Promise<void> => {
    for (const step of left) await runOne(step);
  };
  const turning = setInterval(() => {
    turns += 1;
    draw();
  }, TURN_MS);
  try {
    await Promise.all(Array.from({ length: concurrency }, runSome));
  } finally {
    clearInterval(turning);
    live?.clear();
  }
}

/** Lines that change in place, at the bottom of a terminal. */
function createLiveLines(output: Output) {
  let drawn = 0;
  // ECMA-48: cursor up to the first line, then erase from there to the end of the screen.
  const back = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\r\u001b[J`);
  return {
    /** Puts these lines in the place of those before; longer ones are cut. */
    draw(lines: readonly string[]): void {
      // A line that wraps would take two rows, and the cursor would go back too few.
      const cut = lines.map((line) => cutTo(output.columns ?? 80, line));
      output.write(`${back()}${cut.map((line) => `${line}\n`).join('')}`);
      drawn = cut.length;
    },
    /** Takes the lines away. */
    clear(): void {
      output.write(back());
      drawn = 0;
    },
  };
}

function cutTo(columns: number, line: string): string {
  const plain = stripVTControlCharacters(line);
  return plain.length < columns ? line : `${plain.slice(0, columns - 2)}…`;
}

/** What goes on in the sidecar while a command looks at it once a second. */
interface Watched<T> {
  /** What the command is doing meanwhile, for people: `waiting`, `watching`. */
  readonly doing: string;
  /** What stays true, or goes on, when the command gives up. */
  readonly hint: string;
  /** One look. A `CommandError` with the code `unavailable` says that no sidecar answers. */
  look(): Promise<T>;
  /** The lines that show it on a terminal, in the place of those of the look before. */
  draw(seen: T, now: number): readonly string[];
  /** Elsewhere: says what has changed since the look before. */
  sayChange(seen: T, now: number): void;
  isOver(seen: T): boolean;
}

const LOOK_EVERY_MS = 1000;

/** The restart of a sidecar is waited for; a sidecar that stays away longer is not. */
const AWAY_AT_MOST_MS = 60_000;

/**
 * Looks once a second until what is watched is over. Resolves to what was seen then, or to
 * undefined where Ctrl-C came first. Throws `CommandError` where the sidecar stays away for more
 * than a minute.
 *
 * @param first What is known already; the first look comes after it.
 */
export async function watch<T>(
  { terminal, time }: { readonly terminal: Terminal; readonly time: Time },
  watched: Watched<T>,
  signal: AbortSignal,
  first?: T,
): Promise<T | undefined> {
  const { doing, hint } = watched;
  const live = isLive(terminal, terminal.stderr) ? createLiveLines(terminal.stderr) : undefined;
  let awayMs = 0;
  const isAway = ({ message, exitCode }: CommandError): void => {
    live?.clear();
    if (awayMs === 0) say(terminal, `${message}; still ${doing}`);
    awayMs += LOOK_EVERY_MS;
    if (awayMs > AWAY_AT_MOST_MS) throw stopped(doing, message, exitCode, hint);
  };
  let seen: T | CommandError | undefined = first;
  while (!signal.aborted) {
    seen ??= await watched.look().catch(absence);
    if (signal.aborted) break;
    if (seen instanceof CommandError) {
      isAway(seen);
    } else {
      awayMs = 0;
      if (live === undefined) watched.sayChange(seen, time.now());
      else live.draw(watched.draw(seen, time.now()));
      if (watched.isOver(seen)) {
        live?.clear();
        return seen;
      }
    }
    await time.sleep(LOOK_EVERY_MS, signal);
    seen = undefined;
  }
  return undefined;
}

/** Where no sidecar answers, that is what was seen; every other error is thrown. */
function absence(error: unknown): CommandError {
  if (error instanceof CommandError && error.exitCode === EXIT.unavailable) return error;
  throw error;
}

/** The end of the watching, for a reason that does not end what was watched. */
export const stopped = (doing: string, message: string, exitCode: ExitCode, hint: string) =>
  new CommandError(`stopped ${doing}: ${message}`, exitCode, [hint]);
