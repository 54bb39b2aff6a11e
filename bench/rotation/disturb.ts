/** What those who are being served notice of rotations: a row without a rest, then some at a pace. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Admin, bodyOf, createAdmin, present } from '../harness/admin.ts';
import { stolen } from '../harness/machine.ts';
import { progress } from '../harness/processes.ts';
import { median, quantile } from '../harness/report.ts';
import type { RunningSidecar } from '../harness/sidecar.ts';
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
  /** Rotations at a pace, and milliseconds between the starts of two. */
  readonly paced: number;
  readonly everyMs: number;
  readonly kills: number;
}

export const CONNECTIONS = 64;
export const STREAMS = 20;
/** Requests a second: about a fifth of what keeps the sidecar's core busy. */
export const RATE = 2000;

/**
 * How long an older key stays good, in milliseconds. Eight keys are valid at a time at the most, so
 * a row goes as fast as seven in a grace.
 */
export const GRACE_MS = 800;

/** After a rotation: its saves, the clients' moves, the end of the grace and its save. */
export const AROUND_MS = 2000;

/** Of the cores' time, a share of 1. Where the host keeps more, it makes the latencies. */
const MOST_STOLEN = 0.01;

/** V8 compiles what is hot; nothing is measured before that has happened. Milliseconds. */
const WARM_MS = 5000;

/** Between two tries where the oldest of eight valid keys has not ended yet, and how long at most. */
const FULL_WAIT_MS = 10;
const FULL_MOST_MS = 30_000;

/** Ended keys that are presented afterwards: fewer than the wrong ones an address may try. */
const TRIED_AFTERWARDS = 8;

/** Milliseconds, of all requests that were due in some seconds. */
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
  /** How often a client took a new key from the published file. */
  readonly reads: number;
  /** Of the row: seconds, and milliseconds of each call. */
  readonly row: { readonly seconds: number; readonly p50: number; readonly p99: number };
  /** Ended keys that were not refused as `expired_key`, and newest ones that were. */
  readonly wrongAfterwards: number;
  readonly around: Latencies;
  readonly others: Latencies;
  /** Paced rotations whose seconds are left out, because the machine stood still in them. */
  readonly leftOut: number;
}

/** Milliseconds that the call took; throws where it fails, or publishes another key. */
async function rotateOnce(admin: Admin, keyFile: string, onKey: (key: string) => void) {
  for (const began = performance.now(); ; await sleep(FULL_WAIT_MS)) {
    const from = performance.now();
    const said = await admin.rotate({ grace: `${GRACE_MS}ms` });
    const ms = performance.now() - from;
    if (said.ok || said.code !== 'too_many_generations' || from > began + FULL_MOST_MS) {
      const { key, generation } = bodyOf(said, 'a rotation');
      onKey(key ?? '');
      if (readFileSync(keyFile, 'utf8').trim() === key) return ms;
      throw new Error(`${generation.id}: another key is published`);
    }
  }
}

/** How many of some ended keys work or are refused in another way, and whether the newest works. */
async function wrongAmong(port: number, keys: readonly string[]): Promise<number> {
  const ended = keys.slice(0, -1);
  const step = Math.max(1, Math.ceil(ended.length / TRIED_AFTERWARDS));
  let wrong = (await present(port, keys.at(-1) ?? '')).status === 200 ? 0 : 1;
  for (const key of ended.filter((_, at) => at % step === 0)) {
    if ((await present(port, key)).refusal !== 'expired_key') wrong += 1;
  }
  return wrong;
}

/** A paced rotation, and whether the seconds after it count. */
interface Paced {
  readonly at: number;
  readonly counts: boolean;
}

/** Of the requests that were due in such seconds after a paced rotation. */
function latenciesOf(
  samples: readonly Sample[],
  paced: readonly Paced[],
  belongs: (sinceMs: number) => boolean,
): Latencies {
  const seconds = paced.flatMap(({ at, counts }, index) => {
    const end = paced[index + 1]?.at ?? at;
    const grouped = new Map<number, number[]>();
    for (const { due, ms } of samples) {
      const since = due - at;
      if (!counts || since < 0 || due >= end || !belongs(since)) continue;
      const second = Math.floor(since / 1000);
      grouped.set(second, grouped.get(second) ?? []);
      grouped.get(second)?.push(ms);
    }
    return [...grouped.values()];
  });
  const all = seconds.flat();
  const [p50, p99, slowest] = [quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1)];
  const usual = median(seconds.map((second) => quantile(second, 0.99)));
  return { requests: all.length, p50, p99, slowest, usual };
}

/** Both parts beside one load, which begins with the first key of a sidecar that is new. */
export async function measureDisturbance(
  { port, adminSocket, keyFile }: RunningSidecar,
  first: string,
  effort: Effort,
): Promise<Disturbance> {
  const admin = createAdmin(adminSocket);
  const harm: Harm = { refused: 0, cut: 0, faults: new Map() };
  const { heard, reads, keyOf } = createHolders(CONNECTIONS, first, keyFile, GRACE_MS);
  const closeStreams = await openLiveStreams(port, first, STREAMS, harm);
  const load = createPacedLoad(port, RATE, CONNECTIONS, keyOf, harm);
  const keys = [first];
  const rotate = () =>
    rotateOnce(admin, keyFile, (key) => {
      keys.push(key);
      heard(key);
    });
  await sleep(WARM_MS);

  const from = performance.now();
  const calls: number[] = [];
  for (let done = 0; done < effort.row; done += 1) {
    progress(`rotation ${done + 1} of ${effort.row} in a row`);
    calls.push(await rotate());
  }
  const seconds = (performance.now() - from) / 1000;
  await sleep(AROUND_MS);
  const paced: Paced[] = [];
  for (let done = 0; done < effort.paced; done += 1) {
    progress(`rotation ${done + 1} of ${effort.paced}, one each ${effort.everyMs / 1000} s`);
    const at = performance.now();
    const [share, stalls] = [stolen(), load.stalls.length];
    await rotate();
    await sleep(at + effort.everyMs - performance.now());
    const calm = share.since() <= MOST_STOLEN && load.stalls.length === stalls;
    paced.push({ at, counts: calm });
  }
  // Where the seconds of the last one end.
  paced.push({ at: performance.now(), counts: false });

  await load.stop();
  closeStreams();
  const wrongAfterwards = await wrongAmong(port, keys);
  admin.close();
  return {
    ...{ harm, reads: reads(), wrongAfterwards },
    row: { seconds, p50: quantile(calls, 0.5), p99: quantile(calls, 0.99) },
    around: latenciesOf(load.samples, paced, (since) => since < AROUND_MS),
    others: latenciesOf(load.samples, paced, (since) => since >= AROUND_MS),
    leftOut: paced.filter(({ counts }) => !counts).length - 1,
  };
}
