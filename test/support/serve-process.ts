import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { startFakeUpstream } from './fake-upstream.ts';
import { recordArtefact, recordSettings, recordState } from './key-ledger.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
/** A key that these tests declare. */
export const DECLARED = 'sk-declared-by-a-test-0123456789abcdefghijklmnop';

/** `npm start` as a process, whether it comes up or not. */
export interface ServeProcess {
  /** Its working directory, which goes with it. */
  readonly cwd: string;
  readonly pid: number;
  stderr(): string;
  /** Resolves once it has written this; rejects if it ends before. */
  says(wanted: RegExp): Promise<RegExpExecArray>;
  /** The ports of its ready line. */
  ready(): Promise<{ readonly port: number; readonly opsPort: number; readonly key: string }>;
  signal(name: NodeJS.Signals): void;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Ends it in any case. */
  clear(): Promise<void>;
}

export async function serveProcess(
  settings: Readonly<Record<string, string>>,
  prepare: (cwd: string) => Promise<unknown> = () => Promise.resolve(),
  program = MAIN,
): Promise<ServeProcess> {
  const cwd = await mkdtemp(join(tmpdir(), 'sidecar-serve-'));
  await prepare(cwd);
  const env = {
    PATH: process.env['PATH'] ?? '',
    LITELLM_MASTER_KEY: DECLARED,
    SIDECAR_HOST: '127.0.0.1',
    SIDECAR_PORT: '0',
    SIDECAR_OPS_PORT: '0',
    ...settings,
  };
  recordSettings(env);
  const child = spawn(process.execPath, [program], {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  const waiting = new Set<() => void>();
  const wakeAll = (): void => {
    for (const wake of waiting) wake();
    waiting.clear();
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    wakeAll();
  });
  let over = false;
  // `close`: what it wrote last has been read by then.
  const ended = once(child, 'close').then(([code, signal]) => {
    over = true;
    wakeAll();
    return (code ?? signal) as number | string;
  });
  const says = async (wanted: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = wanted.exec(stderr);
      if (found !== null) return found;
      if (over) throw new Error(`it ended before it said ${String(wanted)}:\n${stderr}`);
      await new Promise<void>((resolve) => {
        waiting.add(resolve);
      });
    }
  };
  return {
    cwd,
    pid: child.pid ?? 0,
    stderr: () => stderr,
    says,
    async ready() {
      const [line] = await says(/^.*"msg":"ready".*$/m);
      const { port, opsPort } = JSON.parse(line) as { port: number; opsPort: number };
      return { port, opsPort, key: env.LITELLM_MASTER_KEY };
    },
    signal: (name) => void child.kill(name),
    ended,
    async clear() {
      child.kill('SIGKILL');
      await ended;
      recordArtefact('log', 'stderr', stderr);
      await recordState(join(cwd, settings['SIDECAR_STATE'] ?? 'state'));
      await rm(cwd, { recursive: true, force: true });
    },
  };
}

/** A process that serves, before a fake LiteLLM that it knows to be there; both end with the test. */
export async function serveBeforeFake(settings: Readonly<Record<string, string>>) {
  const upstream = await startFakeUpstream();
  onTestFinished(upstream.stop);
  const process = await serveProcess({ SIDECAR_UPSTREAM: upstream.url, ...settings });
  onTestFinished(process.clear);
  const sidecar = await process.ready();
  await process.says(/LiteLLM answers/);
  return { upstream, process, sidecar };
}
