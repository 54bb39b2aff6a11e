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
import type { Step } from '../cli/progress.ts';
import { CommandError, EXIT } from '../cli/terminal.ts';
import { tailOf } from './processes.ts';

/**
 * Exact versions, because each release is checked against these. prisma is wanted even without a
 * database: without it LiteLLM answers a wrong key with 500 (litellm issue 35457).
 */
const REQUIREMENTS = ['litellm[proxy]==1.108.5', 'prisma==0.15.0'] as const;

/**
 * The file that is written last and names the requirements: a folder without it, or with another
 * text in it, does not hold a finished installation of these versions.
 */
const MARKER = 'installed-by-sidecar';

/** How its commands run. */
interface RunOptions {
  readonly log: string;
  readonly env: NodeJS.ProcessEnv;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** What pip is told to install instead, run by run. */
  readonly runs?: readonly (readonly string[])[];
}

export const litellmIn = (folder: string): string => join(folder, 'bin', 'litellm');

/** Whether the installation is complete and still runs: an upgraded Python breaks a venv. */
export async function isInstalled(
  folder: string,
  runs: RunOptions['runs'] = [REQUIREMENTS],
): Promise<boolean> {
  const marker = join(folder, MARKER);
  if (!existsSync(marker)) return false;
  if (readFileSync(marker, 'utf8') !== runs.flat().join('\n')) return false;
  if (!existsSync(litellmIn(folder))) return false;
  try {
    await promisify(execFile)(join(folder, 'bin', 'python'), ['-c', '']);
    return true;
  } catch {
    return false;
  }
}

/**
 * The steps of a new installation; what an interrupted one left behind goes first.
 *
 * @param folder `.local/litellm`; nothing else may be kept there.
 */
export function installSteps(folder: string, options: RunOptions): readonly Step[] {
  const python = join(folder, 'bin', 'python');
  return [
    {
      title: 'make a folder for litellm',
      async run() {
        const { command, version } = await findPython(options.env);
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder, { recursive: true });
        rmSync(options.log, { force: true });
        await runLogged(command, ['-m', 'venv', folder], options);
        return `python ${version}`;
      },
    },
    {
      title: 'install litellm from pypi (a minute or two, the first time only)',
      async run(note) {
        const args = ['-m', 'pip', 'install', '--no-input', '--progress-bar', 'off'];
        const runs = options.runs ?? [REQUIREMENTS];
        for (const run of runs) await runLogged(python, [...args, ...run], options, note);
        writeFileSync(join(folder, MARKER), runs.flat().join('\n'));
        return runs.flat().join(', ');
      },
    },
  ];
}

/**
 * Runs `python -m …`, its output to the log; throws `CommandError` with the tail of that.
 *
 * @param note Hears each line that is not empty.
 */
async function runLogged(
  command: string,
  args: readonly string[],
  { log: file, env, signal }: RunOptions,
  note?: (line: string) => void,
): Promise<void> {
  const child = spawn(command, args, { env, signal, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(file, { flags: 'a', mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      if (line.trim() !== '') note?.(line.trim());
    });
  }
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, by) => resolve(code === 0 ? undefined : `${by ?? code}`));
  });
  await new Promise((done) => log.end(done));
  if (signal.aborted) throw new CommandError('interrupted', EXIT.interrupted);
  if (how === undefined) return;
  const hints = [
    `all of its output is in ${file}; the next run starts anew`,
    'without a way to pypi: PIP_INDEX_URL or PIP_FIND_LINKS, or LITELLM_BIN=/path/to/litellm',
  ];
  throw new CommandError(`${args[1]} failed (${how})`, EXIT.unavailable, hints, tailOf(file));
}

/** litellm 1.108.5's own `Requires-Python: >=3.10, <3.15`. */
const OLDEST_MINOR = 10;
const NEWEST_MINOR = 14;
/** The plain name first; then the versions that distributions install beside an older one. */
const CANDIDATES = ['', '.14', '.13', '.12', '.11', '.10'].map((minor) => `python3${minor}`);
/** What an interpreter is asked. Debian's python3 lacks ensurepip until python3-venv is there. */
const QUESTION =
  'import sys, json, importlib.util as u; ' +
  'print(json.dumps({"version": list(sys.version_info[:3]),' +
  ' "venv": all(u.find_spec(m) for m in ("venv", "ensurepip"))}))';

/** What an interpreter says of itself. */
interface PythonReport {
  readonly version: readonly [number, number, number];
  /** Whether this interpreter can make a venv. */
  readonly venv: boolean;
}

/** The first interpreter that can run LiteLLM. Throws `CommandError` that says what to install. */
export async function findPython(env: NodeJS.ProcessEnv) {
  const faults: string[] = [];
  for (const command of CANDIDATES) {
    const report = await askPython(command, env);
    if (report === undefined) continue;
    const fault = faultInPython(report);
    if (fault === undefined) return { command, version: report.version.join('.') };
    faults.push(fault);
  }
  const message = faults.length === 0 ? 'there is no python3' : faults.join(', and ');
  throw new CommandError(message, EXIT.unavailable, installHints(process.platform));
}

async function askPython(
  command: string,
  env: NodeJS.ProcessEnv,
): Promise<PythonReport | undefined> {
  try {
    const { stdout } = await promisify(execFile)(command, ['-c', QUESTION], { env });
    return JSON.parse(stdout) as PythonReport;
  } catch {
    return undefined;
  }
}

/** Why this interpreter cannot run LiteLLM; undefined: it can. */
export function faultInPython({ version, venv }: PythonReport): string | undefined {
  const [major, minor] = version;
  const name = `python ${version.join('.')}`;
  if (major !== 3 || minor < OLDEST_MINOR || minor > NEWEST_MINOR) {
    return `${name} does not run litellm, which wants 3.${OLDEST_MINOR} to 3.${NEWEST_MINOR}`;
  }
  return venv ? undefined : `${name} lacks venv`;
}

/** What to install, by platform (`process.platform`). */
export function installHints(platform: string): readonly string[] {
  const docker = 'or run it with docker, which needs no python: docker compose up';
  const own = 'or name a litellm that is there already: LITELLM_BIN=/path/to/litellm npm run local';
  if (platform === 'darwin') return ['macos: brew install python@3.13', docker, own];
  return [
    'debian, ubuntu: apt install python3 python3-venv',
    'fedora: dnf install python3; alpine: apk add python3',
    docker,
    own,
  ];
}
