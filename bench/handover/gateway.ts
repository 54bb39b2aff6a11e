/** One gateway as it is in earnest: launcher, LiteLLM, sidecar, and a provider behind them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HandoverView } from '../../src/handover/views.ts';
import { type Admin, bodyOf, createAdmin } from '../harness/admin.ts';
import { family, list, read } from '../harness/machine.ts';
import { ask } from '../harness/payloads.ts';
import { atEnd, bundle, freePort, ROOT, start, startProgram, stop } from '../harness/processes.ts';
import { startSidecar } from '../harness/sidecar.ts';
import { MOCK_ANSWER, MOCK_MODEL, PACED_MODEL } from './clients.ts';

const CHAT = 'bench/handover/chat.ts';

/** How long a LiteLLM may take to start or to end, in milliseconds. */
const PATIENCE_MS = 180_000;

/** What has to be true once handovers have ended may take so long to become so. */
const AFTERMATH_MS = 60_000;

const KEY = /sk-[A-Za-z0-9]{16,}/;

/**
 * The LiteLLM to run: the one that LITELLM_BIN names, or scripts/install-litellm.js made.
 *
 * @throws where there is none, with what to do
 */
export function findLitellm(): string {
  const named = process.env['LITELLM_BIN'] ?? '';
  const bin = named === '' ? join(ROOT, '.local/litellm/bin/litellm') : resolve(named);
  if (existsSync(bin)) return bin;
  throw new Error(
    `there is no litellm at ${bin}: run \`npm run build && node scripts/install-litellm.js\`, ` +
      'or take --stand-in',
  );
}

/** A program that the launcher starts in LiteLLM's place. */
export async function makeStandIn(folder: string): Promise<string> {
  const bin = join(folder, 'litellm');
  const program = await bundle(CHAT);
  writeFileSync(bin, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, { mode: 0o755 });
  return bin;
}

/** LiteLLM's config.yaml; YAML reads JSON. */
const litellmConfig = (providerPort: number): string => {
  const model = (model_name: string, litellm_params: object) => ({
    model_name,
    litellm_params: { api_key: 'none', ...litellm_params },
  });
  const api_base = `http://127.0.0.1:${providerPort}/v1`;
  return JSON.stringify({
    model_list: [
      model(MOCK_MODEL, { model: 'openai/gpt-4o', mock_response: MOCK_ANSWER }),
      model(PACED_MODEL, { model: `openai/${PACED_MODEL}`, api_base }),
    ],
    router_settings: { num_retries: 0, disable_cooldowns: true },
    general_settings: { master_key: 'os.environ/LITELLM_MASTER_KEY' },
  });
};

/**
 * The LiteLLMs that were started from a folder, told apart by their configuration; also where their
 * launcher is gone.
 */
const litellmPids = (configs: string): number[] =>
  list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes(`--config\0${configs}/`))
    .map(Number);

async function until(what: string, holds: () => Promise<boolean | undefined>): Promise<void> {
  const from = performance.now();
  while (!(await holds())) {
    if (performance.now() - from > PATIENCE_MS) throw new Error(`waited too long: ${what}`);
    await sleep(50);
  }
}

export const hasEnded = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

export const look = async (admin: Admin, id: string): Promise<HandoverView> =>
  bodyOf(await admin.handover(id), id);

/** @throws where it has not ended after `patienceMs` */
export async function untilEnded(admin: Admin, id: string, patienceMs: number) {
  const from = performance.now();
  for (;;) {
    const view = await look(admin, id);
    if (hasEnded(view)) return view;
    if (performance.now() - from > patienceMs) throw new Error(`${id} stays ${view.state}`);
    await sleep(20);
  }
}

/** What of one slot folder, one file with its key and one LiteLLM is not so. */
function leftOver(slots: string, upstreamKeys: string): string[] {
  const keyIn = (path: string) => KEY.exec(readFileSync(path, 'utf8'))?.[0];
  const present = readdirSync(slots).filter((name) => name === 'a' || name === 'b');
  const keys = readdirSync(upstreamKeys)
    .map((name) => keyIn(join(upstreamKeys, name)))
    .filter((key) => key !== undefined);
  const running = litellmPids(slots).length;
  const wrong: string[] = [];
  if (present.length !== 1) wrong.push(`slot folders: ${present.join(', ') || 'none'}`);
  if (keys.length !== 1) wrong.push(`files with a key in state/upstream: ${keys.length}`);
  else if (present.length === 1 && keys[0] !== keyIn(join(slots, present[0] ?? '', 'master.key'))) {
    wrong.push("the key in state/upstream is not the slot's");
  }
  if (running !== 1) wrong.push(`LiteLLMs that run: ${running}`);
  return wrong;
}

