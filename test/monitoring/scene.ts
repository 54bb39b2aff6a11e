import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { addClient, adminCall, rotate } from '../support/admin.ts';
import { ask, get, post } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { configOf, handoverStage } from '../support/handover-stage.ts';
import { clientOf, generationOf, keyringOf } from '../support/keyrings.ts';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';
import { opened, openWebSocket } from '../support/websocket.ts';
import { type Prometheus, startPrometheus } from './prometheus.ts';
import { createProvider, type Wish } from './provider.ts';

/**
 * Three sidecars that a Prometheus scrapes, and everything that a panel or an alert asks about
 * happens to one of them: `busy` serves clients and has trouble with keys, `handed` replaces its
 * LiteLLM, and `lonely` loses first the key, then LiteLLM, then its own life.
 */
export async function playScene() {
  const folder = await mkdtemp(join(tmpdir(), 'monitoring-'));
  const ends: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })];
  const clear = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    // Each has a clients file of its own, as two that should have the same have by mistake.
    const clients = join(folder, 'handed.yaml');
    await writeFile(clients, 'clients: {}\n');
    const handed = await handoverStage({
      settings: { SIDECAR_AUTO_RELOAD: 'true', SIDECAR_CLIENTS: clients },
    });
    ends.push(handed.clear);
    const busy = await startBusy(folder, ends);
    const lonely = await startLonely(folder, ends);
    const ports = [handed.opsPort, portOf(busy.process.opsUrl), portOf(lonely.process.opsUrl)];
    const prometheus = await startPrometheus(ports.map((port) => `127.0.0.1:${port}`));
    ends.push(prometheus.stop);
    // What it counts from now on is an increase.
    await prometheus.sees('count(up == 1) == 3');
    await Promise.all([
      serveAndFail(busy, prometheus, ends),
      handOver(handed),
      loseAll(lonely, prometheus),
    ]);
    return { prometheus, clear };
  } catch (error) {
    await clear();
    throw error;
  }
}

const portOf = (url: string): number => Number(new URL(url).port);

/** As the helpers of tests know a sidecar. */
interface Place {
  readonly process: SidecarProcess;
  readonly port: number;
  readonly state: string;
  readonly key: string;
}
type Busy = Place & { readonly published: string; readonly clients: string };

/** In front of somebody else's LiteLLM, with a keyring that was begun years ago. */
async function startBusy(folder: string, ends: (() => unknown)[]): Promise<Busy> {
  const [state, published] = [join(folder, 'busy'), join(folder, 'published')];
  const clients = join(folder, 'busy.yaml');
  await writeFile(clients, '# nobody\nclients: {}\n');
  const key = generateKey();
  await mkdir(published);
  // A folder stands where usage belongs.
  await mkdir(join(state, 'usage.db'), { recursive: true, mode: 0o700 });
  const first = generationOf('master', 1, { digest: digestOf(key), origin: 'declared' });
  const store = createFileStore({ folder: state });
  await store.save(keyringOf([clientOf('master', 1, { generations: [first] })]), 0);
  await store.close();
  const upstream = await startFakeUpstream(createProvider());
  ends.push(upstream.stop);
  const process = await startSidecarProcess(folder, {
    SIDECAR_UPSTREAM: upstream.url,
    SIDECAR_UPSTREAM_KEY: generateKey(),
    LITELLM_MASTER_KEY: key,
    SIDECAR_STATE: state,
    SIDECAR_PUBLISH: `leaky=file:${join(published, 'leaky')}`,
    SIDECAR_CLIENTS: clients,
  });
  ends.push(process.stop);
  return { process, port: portOf(process.url), state, key, published, clients };
}

/** Its LiteLLM refuses its key. */
async function startLonely(folder: string, ends: (() => unknown)[]) {
  const upstream = await startFakeUpstream(createProvider());
  ends.push(upstream.stop);
  upstream.takesKey(false);
  const [state, key] = [join(folder, 'lonely'), generateKey()];
  const process = await startSidecarProcess(folder, {
    SIDECAR_UPSTREAM: upstream.url,
    SIDECAR_UPSTREAM_KEY: generateKey(),
    LITELLM_MASTER_KEY: key,
    SIDECAR_STATE: state,
    SIDECAR_HOLD: '30s',
  });
  ends.push(process.stop);
  return { process, port: portOf(process.url), state, key, upstream };
}

