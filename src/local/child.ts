import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

/** A process that runs beside this one and writes to a log of its own. */
export interface Child {
  readonly name: string;
  readonly log: string;
  /** How it ended, in words: `exit code 1`, `signal SIGKILL`, or why it never started. */
  readonly exited: Promise<string>;
  /** Asks it to finish (SIGTERM). */
  end(): void;
  /** Ends it and all that it started, at once. */
  kill(): void;
}

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Emptied at the start. */
  readonly log: string;
}

/**
 * Starts a process in a group of its own: the terminal's Ctrl-C must not reach it, because the
 * order in which the two are told to stop matters.
 */
export function startChild({ name, command, args, cwd, env, log }: ChildOptions): Child {
  const output = openSync(log, 'w', 0o600);
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  let running = true;
  const exited = new Promise<string>((resolve) => {
    const settle = (how: string): void => {
      running = false;
      resolve(how);
    };
    child.once('error', (error) => settle(error.message));
    child.once('exit', (code, signal) => {
      settle(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
  });
  return {
    name,
    log,
    exited,
    end() {
      if (running) child.kill('SIGTERM');
    },
    kill() {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The whole group has gone already.
      }
    },
  };
}
