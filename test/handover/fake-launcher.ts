import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { SlotReport } from '../../src/litellm/report.ts';
import type { SlotName } from '../../src/litellm/slots.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import type { Secret } from '../../src/secret.ts';

/** One LiteLLM, or the place for one. */
interface Place {
  id: string | undefined;
  key: string;
  config: string;
  running: boolean;
  attempt: number;
  endedWith: number | undefined;
  /** When it starts, or starts again after its death. */
  changesAt: number;
}

export interface FakeLauncher {
  readonly urls: readonly [URL, URL];
  verify(slot: SlotName, key: Secret): Promise<Verdict>;
  tryKey(slot: SlotName, key: Secret): Promise<Verdict>;
  readReport(slot: SlotName): Promise<SlotReport | undefined>;
  isUp(slot: SlotName): boolean;
  /** The key that the LiteLLM of a slot runs with; undefined: none runs. */
  keyOf(slot: SlotName): string | undefined;
  configOf(slot: SlotName): string;
  /** Every content that was started, such as `a` or `b`, in order. */
  readonly started: SlotName[];
  /** It dies, and is started again. */
  kill(slot: SlotName): void;
  /**
   * Milliseconds since the epoch. Time passes only when the launcher does its work, so that a busy
   * machine, which keeps the launcher from it, does not make LiteLLM late.
   */
  now(): number;
  close(): void;
}

const BASE = Date.UTC(2026, 0, 1);
/** How far the launcher's clock goes with each of its looks at the slots. */
const PASSES_MS = 250;
/** How long it rests between two looks, by the clock on the wall. */
const RESTS_MS = 5;
const START_MS = 1000;

/**
 * Reads the slots as the launcher does, and answers as LiteLLM would. The configuration says what
 * becomes of it: `broken` dies, `own-key` refuses the key of its slot, `empty` lists no model, and
 * every other text is the name of its one model.
 */
export function createFakeLauncher(folder: string): FakeLauncher {
  const places = { a: emptyPlace(), b: emptyPlace() };
  const started: SlotName[] = [];
  let now = BASE;
  const die = (slot: SlotName): void =>
    void Object.assign(places[slot], { running: false, endedWith: 1, changesAt: now + START_MS });
  const startAgain = (place: Place): void =>
    void Object.assign(place, {
      ...{ attempt: place.attempt + 1, endedWith: undefined },
      changesAt: now + START_MS,
    });
  const lookAt = (slot: SlotName): void => {
    const place = places[slot];
    const path = join(folder, slot);
    if (readIfThere(join(path, 'id')) !== place.id) {
      const content = readSlot(path);
      Object.assign(place, emptyPlace(), content);
      if (content === undefined) return;
      started.push(slot);
      startAgain(place);
    } else if (now >= place.changesAt) {
      if (place.endedWith !== undefined) startAgain(place);
      else if (place.config.includes('broken')) die(slot);
      else Object.assign(place, { running: true, changesAt: Infinity });
    }
  };
  const work = (): void => {
    now += PASSES_MS;
    lookAt('a');
    lookAt('b');
    timer = setTimeout(work, RESTS_MS);
  };
  let timer = setTimeout(work, RESTS_MS);

  const verify = async (slot: SlotName, key: Secret): Promise<Verdict> => {
    await setImmediate();
    return verdictOn(places[slot], key);
  };
  return {
    urls: [new URL('http://127.0.0.1:4000'), new URL('http://127.0.0.1:4002')],
    started,
    verify,
    tryKey: verify,
    readReport: (slot) => Promise.resolve(reportOf(places[slot])),
    isUp: (slot) => places[slot].running,
    keyOf: (slot) => (places[slot].running ? places[slot].key : undefined),
    configOf: (slot) => places[slot].config,
    kill: die,
    now: () => now,
    close: () => clearTimeout(timer),
  };
}

const emptyPlace = (): Place => ({
  ...{ id: undefined, key: '', config: '', running: false, attempt: 0 },
  ...{ endedWith: undefined, changesAt: Infinity },
});

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Undefined: there is none, or it has just gone. */
function readSlot(path: string) {
  const id = readIfThere(join(path, 'id'));
  const key = readIfThere(join(path, 'master.key'));
  const config = readIfThere(join(path, 'config/config.yaml'));
  if (id === undefined || key === undefined || config === undefined) return undefined;
  return { id, key, config: `${config}\n` };
}

const reportOf = ({ id, attempt, endedWith }: Place): SlotReport | undefined =>
  id === undefined
    ? undefined
    : { slotId: id, attempt, lines: [`start ${attempt}`], endedWith, port: undefined };

function verdictOn({ running, key, config }: Place, given: Secret): Verdict {
  if (!running) return { kind: 'silent' };
  if (given.reveal() !== key || config.includes('own-key')) {
    return { kind: 'refuses_key', status: 401 };
  }
  return config.includes('empty')
    ? { kind: 'no_models' }
    : { kind: 'good', models: [config.trim()] };
}
