/** What those who are being served notice of rotations: a row of them without a rest, then a pace. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { stolen } from '../harness/machine.ts';
import { progress } from '../harness/processes.ts';
import { median, quantile } from '../harness/report.ts';
import type { RunningSidecar } from '../harness/sidecar.ts';
import { type Admin, bodyOf, createAdmin, present } from './admin.ts';
import {
  createHolders,
  createPacedLoad,
  type Harm,
  openLiveStreams,
  type Sample,
} from './clients.ts';

export interface Effort {
  /** Rotations in a row, each asked for when the one before is answered. */
  readonly row: number;
  readonly paced: number;
  /** Milliseconds between the starts of two paced rotations. */
  readonly everyMs: number;
  readonly kills: number;
  /** Requests a second. */
  readonly rate: number;
}

export const CONNECTIONS = 64;
export const STREAMS = 20;

/**
 * How long an older key stays good, in milliseconds. Eight keys are valid at a time at the most, so
 * a row goes as fast as seven in a grace.
 */
export const GRACE_MS = 500;

/** After a rotation: its saves, the clients' moves, the end of the grace and its save. */
export const AROUND_MS = 2000;

/** Of the cores' time, a share of 1. Where the host keeps more, it makes the latencies. */
const MOST_STOLEN = 0.01;

/** V8 compiles what is hot; nothing is measured before that has happened. Milliseconds. */
const WARM_MS = 5000;

/** Between two tries where the oldest of eight valid keys has not ended yet, in milliseconds. */
const FULL_WAIT_MS = 10;

/** Ended keys that are presented afterwards: fewer than the wrong ones an address may try. */
const TRIED_AFTERWARDS = 8;

/** Latencies in milliseconds, of all requests that were due in some seconds. */
export interface Latencies {
  readonly requests: number;
  readonly p50: number;
  readonly p99: number;
  readonly slowest: number;
  /** The p99 of the median second. */
  readonly usual: number;
}

export interface Disturbance {
  readonly harm: Harm;
  readonly requests: number;
  readonly moves: number;
  /** Of the row: seconds, and milliseconds of each call. */
  readonly row: { readonly seconds: number; readonly p50: number; readonly p99: number };
  /** Ended keys that were not refused as `expired_key`, and newest ones that were. */
  readonly wrongAfterwards: number;
  readonly around: Latencies;
  readonly others: Latencies;
  /** Paced rotations, and those whose seconds count: see MOST_STOLEN. */
  readonly paced: { readonly all: number; readonly calm: number };
}

/** An operator, and all keys that were handed out. */
function createOperator(
  admin: Admin,
  keyFile: string,
  first: string,
  heard: (key: string) => void,
) {
  const keys = [first];
  return {
    keys,
    /** Milliseconds that the call took; throws where it fails, or publishes another key. */
    async rotate(): Promise<number> {
      for (;;) {
        const from = performance.now();
        const said = await admin.rotate({ grace: `${GRACE_MS}ms` });
        if (!said.ok && said.code === 'too_many_generations') {
          await sleep(FULL_WAIT_MS);
          continue;
        }
        const ms = performance.now() - from;
        const { key } = bodyOf(said, `rotation ${keys.length}`);
        if (key === null) throw new Error(`rotation ${keys.length}: no key came`);
        keys.push(key);
        heard(key);
        const published = readFileSync(keyFile, 'utf8').trim();
        if (published !== key) throw new Error(`rotation ${keys.length}: another key is published`);
        return ms;
      }
    },
  };
}

/** How many of some ended keys work or are refused in another way, and whether the newest works. */
async function wrongAmong(port: number, keys: readonly string[]): Promise<number> {
  const ended = keys.slice(0, -1).reverse();
  const step = Math.max(1, Math.floor(ended.length / TRIED_AFTERWARDS));
  let wrong = (await present(port, keys.at(-1) ?? '')).status === 200 ? 0 : 1;
  for (let tried = 0; tried < TRIED_AFTERWARDS && tried * step < ended.length; tried += 1) {
    const { status, refusal } = await present(port, ended[tried * step] ?? '');
    if (status !== 401 || refusal !== 'expired_key') wrong += 1;
  }
  return wrong;
}

