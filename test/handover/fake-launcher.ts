import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { SlotReport } from '../../src/litellm/report.ts';
import type { SlotName } from '../../src/litellm/slots.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';

/** One LiteLLM, or the place for one: nothing answers while it does not run. */
interface Place {
  readonly server: Server;
  readonly url: URL;
  id: string | undefined;
  key: string;
  config: string;
  running: boolean;
  attempt: number;
  endedWith: number | undefined;
}

export interface FakeLauncher {
  readonly urls: readonly [URL, URL];
  verify(slot: SlotName, key: Secret): Promise<Verdict>;
  readReport(slot: SlotName): Promise<SlotReport | undefined>;
  isUp(slot: SlotName): boolean;
  /** The key that the LiteLLM of a slot runs with; undefined: none runs. */
  keyOf(slot: SlotName): string | undefined;
  configOf(slot: SlotName): string;
  /** Every content that was started, such as `a` or `b`, in order. */
  readonly started: SlotName[];
  /** It dies, and is started again. */
  kill(slot: SlotName): void;
  close(): Promise<void>;
}

const LOOK_MS = 10;
const START_MS = 20;

/**
 * Reads the slots as the launcher does, and answers as LiteLLM would. The configuration says what
 * becomes of it: `broken` dies, `own-key` refuses the key of its slot, `empty` lists no model, and
 * every other text is the name of its one model.
 */
export async function createFakeLauncher(folder: string): Promise<FakeLauncher> {
  const places = { a: await createPlace(), b: await createPlace() };
  const started: SlotName[] = [];
  const again = (slot: SlotName, id: string): void => {
    const place = places[slot];
    Object.assign(place, { attempt: place.attempt + 1, endedWith: undefined, running: false });
    setTimeout(() => {
      if (place.id !== id) return;
      if (place.config.includes('broken')) die(slot);
      else place.running = true;
    }, START_MS);
  };
  const die = (slot: SlotName): void => {
    const place = places[slot];
    const { id } = place;
    Object.assign(place, { running: false, endedWith: 1 });
    if (id !== undefined) setTimeout(() => place.id === id && again(slot, id), START_MS);
  };
  const look = setInterval(() => {
    for (const slot of ['a', 'b'] as const) {
      const content = readSlot(join(folder, slot));
      if (content?.id === places[slot].id) continue;
      Object.assign(places[slot], content ?? { id: undefined }, { attempt: 0, running: false });
      if (content === undefined) continue;
      started.push(slot);
      again(slot, content.id);
    }
  }, LOOK_MS);

  return {
    urls: [places.a.url, places.b.url],
    started,
    verify: async (slot, key) => await verify(places[slot].url, key),
    readReport: (slot) => Promise.resolve(reportOf(places[slot])),
    isUp: (slot) => places[slot].running,
    keyOf: (slot) => (places[slot].running ? places[slot].key : undefined),
    configOf: (slot) => places[slot].config,
    kill: die,
    async close() {
      clearInterval(look);
      for (const { server } of Object.values(places)) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

async function createPlace(): Promise<Place> {
  const server = createServer((request, response) => {
    const { running, key, config } = place;
    if (!running) return void request.socket.destroy();
    const isRight = request.headers.authorization === `Bearer ${key}`;
    response.statusCode = isRight && !config.includes('own-key') ? 200 : 401;
    const models = config.includes('empty') ? [] : [{ id: config.trim() }];
    response.end(JSON.stringify({ data: models }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}`);
  const nothing = { id: undefined, key: '', config: '', running: false, attempt: 0 };
  const place: Place = { server, url, ...nothing, endedWith: undefined };
  return place;
}

/** Undefined: there is none, or it has just gone. */
function readSlot(slot: string) {
  try {
    return {
      id: readFileSync(join(slot, 'id'), 'utf8').trim(),
      key: readFileSync(join(slot, 'master.key'), 'utf8').trim(),
      config: readFileSync(join(slot, 'config/config.yaml'), 'utf8'),
    };
  } catch {
    return undefined;
  }
}

const reportOf = ({ id, attempt, endedWith }: Place): SlotReport | undefined =>
  id === undefined
    ? undefined
    : { slotId: id, attempt, lines: [`start ${attempt}`], endedWith, port: undefined };

async function verify(url: URL, key: Secret): Promise<Verdict> {
  const ask = async (secret: Secret) =>
    await fetch(new URL('/v1/models', url), {
      headers: { authorization: `Bearer ${secret.reveal()}`, connection: 'close' },
    });
  try {
    const answer = await ask(key);
    if (answer.status !== 200) return { kind: 'refuses_key', status: answer.status };
    const { data } = (await answer.json()) as { data: { id: string }[] };
    if ((await ask(new Secret('sk-made-up'))).ok) return { kind: 'accepts_any_key' };
    if (data.length === 0) return { kind: 'no_models' };
    return { kind: 'good', models: data.map(({ id }) => id) };
  } catch {
    return { kind: 'silent' };
  }
}
