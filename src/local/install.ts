import { execFile, spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { CommandError, EXIT } from '../cli/exit-code.ts';
import type { Step } from '../cli/progress.ts';
import { tailOf } from './log-tail.ts';
import { findPython } from './python.ts';

/**
 * Exact, because each release is checked against. prisma is wanted even without a database: without
 * it a wrong key is answered with 500 (litellm issue 35457).
 */
export const REQUIREMENTS = ['litellm[proxy]==1.104.2', 'prisma==0.15.0'] as const;

/** Written last: a folder without it, or with other words in it, was not finished. */
const MARKER = 'installed-by-sidecar';
const TAIL_LINES = 20;

export interface Installation {
  /** Where it lies, `.local/litellm`; nothing else may be kept there. */
  readonly folder: string;
  readonly log: string;
  readonly env: NodeJS.ProcessEnv;
  readonly platform: string;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

export const litellmIn = (folder: string): string => join(folder, 'bin', 'litellm');

/** Whether what is in the folder is complete and still runs: an upgraded Python breaks a venv. */
export async function isInstalled(folder: string): Promise<boolean> {
  const marker = join(folder, MARKER);
  if (!existsSync(marker) || readFileSync(marker, 'utf8') !== REQUIREMENTS.join('\n')) return false;
  if (!existsSync(litellmIn(folder))) return false;
  try {
    await promisify(execFile)(join(folder, 'bin', 'python'), ['-c', '']);
    return true;
  } catch {
    return false;
  }
}

/** The steps that make it anew; what an interrupted run left behind goes first. */
export function installSteps(installation: Installation): readonly Step[] {
  const { folder, log, env, platform, signal } = installation;
  const python = join(folder, 'bin', 'python');
  return [
    {
      title: 'make a folder for litellm',
      async run() {
        const { command, version } = await findPython(env, platform);
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder, { recursive: true });
        rmSync(log, { force: true });
        await runLogged(command, ['-m', 'venv', folder], { env, log, signal });
        return `python ${version}`;
      },
    },
    {
      title: 'install litellm from pypi (a minute or two, the first time only)',
      async run(note) {
        const args = ['-m', 'pip', 'install', '--no-input', '--progress-bar', 'off'];
        await runLogged(python, [...args, ...REQUIREMENTS], { env, log, signal, note });
        writeFileSync(join(folder, MARKER), REQUIREMENTS.join('\n'));
        return REQUIREMENTS.join(', ');
      },
    },
  ];
}

interface LoggedRun {
  readonly env: NodeJS.ProcessEnv;
  readonly log: string;
  readonly signal: AbortSignal;
  /** Hears each line. */
  readonly note?: (line: string) => void;
}

/**
 * Runs a program, its output to a log; throws `CommandError` with the log's tail where it fails.
 */
async function runLogged(command: string, args: readonly string[], run: LoggedRun): Promise<void> {
  const child = spawn(command, args, {
    env: run.env,
    signal: run.signal,
    killSignal: 'SIGTERM',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = createWriteStream(run.log, { flags: 'a', mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      if (line.trim() !== '') run.note?.(line.trim());
    });
  }
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : `${signal ?? code}`));
  });
  await new Promise((done) => log.end(done));
  if (run.signal.aborted) throw new CommandError('interrupted', EXIT.interrupted);
  if (how === undefined) return;
  const hints = [
    `all of its output is in ${run.log}; the next run starts anew`,
    'without a way to pypi: PIP_INDEX_URL or PIP_FIND_LINKS, or LITELLM_BIN=/path/to/litellm',
  ];
  const message = `${args[1]} failed (${how})`;
  throw new CommandError(message, EXIT.unavailable, hints, tailOf(run.log, TAIL_LINES));
}