const wish = (place: Pick<Place, 'port' | 'key'>, body: Wish): Promise<unknown> =>
  post(place, JSON.stringify(body)).catch(() => undefined);
const times = (count: number, act: () => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, act));

const COUNTED = 'litellm_sidecar_cost_usd_total{client="ci",model="m"} > 0';

async function serveAndFail(
  busy: Busy,
  prometheus: Prometheus,
  ends: (() => unknown)[],
): Promise<void> {
  const { as: ci } = await addClient(busy, {
    ...{ name: 'ci', scopes: ['inference'], expires: '90d' },
    // Of which one request will use more.
    limits: { usdPerDay: 100, mode: 'record' },
  });
  const { as: leaky } = await addClient(busy, { name: 'leaky', scopes: ['inference'] });
  // Clients and models are there before they are counted.
  for (const place of [ci, leaky]) await wish(place, { model: 'm', stream: true });
  await wish(ci, { model: 'thinker', stream: true });
  await wish(ci, { model: 'm' });
  await prometheus.sees(COUNTED);

  const thinking = wish(ci, { model: 'thinker', stream: true, wait: 11_000 });
  const socket = openWebSocket(ci);
  await opened(socket);
  ends.push(() => socket.terminate());
  await wish(ci, { model: 'm', cost: 150 });
  await wish(ci, { model: 'm', stream: true, withoutUsage: true });
  await wish(ci, { model: 'm', says: '429' });
  await wish(ci, { model: 'flaky' });
  await times(10, () => wish(ci, { model: 'm', says: '500' }));
  await times(3, () => wish(ci, { model: 'm', says: 'nothing' }));
  const leaving = ask(ci, { method: 'POST', path: '/v1/chat/completions' });
  leaving.request.end(JSON.stringify({ model: 'm', stream: true, wait: 60_000 }));
  await leaving.answer;
  leaving.request.destroy();
  await times(120, () => get({ ...ci, key: generateKey() }));

  await writeFile(busy.clients, 'clients: nobody\n');
  // Where its key is published cannot be written any more.
  await rm(busy.published, { recursive: true });
  await rotate(leaky, { compromised: true }, { client: 'leaky' });
  await get(leaky);
  const { as: next } = await rotate(ci, { grace: '1h' }, { client: 'ci' });
  await get(next);
  await times(5, () => get(ci));
  await prometheus.sees('litellm_sidecar_key_deadline_timestamp_seconds');
  await thinking;

  await adminCall(busy, 'POST', '/api/usage/save', { body: {} });
  await prometheus.sees('litellm_sidecar_usage_store_up == 0');
  // And where the keyring belongs, too.
  await rename(join(busy.state, 'keyring.json'), join(busy.state, 'keyring.json.away'));
  await mkdir(join(busy.state, 'keyring.json'));
  await adminCall(busy, 'POST', '/api/clients/master/rotate', { body: {} });
  await prometheus.sees('litellm_sidecar_store_up == 0');
  await rm(join(busy.state, 'keyring.json'), { recursive: true });
  await rename(join(busy.state, 'keyring.json.away'), join(busy.state, 'keyring.json'));
}

async function handOver(handed: Awaited<ReturnType<typeof handoverStage>>): Promise<void> {
  await get(handed);
  await handed.handOver('rotate');
  await handed.configure(configOf('next', 'dies'));
  while ((await handed.status()).config !== 'refused') {
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

async function loseAll(
  lonely: Awaited<ReturnType<typeof startLonely>>,
  prometheus: Prometheus,
): Promise<void> {
  await prometheus.sees('litellm_sidecar_upstream_key_accepted == 0');
  await lonely.upstream.stop();
  const held = get(lonely).catch(() => undefined);
  await prometheus.sees('litellm_sidecar_requests_held > 0');
  await prometheus.sees('max by (instance) (litellm_sidecar_upstream_up) == 0');
  await lonely.process.stop();
  await held;
  await prometheus.sees('up == 0');
}
