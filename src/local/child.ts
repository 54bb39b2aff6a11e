import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/** What lies where, beneath the folder that the command was started in. */
export interface Layout {
  readonly home: string;
  /** The venv. */
  readonly litellm: string;
  readonly slots: string;
  readonly reports: string;
  readonly pipLog: string;
  readonly litellmLog: string;
  readonly sidecarLog: string;
}

export function layoutOf(cwd: string): Layout {
  const home = join(cwd, '.local');
  return {
    home,
    litellm: join(home, 'litellm'),
    slots: join(home, 'slots'),
    reports: join(home, 'reports'),
    pipLog: join(home, 'pip.log'),
    litellmLog: join(home, 'litellm.log'),
    sidecarLog: join(home, 'sidecar.log'),
  };
}

/** Enough for a Python traceback. */
const BYTES = 16_384;

/** The last lines of a log that is being written; none where it cannot be read. */
export function tailOf(file: string, lines: number): readonly string[] {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { size } = fstatSync(descriptor);
      const buffer = Buffer.alloc(Math.min(size, BYTES));
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
