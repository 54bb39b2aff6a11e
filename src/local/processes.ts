import { type StdioOptions, spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

/** A process that runs beside this one and writes to a log of its own. */
export type Child = ReturnType<typeof startChild>;

/**
 * Starts a process in a group of its own: the terminal's Ctrl-C must not reach it, because the
 * order in which the sidecar and LiteLLM are told to stop matters.
 *
 * @param log The file that stdout and stderr go to, emptied at the start.
 */
export function startChild(
  name: string,
  log: string,
  [command = '', ...args]: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
) {
  const output = openSync(log, 'w', 0o600);
  const stdio: StdioOptions = ['ignore', output, output];
  const child = spawn(command, args, { cwd, env, detached: true, stdio });
  closeSync(output);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(signal ? `signal ${signal}` : `exit code ${code}`),
    );
  });
  return {
    name,
    log,
    /** How it ended, in words: `exit code 1`, `signal SIGKILL`, or why it never started. */
    exited,
    /** Asks the process to finish (SIGTERM), where it still runs. */
    end(): void {
      child.kill('SIGTERM');
    },
    /** Ends the process and all that it started, at once. */
    kill(): void {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The whole group has gone already.
      }
    },
  };
}

/** How the two processes ended: as asked, at once, or because one of them died. */
export type SupervisedEnd =
  | { readonly kind: 'finished' }
  | { readonly kind: 'killed' }
  | { readonly kind: 'died'; readonly child: Child; readonly how: string };

export type Supervisor = ReturnType<typeof supervise>;

/**
 * Watches the sidecar and LiteLLM's launcher. The sidecar goes first: it finishes the requests that
 * it has in hand, and LiteLLM must still be there to answer them. Where one dies, the other is
 * ended.
 */
export function supervise(sidecar: Child, launcher: Child) {
  let ending = false;
  let killed = false;
  let death: { child: Child; how: string } | undefined;

  const end = async (): Promise<void> => {
    ending = true;
    sidecar.end();
    await sidecar.exited;
    launcher.end();
  };
  const watch = async (child: Child): Promise<void> => {
    const how = await child.exited;
    if (ending) return;
    death = { child, how };
    await end();
  };
  const both = Promise.all([sidecar.exited, launcher.exited, watch(sidecar), watch(launcher)]);

  return {
    /** Resolves when both processes have gone. */
    ended: both.then((): SupervisedEnd => {
      // A launcher that died may have left a LiteLLM behind in its group, which ends here.
      for (const child of [sidecar, launcher]) child.kill();
      if (killed) return { kind: 'killed' };
      return death === undefined ? { kind: 'finished' } : { kind: 'died', ...death };
    }),
    /** The first call ends both gracefully, the second at once. */
    interrupt(): void {
      if (!ending) return void end();
      killed = true;
      sidecar.kill();
      launcher.kill();
    },
  };
}

/** So much of a log's end is read: enough for a Python traceback. */
const TAIL_BYTES = 16_384;

/** The last lines of a log that is being written; none where the log cannot be read. */
export function tailOf(file: string, lines = 20): readonly string[] {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { size } = fstatSync(descriptor);
      const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
      readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
      const text = stripVTControlCharacters(buffer.toString('utf8'));
      return text
        .split(/\r\n|\n|\r/)
        .filter((line) => line.trim() !== '')
        .slice(-lines);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return [];
  }
}
