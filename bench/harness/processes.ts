/**
 * The life of a bench: a folder of its own, processes of its own, and an end that leaves neither.
 * Helpers are TypeScript programs, which are bundled here and run by whichever Node is wanted.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The checkout: the nearest folder above with a package.json, also above run-ts.js's cache. */
export const ROOT = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
})();

const children = new Set<ChildProcess>();
/** Called at the end: what would outlive `children`, such as grandchildren. */
const endings = new Set<() => unknown>();
/** Once all are told to end, whoever still runs starts no other. */
let over = false;

export const say = (text: string): void => {
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${text}\n`);
};

/** What is being done at this moment: one line of a terminal that the next one replaces. */
export const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
};

export const reason = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** Registers what is to be done at the end, also after Ctrl-C. */
export const atEnd = (end: () => unknown): void => {
  endings.add(end);
};

/**
 * Runs `main` in an empty folder, and ends whatever it started: also after Ctrl-C (exit code 130),
 * and where it throws, which is said (exit code 1).
 */
export async function inFolder(main: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sidecar-bench-'));
  const clean = async () => {
    over = true;
    await Promise.all([...children].map((child) => stop(child)));
    for (const end of endings) await end();
    // Whoever was killed a moment ago may have written last.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void clean().finally(() => process.exit(130)));
  }
  try {
    await main(folder);
  } catch (error) {
    if (!over) say(reason(error));
    process.exitCode = 1;
  } finally {
    await clean();
  }
}

export interface StartOptions {
  /** The one core that it may use, by `taskset`; undefined: all. */
  readonly core?: number | undefined;
  /** Beside PATH and HOME. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** The file that its stdout and stderr are appended to; without it stderr is shown. */
  readonly output?: string;
  readonly ipc?: boolean;
}

/** Starts a process that ends with the bench. */
export function start(
  command: string,
  args: readonly string[],
  { core, env, cwd, output, ipc = false }: StartOptions = {},
): ChildProcess {
  if (over) throw new Error('the bench has ended');
  const log = output === undefined ? 'ignore' : openSync(output, 'a');
  const pinned = core === undefined ? [] : ['taskset', '-c', String(core)];
  const [file = command, ...rest] = [...pinned, command, ...args];
  const child = spawn(file, rest, {
    stdio: ['ignore', log, output === undefined ? 'inherit' : log, ipc ? 'ipc' : 'ignore'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (typeof log === 'number') closeSync(log);
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.on('error', () => children.delete(child));
  return child;
}

/** SIGTERM; SIGKILL 300 ms later: nobody who drains is waited for. */
export function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    // nginx's master takes its worker along on SIGTERM only.
    child.kill(signal);
    setTimeout(() => child.kill('SIGKILL'), 300).unref();
  });
}

/** Bundles a TypeScript program of this checkout beside node_modules, whose packages it imports. */
export async function bundle(program: string): Promise<string> {
  // Not at the top: helper processes import this file, too.
  const { build } = await import('esbuild');
  const name = `${process.pid}-${basename(program, '.ts')}.mjs`;
  const outfile = join(ROOT, 'node_modules/.cache/run-ts', name);
  atEnd(() => rmSync(outfile, { force: true }));
  await build({
    ...{ absWorkingDir: ROOT, entryPoints: [program], outfile, logLevel: 'warning' },
    ...{ bundle: true, packages: 'external', sourcemap: 'inline' },
    ...{ platform: 'node', format: 'esm', target: 'node20' },
  });
  return outfile;
}

/**
 * Starts a program such as `bench/admission.ts` with a channel for messages, and waits for its first
 * one.
 * @param options.node the binary that runs it; without it the one that runs this
 * @throws where it ends before that
 */
export async function startProgram<First>(
  program: string,
  options: Omit<StartOptions, 'ipc'> & {
    node?: string;
    nodeArgs?: readonly string[];
    args?: readonly string[];
  } = {},
): Promise<{ child: ChildProcess; first: First }> {
  const { node = process.execPath, nodeArgs = [], args = [], ...rest } = options;
  const file = await bundle(program);
  const child = start(node, [...nodeArgs, file, ...args], { ...rest, ipc: true });
  const first = await new Promise<First>((resolve, reject) => {
    child
      .once('exit', (code, signal) => reject(new Error(`${program} ended: ${signal ?? code}`)))
      .once('error', reject)
      .once('message', (message) => resolve(message as First));
  });
  return { child, first };
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** In a child that serves: a port of its own, which the parent is told; it ends with that. */
export function serveAndTell(server: Server): void {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    process.send?.({ port: portOf(server) });
  });
  process.once('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides when its children end.
  process.on('SIGINT', () => undefined);
}

/** A port that nobody holds at this moment: not every program takes one by itself and tells. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  return port;
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });

/** Waits until a program that was given a port listens there. @throws where it does not */
export async function untilListens(child: ChildProcess, port: number, patienceMs: number) {
  for (const until = Date.now() + patienceMs; !(await accepts(port)); await sleep(20)) {
    if (child.exitCode !== null || Date.now() > until) {
      throw new Error(`${child.spawnargs.join(' ')} does not listen`);
    }
  }
}
