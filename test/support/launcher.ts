import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach } from 'vitest';
import { createSlots, type SlotName } from '../../src/litellm/slots.ts';
import { Secret } from '../../src/secret.ts';

/** The launcher itself. */
export const SCRIPT = fileURLToPath(new URL('../../deploy/launch-litellm.sh', import.meta.url));
export const FAKE_LITELLM = fileURLToPath(new URL('fake-litellm.js', import.meta.url));

const runs = ([program = '', ...rest]: readonly string[]): boolean =>
  spawnSync(program, [...rest, '-c', 'exit 0']).status === 0;

const known = [['dash'], ['busybox', 'sh']].filter(runs);

/** The shells of LiteLLM's images, as far as this machine has them; else its own. */
export const SHELLS: readonly (readonly string[])[] = known.length > 0 ? known : [['sh']];

/** What one fake LiteLLM said, and in which slot. */
export interface Said {
  readonly slot: string;
  readonly event: 'start' | 'term';
  readonly pid: number;
  readonly via?: string;
  readonly args?: readonly string[];
  readonly port?: number;
  readonly key?: string;
  readonly config?: string;
  readonly provider?: string;
  readonly shutdown?: string;
  readonly child?: number;
}

/** A launcher under test, with fake LiteLLMs. */
export interface Launcher {
  readonly pid: number;
  /** The next line of standard output or error that matches and was not yet taken. */
  line(pattern: RegExp): Promise<string>;
  /** The next thing that a fake LiteLLM in this slot says. */
  said(slot: 'a' | 'b', event: Said['event']): Promise<Said>;
  /** Every line so far. */
  readonly lines: readonly string[];
  kill(signal: NodeJS.Signals): void;
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Nobody reads what the launcher and all that it started say. */
  deafen(): void;
  /** Ends the launcher and every fake that still runs. */
  clear(): Promise<void>;
}

/** Starts the launcher; two looks at the slots are 20 ms apart unless `env` says otherwise. */
export const launch = (options: {
  readonly shell: readonly string[];
  readonly slots: string;
  readonly reports?: string;
  /** A copy of the launcher, for a user who may not read this one. */
  readonly script?: string;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}): Launcher => {
  const [program = 'sh', ...rest] = options.shell;
  const child = spawn(program, [...rest, options.script ?? SCRIPT, ...(options.args ?? [])], {
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      LAUNCHER_SLOTS: options.slots,
      LAUNCHER_REPORTS: options.reports ?? join(options.slots, 'no reports'),
      LAUNCHER_LOOK: '0.02',
      LITELLM_BIN: FAKE_LITELLM,
      ...options.env,
    },
  });
  const ended = once(child, 'exit').then(([code, signal]) => code ?? signal);
  const lines: string[] = [];
  const fakes = new Set<number>();
  const next = listen([child.stdout, child.stderr], (line) => {
    lines.push(line);
    const said = parse(line);
    for (const pid of [said?.pid, said?.child]) if (pid !== undefined) fakes.add(pid);
  });
  const endFakes = (signal: NodeJS.Signals): void => {
    for (const pid of fakes) end(pid, signal);
  };

  return {
    pid: child.pid ?? 0,
    lines,
    line: (pattern) => next((line) => (pattern.test(line) ? line : undefined)),
    said: (slot, event) =>
      next((line) => {
        const said = parse(line);
        return said?.slot === slot && said.event === event ? said : undefined;
      }),
    kill: (signal) => void child.kill(signal),
    ended,
    deafen: () => {
      child.stdout.destroy();
      child.stderr.destroy();
    },
    clear: async () => {
      child.kill('SIGTERM');
      // A launcher that is told to stop starts no more, and waits for those that are there.
      const ending = setInterval(() => endFakes('SIGKILL'), 50);
      await ended;
      clearInterval(ending);
      endFakes('SIGKILL');
    },
  };
};

/** The folders of one test, and the launcher that it starts there. */
export interface LauncherStage {
  /** For whatever the test wants beside the slots. */
  readonly base: string;
  readonly folder: string;
  readonly reports: string;
  /** Puts a key, and a configuration of that text, into a slot. */
  place(slot: SlotName, key: string, config?: string): Promise<void>;
  start(options: Omit<Parameters<typeof launch>[0], 'slots' | 'reports'>): Launcher;
}

/**
 * Makes a stage for each test of the file it is called in, and takes it down afterwards. Its names
 * have spaces in them, to see that everything is quoted.
 */
export function createLauncherStage(): LauncherStage {
  let base = '';
  const launchers: Launcher[] = [];
  const folder = (): string => join(base, 'the slots');
  const reports = (): string => join(base, 'the reports');
  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'launcher-'));
    await mkdir(folder());
  });
  afterEach(async () => {
    for (const launcher of launchers.splice(0)) await launcher.clear();
    await rm(base, { recursive: true, force: true });
  });
  return {
    get base() {
      return base;
    },
    get folder() {
      return folder();
    },
    get reports() {
      return reports();
    },
    async place(slot, key, config) {
      const source = join(base, 'config.yaml');
      if (config !== undefined) await writeFile(source, config);
      const slots = createSlots({ folder: folder() });
      await slots.place(slot, { key: new Secret(key), config: config && source });
    },
    start(options) {
      const launcher = launch({ slots: folder(), reports: reports(), ...options });
      launchers.push(launcher);
      return launcher;
    },
  };
}

/** Whether no process has this id any more. */
export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

type Find<Found> = (line: string) => Found | undefined;

/** Reads lines as they come; what it returns waits for the first that fits and was not taken. */
const listen = (streams: readonly NodeJS.ReadableStream[], hear: (line: string) => void) => {
  const waiting: string[] = [];
  const wake = new Set<() => void>();
  for (const stream of streams) {
    let partial = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const whole = (partial + chunk).split('\n');
      partial = whole.pop() ?? '';
      whole.forEach(hear);
      waiting.push(...whole);
      for (const each of wake) each();
    });
  }
  return async <Found>(find: Find<Found>): Promise<Found> => {
    for (;;) {
      for (const [index, line] of waiting.entries()) {
        const found = find(line);
        if (found === undefined) continue;
        waiting.splice(index, 1);
        return found;
      }
      await new Promise<void>((resolve) => {
        wake.add(resolve);
      });
    }
  };
};

/** A real LiteLLM says JSON too, of another kind. */
const parse = (line: string): Said | undefined => {
  const [, slot, json] = /^\[([ab])\] (\{"event":.*\})$/.exec(line) ?? [];
  return json === undefined ? undefined : { slot, ...JSON.parse(json) };
};

const end = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended already.
  }
};
