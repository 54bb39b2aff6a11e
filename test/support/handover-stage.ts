import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, vi } from 'vitest';
import type { HandoverView, UpstreamView } from '../../src/handover/views.ts';
import type { SlotName } from '../../src/litellm/slots.ts';
import { adminCall } from './admin.ts';
import { get, post } from './ask.ts';
import { recordState } from './key-ledger.ts';
import { type Launcher, launch } from './launcher.ts';
import { freePort } from './litellm.ts';
import { DECLARED, type ServeProcess, serveProcess } from './serve-process.ts';

export const SCRIPTED_LITELLM = fileURLToPath(new URL('scripted-litellm.js', import.meta.url));

/** A config.yaml with this one model, and what becomes of the LiteLLM that reads it. */
export const configOf = (model: string, ...fate: readonly string[]): string =>
  [
    'model_list:',
    `  - model_name: ${model}`,
    '    litellm_params:',
    `      model: openai/${model}`,
    ...fate.map((word) => `# fake: ${word}`),
    '',
  ].join('\n');

export interface StageOptions {
  readonly config?: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Once the folders are there, and before anything runs. */
  readonly prepare?: (stage: HandoverStage) => Promise<unknown>;
  /** Once nothing runs, and before the folders go. */
  readonly dispose?: (stage: HandoverStage) => unknown;
  readonly launcher?: Partial<Parameters<typeof launch>[0]>;
}

/** The sidecar and the launcher as processes of their own, with scripted LiteLLMs in two slots. */
export interface HandoverStage {
  readonly folder: string;
  readonly state: string;
  readonly slots: string;
  readonly reports: string;
  readonly ports: Readonly<Record<SlotName, number>>;
  readonly key: string;
  /** Where clients find the sidecar that runs now. */
  readonly port: number;
  readonly opsPort: number;
  sidecar(): ServeProcess;
  launcher(): Launcher;
  startSidecar(): Promise<void>;
  startLauncher(): void;
  /** What SIDECAR_LITELLM_CONFIG names. */
  configure(text: string): Promise<void>;
  status(): Promise<UpstreamView>;
  /** Asks for one; resolves to what came of it. */
  handOver(verb: 'rotate' | 'reload', body?: object): Promise<HandoverView>;
  /** Resolves once this one has ended. */
  ended(id: string): Promise<HandoverView>;
  /** The processes of LiteLLM that run. */
  pids(): readonly number[];
  /** The process that serves a slot. */
  pidAt(slot: SlotName): number;
  /** Nothing is under way, and one LiteLLM runs, with its key and nobody else's. */
  rests(): Promise<UpstreamView>;
  clear(): Promise<void>;
}

const PATIENCE = { timeout: 40_000, interval: 50 };

