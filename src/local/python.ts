import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CommandError, EXIT } from '../cli/exit-code.ts';

/** litellm 1.104.2's own `Requires-Python: >=3.10, <3.15`. */
const OLDEST = 10;
const NEWEST = 14;
/** The plain name first; then the versions that distributions install beside an older one. */
const CANDIDATES = [
  'python3',
  'python3.14',
  'python3.13',
  'python3.12',
  'python3.11',
  'python3.10',
];
/** Debian's python3 lacks ensurepip until python3-venv is there. */
const QUESTION =
  'import sys, json, importlib.util as u; ' +
  'print(json.dumps({"version": list(sys.version_info[:3]),' +
  ' "venv": all(u.find_spec(m) for m in ("venv", "ensurepip"))}))';

/** What an interpreter says of itself. */
export interface PythonReport {
  readonly version: readonly [number, number, number];
  readonly venv: boolean;
}

export interface Python {
  readonly command: string;
  /** `3.11.7` */
  readonly version: string;
}

/** Why this interpreter will not do; undefined: it will. */
export function faultInPython({ version, venv }: PythonReport): string | undefined {
  const [major, minor] = version;
  const name = `python ${version.join('.')}`;
  if (major !== 3 || minor < OLDEST || minor > NEWEST) {
    return `${name} does not run litellm, which wants 3.${OLDEST} to 3.${NEWEST}`;
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

async function ask(command: string, env: NodeJS.ProcessEnv): Promise<PythonReport | undefined> {
  try {
    const { stdout } = await promisify(execFile)(command, ['-c', QUESTION], { env });
    return JSON.parse(stdout) as PythonReport;
  } catch {
    return undefined;
  }
}

/** The first interpreter that can hold litellm. Throws `CommandError` that says what to install. */
export async function findPython(env: NodeJS.ProcessEnv, platform: string): Promise<Python> {
  const faults: string[] = [];
  for (const command of CANDIDATES) {
    const report = await ask(command, env);
    if (report === undefined) continue;
    const fault = faultInPython(report);
    if (fault === undefined) return { command, version: report.version.join('.') };
    faults.push(fault);
  }
  const message = faults.length === 0 ? 'there is no python3' : faults.join(', and ');
  throw new CommandError(message, EXIT.unavailable, installHints(platform));
}
