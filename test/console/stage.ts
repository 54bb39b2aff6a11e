import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import type { RotateView } from '../../src/rotation/admin.ts';
import { runProgram } from '../real/run-program.ts';
import { recordKey } from '../support/key-ledger.ts';
import { launch } from '../support/launcher.ts';
import { findLitellm, freePort } from '../support/litellm.ts';
import { METERED, meteredConfig, meteredEnvironment } from '../support/metered-litellm.ts';
import { meter, startMeteredProvider } from '../support/metered-provider.ts';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** The three clients, in the order of what they ask for. */
export const CLIENTS = ['ci', 'staging', 'web'] as const;
type ClientName = (typeof CLIENTS)[number];

/** A gateway as in earnest, with slots for LiteLLM, and three clients that use it. */
export interface ConsoleStage {
  readonly url: string;
  /** Where the console is; the same after a restart. */
  readonly origin: string;
  readonly token: string;
  readonly home: string;
  /** What LiteLLM is to run with, from the next handover on. */
  configure(config: object): Promise<void>;
  readonly config: object;
  sidecar(): SidecarProcess;
  keyOf(client: ClientName): string;
  /** A client asks with this key from now on. */
  giveKey(client: ClientName, key: string): void;
  /** What the command line prints with `--json`. */
  cli(...args: readonly string[]): Promise<unknown>;
  /** What it prints without. */
  cliText(...args: readonly string[]): Promise<string>;
  /** What the admin API answers to a GET. */
  api<T>(path: string): Promise<T>;
  /** All three ask again and again until the stage is cleared, or `stopTraffic`. */
  startTraffic(): void;
  stopTraffic(): Promise<void>;
  restart(): Promise<void>;
  clear(): Promise<void>;
}

export async function consoleStage(): Promise<ConsoleStage> {
  const endings: (() => Promise<unknown>)[] = [];
  try {
    return await build(endings);
  } catch (error) {
    for (const end of endings.toReversed()) await end();
    throw error;
  }
}

async function build(endings: (() => Promise<unknown>)[]): Promise<ConsoleStage> {
  const home = await mkdtemp(join(tmpdir(), 'sidecar-console-'));
  endings.push(() => rm(home, { recursive: true, force: true }));
  const provider = await startMeteredProvider();
  endings.push(provider.stop);
  const [slots, reports] = [join(home, 'slots'), join(home, 'reports')];
  for (const each of [slots, reports]) await mkdir(each);
  const ports = { a: await freePort(), b: await freePort(), traffic: 0, ops: await freePort() };
  const configPath = join(home, 'litellm.yaml');
  const config = meteredConfig(provider.url, true);
  const configure = (content: object) => writeFile(configPath, JSON.stringify(content));
  await configure(config);
  const token = generateKey();
  recordKey(token);
  const settings = {
    SIDECAR_UPSTREAM: `http://127.0.0.1:${ports.a},http://127.0.0.1:${ports.b}`,
    SIDECAR_SLOTS: slots,
    SIDECAR_REPORTS: reports,
    SIDECAR_LITELLM_CONFIG: configPath,
    SIDECAR_ADMIN_TOKEN: token,
    LITELLM_MASTER_KEY: generateKey(),
    SIDECAR_OPS_PORT: String(ports.ops),
    SIDECAR_HOLD: '2m',
    SIDECAR_PROBATION: '1s',
    SIDECAR_HANDOVER_TIMEOUT: '2m',
    SIDECAR_DRAIN: '3s',
  };
  let sidecar = await startSidecarProcess(home, settings);
  endings.push(() => sidecar.stop());
  const bin = findLitellm();
  const launcher = launch({
    ...{ shell: ['sh'], slots, reports, cwd: home, args: ['--host', '127.0.0.1'] },
    env: {
      PATH: `${dirname(bin)}:${process.env['PATH']}`,
      HOME: home,
      LITELLM_BIN: bin,
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
      LITELLM_MODE: 'PRODUCTION',
      LAUNCHER_LOOK: '0.2',
      LAUNCHER_PORT_A: String(ports.a),
      LAUNCHER_PORT_B: String(ports.b),
      ...meteredEnvironment(provider.url),
    },
  });
  endings.push(launcher.clear);
  const origin = `http://127.0.0.1:${ports.ops}`;
  const cliText = async (...args: readonly string[]): Promise<string> => {
    const ended = await runProgram(process.execPath, [CLI, ...args], { cwd: home });
    expect(ended).toMatchObject({ code: 0 });
    return ended.stdout;
  };
  const cli = async (...args: readonly string[]): Promise<unknown> =>
    JSON.parse(await cliText(...args, '--json'));
  const keys = new Map<ClientName, string>();
  for (const name of CLIENTS) {
    const { key } = (await cli('clients', 'add', name)) as RotateView;
    recordKey(key ?? '');
    keys.set(name, key ?? '');
  }
  const keyOf = (client: ClientName): string => keys.get(client) ?? '';
  const traffic = createTraffic(() => sidecar.url, keyOf);
  endings.push(traffic.stop);
  await vi.waitFor(async () => expect((await fetch(`${origin}/readyz`)).status).toBe(200), {
    timeout: 150_000,
    interval: 200,
  });
  return {
    ...{ origin, token, home, config, configure, keyOf, cli, cliText },
    get url() {
      return sidecar.url;
    },
    sidecar: () => sidecar,
    giveKey: (client, key) => void keys.set(client, key),
    async api<T>(path: string) {
      const headers = { authorization: `Bearer ${token}` };
      const answer = await fetch(`${origin}${path}`, { headers });
      expect(answer.status).toBe(200);
      return (await answer.json()) as T;
    },
    startTraffic: traffic.start,
    stopTraffic: traffic.stop,
    async restart() {
      await sidecar.stop();
      sidecar = await startSidecarProcess(home, settings);
    },
    async clear() {
      for (const end of endings.toReversed()) await end();
    },
  };
}