export async function handoverStage(options: StageOptions = {}): Promise<HandoverStage> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-handover-'));
  await chmod(folder, 0o755);
  const [state, slots, reports] = ['state', 'slots', 'reports'].map((each) => join(folder, each));
  const place = { folder, state: state ?? '', slots: slots ?? '', reports: reports ?? '' };
  for (const each of [place.slots, place.reports]) await mkdir(each);
  const ports = { a: await freePort(), b: await freePort() };
  const configPath = join(folder, 'config.yaml');
  const settings = {
    SIDECAR_UPSTREAM: `http://127.0.0.1:${ports.a},http://127.0.0.1:${ports.b}`,
    SIDECAR_STATE: place.state,
    SIDECAR_SLOTS: place.slots,
    SIDECAR_REPORTS: place.reports,
    SIDECAR_LITELLM_CONFIG: configPath,
    SIDECAR_LITELLM_SALT_KEY: 'set',
    SIDECAR_LOG_FORMAT: 'json',
    // Longer than any busy machine takes: tests of what does not come up set their own.
    SIDECAR_HANDOVER_TIMEOUT: '60s',
    SIDECAR_PROBATION: '1s',
    SIDECAR_DRAIN: '3s',
    SIDECAR_DRAIN_DELAY: '0',
    ...options.settings,
  };
  const sidecars: ServeProcess[] = [];
  const launchers: Launcher[] = [];
  const last = <T>(all: readonly T[]): T => all.at(-1) as T;
  let at = { port: 0, opsPort: 0 };
  const fakes = (): { slot: string; pid: number }[] =>
    launchers.flatMap(({ lines }) => lines.flatMap(startIn)).filter(({ pid }) => runs(pid));

  const stage: HandoverStage = {
    ...place,
    ports,
    key: DECLARED,
    get port() {
      return at.port;
    },
    get opsPort() {
      return at.opsPort;
    },
    sidecar: () => last(sidecars),
    launcher: () => last(launchers),
    async startSidecar() {
      sidecars.push(await serveProcess(settings));
      at = await last(sidecars).ready();
    },
    startLauncher() {
      const env = { LAUNCHER_PORT_A: `${ports.a}`, LAUNCHER_PORT_B: `${ports.b}` };
      const given = options.launcher ?? {};
      launchers.push(
        launch({
          ...{ shell: ['sh'], slots: place.slots, reports: place.reports, ...given },
          env: { LITELLM_BIN: SCRIPTED_LITELLM, LAUNCHER_LOOK: '0.05', ...env, ...given.env },
        }),
      );
    },
    configure: (text) => writeFile(configPath, text),
    async status() {
      return (await adminCall(place, 'GET', '/api/upstream')).body as UpstreamView;
    },
    async handOver(verb, body) {
      const asked = body === undefined ? {} : { body };
      const answer = await adminCall(place, 'POST', `/api/upstream/${verb}`, asked);
      expect(answer).toMatchObject({ status: 202 });
      return stage.ended((answer.body as HandoverView).id);
    },
    ended: (id) =>
      vi.waitFor(async () => {
        const { body } = await adminCall(place, 'GET', `/api/upstream/handovers/${id}`);
        expect(body).toMatchObject({ endedAt: expect.any(String) });
        return body as HandoverView;
      }, PATIENCE),
    pids: () => fakes().map(({ pid }) => pid),
    pidAt: (slot) => last(fakes().filter((fake) => fake.slot === slot)).pid,
    rests: () => vi.waitFor(() => atRest(stage), PATIENCE),
    async clear() {
      for (const each of sidecars) await each.clear();
      for (const each of launchers) await each.clear();
      await recordState(place.state);
      await options.dispose?.(stage);
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await stage.configure(options.config ?? configOf('first'));
    await options.prepare?.(stage);
    stage.startLauncher();
    await stage.startSidecar();
  } catch (error) {
    await stage.clear();
    throw error;
  }
  return stage;
}

/** What a scripted LiteLLM says first. */
function startIn(line: string): { slot: string; pid: number }[] {
  const [, slot = '', pid] = /^\[([ab])\] \{"event":"start","pid":(\d+)/.exec(line) ?? [];
  return pid === undefined ? [] : [{ slot, pid: Number(pid) }];
}

/** One that nobody has waited for yet is as good as gone. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function atRest(stage: HandoverStage): Promise<UpstreamView> {
  const view = await stage.status();
  expect(view).toMatchObject({ handover: null, waiting: null, verified: true });
  const active = view.slots.find(({ state }) => state === 'active')?.name ?? '';
  expect(await readdir(stage.slots)).toEqual([active]);
  const keys = await readdir(join(stage.state, 'upstream'));
  expect(keys).toEqual([`${active}.key`]);
  expect(stage.pids()).toEqual([stage.pidAt(active as SlotName)]);
  const { response } = await get(stage, '/v1/models');
  expect(response.statusCode).toBe(200);
  return view;
}

export interface ClientLoop {
  /** Ends it; resolves to how many were served and what went wrong. */
  stop(): Promise<{ readonly served: number; readonly wrong: readonly string[] }>;
}

/** A client that asks one thing after the other, each on a connection of its own. */
export function keepAsking(stage: HandoverStage): ClientLoop {
  let over = false;
  let served = 0;
  const wrong: string[] = [];
  const loop = async (): Promise<void> => {
    while (!over) {
      try {
        const { response, text } = await post(stage, '{"model":"first","messages":[]}');
        if (response.statusCode === 200) served += 1;
        else wrong.push(`${response.statusCode} ${text}`);
      } catch (error) {
        wrong.push(String(error));
      }
      await new Promise((wake) => setTimeout(wake, 20));
    }
  };
  const ended = loop();
  return {
    async stop() {
      over = true;
      await ended;
      return { served, wrong };
    },
  };
}