export type Gateway = Awaited<ReturnType<typeof startGateway>>;

/**
 * @param folder its own, and empty
 * @param options.bin what the launcher starts as LiteLLM
 * @param options.settings of the sidecar
 */
export async function startGateway(
  folder: string,
  options: { bin: string; key: string; settings: NodeJS.ProcessEnv },
) {
  const { bin, key, settings } = options;
  const [slots, reports] = [join(folder, 'slots'), join(folder, 'slots.reports')];
  const [config, output] = [join(folder, 'config.yaml'), join(folder, 'litellm.log')];
  for (const path of [slots, reports]) mkdirSync(path, { recursive: true });
  const [portA, portB, portBeside] = [await freePort(), await freePort(), await freePort()];
  const provider = await startProgram<{ port: number }>(CHAT);
  writeFileSync(config, litellmConfig(provider.first.port));

  const env = {
    PATH: `${dirname(bin)}:${process.env['PATH']}`,
    ...{ HOME: folder, LITELLM_BIN: bin, LITELLM_MODE: 'PRODUCTION' },
    ...{ LITELLM_LOCAL_MODEL_COST_MAP: 'True', LAUNCHER_SLOTS: slots, LAUNCHER_REPORTS: reports },
    ...{ LAUNCHER_PORT_A: String(portA), LAUNCHER_PORT_B: String(portB) },
  };
  const launcher = start('sh', [join(ROOT, 'deploy/launch-litellm.sh'), '--host', '127.0.0.1'], {
    ...{ cwd: folder, output, env },
  });
  const begin = (port = 0) =>
    startSidecar({
      ...{ folder: join(folder, 'sidecar'), upstreamPort: portA, key, port },
      env: {
        SIDECAR_UPSTREAM: `http://127.0.0.1:${portA},http://127.0.0.1:${portB}`,
        ...{ SIDECAR_SLOTS: slots, SIDECAR_REPORTS: reports, SIDECAR_LITELLM_CONFIG: config },
        SIDECAR_DRAIN_DELAY: '0',
        ...settings,
      },
    });

  const end = (): void => {
    const launched = launcher.pid === undefined ? [] : family(launcher.pid);
    for (const pid of [...launched, ...litellmPids(folder)]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It is gone already.
      }
    }
  };
  atEnd(end);
  let sidecar = await begin();
  const { port, adminSocket } = sidecar;
  const admin = createAdmin(adminSocket);
  const works = async (): Promise<boolean> => {
    const answer = await ask(port, { key }).catch(() => undefined);
    return answer?.status === 200 && answer.said.includes(MOCK_ANSWER);
  };
  await until('an answer of the first LiteLLM', works);

  return {
    ...{ port, admin },
    sidecarPid: () => sidecar.child.pid ?? 0,
    /** It comes back after so long, with the same state and port. */
    async killSidecar(awayMs: number): Promise<void> {
      await stop(sidecar.child, 'SIGKILL');
      await sleep(awayMs);
      sidecar = await begin(port);
    },
    /** A LiteLLM that no request reaches: it starts, answers, stays for a while and is ended. */
    async startBeside(stayMs: number): Promise<void> {
      const args = ['--host', '127.0.0.1', '--config', config, '--port', String(portBeside)];
      const own = { ...env, LITELLM_MASTER_KEY: 'sk-beside' };
      const beside = start(bin, args, { cwd: folder, output, env: own });
      const url = `http://127.0.0.1:${portBeside}/health/liveliness`;
      await until('a LiteLLM beside', async () => (await fetch(url).catch(() => undefined))?.ok);
      await sleep(stayMs);
      await stop(beside);
    },
    /** What is not as it has to be, once it has had the time to become so. */
    async inspect(): Promise<string[]> {
      const from = performance.now();
      for (;;) {
        const wrong = leftOver(slots, join(sidecar.state, 'upstream'));
        if (wrong.length === 0 && !(await works())) wrong.push('the client key is refused');
        if (wrong.length === 0 || performance.now() - from > AFTERMATH_MS) return wrong;
        await sleep(250);
      }
    },
    async stop(): Promise<void> {
      admin.close();
      await stop(sidecar.child);
      end();
      await Promise.all([launcher, provider.child].map((child) => stop(child)));
    },
  };
}