interface Question {
  readonly path: string;
  readonly body: object;
  /** After the first piece of the answer: then nobody knows what was used. */
  readonly leaves?: true;
}

const chat = (model: string, use: string, more: object = {}): Question => ({
  path: '/v1/chat/completions',
  body: { model, messages: [{ role: 'user', content: use }], ...more },
});
const embed = (input: string): Question => ({
  path: '/v1/embeddings',
  body: { model: METERED.embeddings, input },
});

/** What each client asks, one after the other, and again. */
const QUESTIONS: Readonly<Record<ClientName, readonly Question[]>> = {
  ci: [
    chat(METERED.openai, meter({ input: 900, output: 120 })),
    chat(METERED.unpriced, meter({ input: 80, output: 40 })),
    chat(METERED.limited, meter({})),
  ],
  staging: [
    embed(meter({ input: 400 })),
    chat(METERED.o3, meter({ input: 300, output: 160, reasoning: 90 })),
  ],
  web: [
    chat(METERED.openai, meter({ input: 250, output: 80, pieces: 12, pace: 60 }), { stream: true }),
    chat(METERED.claude, meter({ input: 600, output: 210, cached: 200 }), { stream: true }),
    { ...chat(METERED.openai, meter({ pieces: 90, pace: 50 }), { stream: true }), leaves: true },
  ],
};

/** Milliseconds between an answer and the next question of a client: more and less by turns. */
const restMs = (client: ClientName): number =>
  300 + 220 * Math.sin(Date.now() / 70_000 + CLIENTS.indexOf(client));

/** The clients at work; one request in twelve comes with a key that nobody knows. */
function createTraffic(url: () => string, keyOf: (client: ClientName) => string) {
  let running: Promise<unknown> = Promise.resolve();
  let ending = new AbortController();
  const ask = async (
    { path, body, leaves }: Question,
    client: ClientName,
    key: string,
  ): Promise<void> => {
    const leaving = new AbortController();
    const asked = fetch(`${url()}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'user-agent': `${client}-worker/1.${client.length}`,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.any([ending.signal, leaving.signal]),
    });
    // A sidecar that a test restarts is away, and who is limited tries again.
    const answer = await asked.catch(() => undefined);
    if (leaves === true) {
      await answer?.body
        ?.getReader()
        .read()
        .catch(() => undefined);
      leaving.abort();
    } else await answer?.arrayBuffer().catch(() => undefined);
  };
  const work = async (client: ClientName): Promise<void> => {
    for (let round = 0; !ending.signal.aborted; round += 1) {
      const question = QUESTIONS[client][round % QUESTIONS[client].length];
      if (question === undefined) return;
      const isStranger = client === 'ci' && round % 12 === 11;
      await ask(question, client, isStranger ? 'sk-nobody-knows-this-one' : keyOf(client));
      await new Promise((wake) => {
        setTimeout(wake, restMs(client));
      });
    }
  };
  return {
    start(): void {
      ending = new AbortController();
      running = Promise.all(CLIENTS.map(work));
    },
    async stop(): Promise<void> {
      ending.abort();
      await running;
    },
  };
}
