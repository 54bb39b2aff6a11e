import { DefaultRenderer, Listr, ListrLogger, ProcessOutput } from 'listr2';
import { isLive, say, type Terminal } from './terminal.ts';

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
