/** The sidecar as an operator runs it: `dist/main.js` of a checkout, with its log in a file. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorNs, read } from './machine.ts';
import { freePort, ROOT, start, untilListens } from './processes.ts';

/** How long a start may take, in milliseconds. */
const PATIENCE = 15_000;

export interface SidecarOptions {
  /** Its own; one that is kept has the state of the sidecar before. */
  readonly folder: string;
  readonly upstreamPort: number;
  /** The client key, as LITELLM_MASTER_KEY. Without one the sidecar makes its own. */
  readonly key?: string;
  /** A checkout that is built; without it this one. */
  readonly checkout?: string;
  /** The Node binary; without it the one that runs the bench. */
  readonly node?: string;
  readonly nodeArgs?: readonly string[];
  readonly core?: number | undefined;
  /** Without access lines it logs nothing below `warn`, so no ready line either. */
  readonly accessLog?: boolean;
  /** The traffic port; without it any. */
  readonly port?: number;
  /** More settings, which win. */
  readonly env?: NodeJS.ProcessEnv;
}

export type RunningSidecar = Awaited<ReturnType<typeof startSidecar>>;

/** @throws where a checkout was not built, with what to do */
export function mainOf(checkout = ROOT): string {
  const main = join(checkout, 'dist', 'main.js');
  if (existsSync(main)) return main;
  throw new Error(`${checkout} has no dist/main.js: run \`npm run build\` there first`);
}

/** The traffic port of the ready line, once it is in the log. */
async function untilReady(child: ChildProcess, log: string): Promise<number> {
  const until = performance.now() + PATIENCE;
  while (performance.now() < until && child.exitCode === null && child.signalCode === null) {
    const line = read(log)
      .split('\n')
      .find((each) => each.includes('"msg":"ready"') && each.endsWith('}'));
    if (line !== undefined) return JSON.parse(line).port;
    await sleep(1);
  }
  throw new Error(`the sidecar did not get ready: ${read(log).slice(-2000)}`);
}

/** Starts it and waits until it is ready. @throws with the end of its log where it is not */
export async function startSidecar(options: SidecarOptions) {
  const { folder, key, accessLog = true, nodeArgs = [] } = options;
  const main = mainOf(options.checkout);
  mkdirSync(folder, { recursive: true });
  const log = join(folder, 'log');
  // The ready line of a start before is not this one's.
  rmSync(log, { force: true });
  const port = options.port ?? (accessLog ? 0 : await freePort());
  const state = join(folder, 'state');

  const from = performance.now();
  const child = start(options.node ?? process.execPath, [...nodeArgs, main], {
    ...{ core: options.core, cwd: folder, output: log },
    env: {
      ...{ SIDECAR_HOST: '127.0.0.1', SIDECAR_PORT: String(port) },
      ...{ SIDECAR_OPS_HOST: '127.0.0.1', SIDECAR_OPS_PORT: '0' },
      ...{ SIDECAR_STATE: state, SIDECAR_UPSTREAM: `http://127.0.0.1:${options.upstreamPort}` },
      ...(key === undefined ? {} : { LITELLM_MASTER_KEY: key }),
      ...(accessLog ? {} : { SIDECAR_LOG_LEVEL: 'warn' }),
      ...options.env,
    },
  });
  // Without access lines there is no ready line either.
  if (!accessLog) await untilListens(child, port, PATIENCE);
  const ready = accessLog ? await untilReady(child, log) : port;
  const ms = performance.now() - from;
  const cpuMs = processorNs([child.pid ?? 0]) / 1e6;
  return {
    ...{ child, log, state, port: ready },
    /** From the start to the ready line, in milliseconds, and the processor time until then. */
    ready: { ms, cpuMs },
    adminSocket: join(state, 'admin.sock'),
    /** The newest key of `master`, where the sidecar made it. */
    keyFile: join(state, 'keys', 'master'),
  };
}
