import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A real LiteLLM, on a port of the loopback that it keeps from one start to the next. */
export interface Litellm {
  readonly url: string;
  /** Of the venv that it runs in; the SDKs are there too. */
  readonly python: string;
  /** Everything it wrote, through all of its lives. */
  log(): string;
  /** The process that runs now. */
  pid(): number;
  /** Resolves once it answers. */
  start(): Promise<void>;
  /** Ends it as a crash does; resolves when it is gone. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export interface LitellmOptions {
  /** A folder of its own: its configuration, its log, its home. */
  readonly folder: string;
  readonly masterKey: string;
  /** `config.yaml`; YAML reads JSON. */
  readonly config: object;
  readonly env: Readonly<Record<string, string>>;
}

/** The program that `LITELLM_BIN` names, or the one that `npm run install:litellm` made. */
export function findLitellm(): string {
  const named = process.env['LITELLM_BIN'] ?? '';
  const bin = named === '' ? join(ROOT, '.local/litellm/bin/litellm') : resolve(named);
  if (existsSync(bin)) return bin;
  throw new Error(`there is no litellm at ${bin}: npm run install:litellm`);
}

const LOOK_MS = 100;
const START_TIMEOUT_MS = 120_000;
const TAIL_CHARACTERS = 4000;

/** Prepares one; nothing runs before `start`. */
export async function createLitellm(options: LitellmOptions): Promise<Litellm> {
  const { folder, masterKey } = options;
  const bin = findLitellm();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const logFile = join(folder, 'litellm.log');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.yaml'), JSON.stringify(options.config));
  await writeFile(logFile, '');
  let child: ChildProcess | undefined;

  const args = ['--config', join(folder, 'config.yaml'), '--host', '127.0.0.1'];
  const run = (): ChildProcess => {
    const started = spawn(bin, [...args, '--port', String(port)], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: `${dirname(bin)}:${process.env['PATH']}`,
        HOME: folder,
        LITELLM_MASTER_KEY: masterKey,
        LITELLM_LOCAL_MODEL_COST_MAP: 'True',
        LITELLM_MODE: 'PRODUCTION',
        ...options.env,
      },
    });
    const log = createWriteStream(logFile, { flags: 'a' });
    started.stdout.pipe(log, { end: false });
    started.stderr.pipe(log, { end: false });
    return started;
  };
  const log = (): string => readFileSync(logFile, 'utf8');
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || hasEnded(child)) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };

  return {
    url,
    python: join(dirname(bin), 'python'),
    log,
    pid: () => child?.pid ?? 0,
    async start() {
      child = run();
      await answers(`${url}/health/liveliness`, child, log);
    },
    kill: () => end('SIGKILL'),
    // Nobody waits for its streams, and it would without a limit.
    stop: () => end('SIGKILL'),
  };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode !== null || signalCode !== null;

async function answers(url: string, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const ok = await fetch(url, { headers: { connection: 'close' } }).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (hasEnded(child) || Date.now() > deadline) {
      throw new Error(`litellm did not come up:\n${log().slice(-TAIL_CHARACTERS)}`);
    }
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
}

/**
 * Below those that the kernel gives away by itself (32,768 and above on Linux): one of these may be
 * an outgoing connection's by the time that LiteLLM starts.
 */
const PORTS = [10_000, 30_000] as const;
/** Nobody in this process gets one twice: the two slots of a sidecar must differ. */
const given = new Set<number>();

/** LiteLLM takes no port 0; between this and its start somebody else could take the port. */
export async function freePort(): Promise<number> {
  const port = randomInt(...PORTS);
  if (given.has(port)) return await freePort();
  given.add(port);
  const server = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
  });
  if (!isFree) return await freePort();
  server.close();
  await once(server, 'close');
  return port;
}