/** A paced rotation, when it began, and whether the host left its seconds alone. */
interface Paced {
  readonly at: number;
  readonly calm: boolean;
}

async function rotateAtPace(
  { paced, everyMs }: Effort,
  rotate: () => Promise<number>,
): Promise<Paced[]> {
  const all: Paced[] = [];
  for (let done = 0; done < paced; done += 1) {
    const at = performance.now();
    const share = stolen();
    await rotate();
    progress(`rotation ${done + 1} of ${paced}, one each ${everyMs / 1000} s`);
    await sleep(at + everyMs - performance.now());
    all.push({ at, calm: share.since() <= MOST_STOLEN });
  }
  return all;
}

/** Of the requests that were due in such seconds after a paced rotation. */
function latenciesOf(
  samples: readonly Sample[],
  paced: readonly Paced[],
  everyMs: number,
  belongs: (sinceMs: number) => boolean,
): Latencies {
  const all: number[] = [];
  const seconds = new Map<string, number[]>();
  let next = 0;
  // Both are in the order of their time.
  for (const { due, ms } of samples) {
    while ((paced[next + 1]?.at ?? Number.POSITIVE_INFINITY) <= due) next += 1;
    const { at = Number.NaN, calm = false } = paced[next] ?? {};
    const since = due - at;
    if (!calm || !(since >= 0 && since < everyMs) || !belongs(since)) continue;
    all.push(ms);
    const second = `${next} ${Math.floor(since / 1000)}`;
    const some = seconds.get(second);
    if (some === undefined) seconds.set(second, [ms]);
    else some.push(ms);
  }
  const [p50, p99, slowest] = [quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1)];
  const usual = median([...seconds.values()].map((some) => quantile(some, 0.99)));
  return { requests: all.length, p50, p99, slowest, usual };
}

/** Both parts beside one load, which begins with the first key of a sidecar that is new. */
export async function measureDisturbance(
  { port, socket, keyFile }: RunningSidecar,
  key: string,
  effort: Effort,
): Promise<Disturbance> {
  const admin = createAdmin(socket);
  const harm: Harm = { refused: 0, cut: 0, faults: new Map() };
  const { holders, heard, moves } = createHolders(CONNECTIONS, key, keyFile, GRACE_MS);
  const closeStreams = await openLiveStreams(port, key, STREAMS, harm);
  const load = createPacedLoad(port, effort.rate, holders, harm);
  const { rotate, keys } = createOperator(admin, keyFile, key, heard);
  await sleep(WARM_MS);

  const from = performance.now();
  const calls: number[] = [];
  for (let done = 0; done < effort.row; done += 1) {
    calls.push(await rotate());
    if ((done + 1) % 10 === 0) progress(`rotation ${done + 1} of ${effort.row} in a row`);
  }
  const seconds = (performance.now() - from) / 1000;
  await sleep(AROUND_MS);
  const paced = await rotateAtPace(effort, rotate);

  await load.stop();
  closeStreams();
  const wrongAfterwards = await wrongAmong(port, keys);
  admin.close();
  const of = (belongs: (sinceMs: number) => boolean) =>
    latenciesOf(load.samples, paced, effort.everyMs, belongs);
  return {
    ...{ harm, requests: load.samples.length, moves: moves(), wrongAfterwards },
    row: { seconds, p50: quantile(calls, 0.5), p99: quantile(calls, 0.99) },
    around: of((since) => since < AROUND_MS),
    others: of((since) => since >= AROUND_MS),
    paced: { all: paced.length, calm: paced.filter(({ calm }) => calm).length },
  };
}
