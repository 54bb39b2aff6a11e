import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

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
