/** `npm run bench:rotation`: does a rotation disturb anybody? */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { type Admin, bodyOf, createAdmin } from './harness/admin.ts';
import { type Measured, runBench } from './harness/bench.ts';
import { openStreams } from './harness/load.ts';
import { pinLoad, stolen } from './harness/machine.ts';
import { ANSWER_BODY, PATH, REQUEST_BODY } from './harness/payloads.ts';
import { progress, say, startProgram, stop } from './harness/processes.ts';
import { atMost, figure, none, summary, table } from './harness/report.ts';
import { type RunningSidecar, startSidecar } from './harness/sidecar.ts';
import { measureKills } from './rotation/kills.ts';

/** `row`: rotations without a rest; `paced`: those at a pace, one each `everyMs`. */
const FULL = { row: 1000, paced: 60, everyMs: 5000, kills: 20 };
type Effort = typeof FULL;
const QUICK: Effort = { row: 100, paced: 12, everyMs: 4000, kills: 5 };

const CONNECTIONS = 64;
const STREAMS = 20;
/** Requests a second: about a fifth of what keeps the sidecar's core busy. */
const RATE = 2000;

/** Between two chunks of a stream, and how long one may be silent before it counts as cut. */
const [GAP_MS, SILENT_MS] = [100, 2000];

/**
 * How long an older key stays good, in milliseconds. Eight keys are valid at a time at the most, so
 * a row goes as fast as seven in a grace.
 */
const GRACE_MS = 800;

/** Of a grace, the part in which clients move; the rest is for what is on its way meanwhile. */
const MOVING = 0.5;

/** After a rotation: its saves, the clients' moves, the end of the grace and its save. */
const AROUND_MS = 2000;

/** Of the cores' time, a share of 1. Where the host keeps more, it makes the latencies. */
const MOST_STOLEN = 0.01;

/** Where the load's own timer is later than this, the machine stood still. Milliseconds. */
const STALL_MS = 20;

/** V8 compiles what is hot; nothing is measured before that has happened. Milliseconds. */
const WARM_MS = 5000;

/** How long an answer may be waited for, in milliseconds. */
const PATIENCE_MS = 10_000;

/** Between two tries where the oldest of eight valid keys has not ended yet, and how long at most. */
const [FULL_WAIT_MS, FULL_MOST_MS] = [10, 30_000];

const HELP = `npm run bench:rotation -- [options]

  Does a rotation disturb anybody? A built sidecar serves ${RATE} requests a second and ${STREAMS} SSE
  streams, while its key is rotated ${FULL.row} times without a rest, then every ${FULL.everyMs / 1000} s ${FULL.paced} times; another
  one is killed ${FULL.kills} times while keys rotate. Eight minutes, on a machine that does nothing else.

  --quick             ${QUICK.row} rotations, then ${QUICK.paced}, and ${QUICK.kills} kills, in 90 s; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

/** Clients that read the published key again at a moment of their own, once there is a new one. */
function createHolders(first: string, keyFile: string) {
  const holders = Array.from({ length: CONNECTIONS }, () => ({
    key: first,
    readsAt: Number.POSITIVE_INFINITY,
  }));
  let newest = first;
  /** Who is about to read anyway reads the newest. */
  const heard = (key: string): void => {
    if (key === newest) return;
    newest = key;
    const now = performance.now();
    for (const holder of holders) {
      holder.readsAt = Math.min(holder.readsAt, now + Math.random() * GRACE_MS * MOVING);
    }
  };
  return {
    heard,
    /** The key that a holder has now: a timer that is late makes no client late. */
    keyOf(index: number): string {
      const holder = holders[index % CONNECTIONS];
      if (holder === undefined) return first;
      if (holder.readsAt <= performance.now()) {
        holder.key = readFileSync(keyFile, 'utf8').trim();
        holder.readsAt = Number.POSITIVE_INFINITY;
        // It may stand there before its rotation is answered, and the grace begins with its use.
        heard(holder.key);
      }
      return holder.key;
    },
  };
}

/**
 * An open loop: requests leave at fixed instants, whatever became of those before, and a latency
 * counts from that instant, so that a stall is seen by all whom it met. The timer's grain of a
 * millisecond is in every latency.
 */
function createPacedLoad(port: number, keyOf: (index: number) => string) {
  const limits = { connections: CONNECTIONS, headersTimeout: PATIENCE_MS };
  const pool = new Pool(`http://127.0.0.1:${port}`, limits);
  const harm = { refused: 0, faults: new Map<string, number>() };
  let answered: { due: number; ms: number }[] = [];
  let stalls = 0;
  let sent = 0;
  let due = performance.now();
  let lookedAt = due;
  const fault = (what: string) => harm.faults.set(what, (harm.faults.get(what) ?? 0) + 1);

  const send = async (at: number): Promise<void> => {
    try {
      const authorization = `Bearer ${keyOf(sent++)}`;
      const { statusCode: status, body } = await pool.request({
        ...{ method: 'POST', path: PATH, body: REQUEST_BODY },
        headers: { authorization, 'content-type': 'application/json', 'x-bench': 'json litellm' },
      });
      const said = await body.text();
      answered.push({ due: at, ms: performance.now() - at });
      if (status === 401 || status === 429) harm.refused += 1;
      else if (status !== 200) fault(`status ${status}`);
      else if (said !== ANSWER_BODY) fault('another answer');
    } catch (error) {
      fault(String(error));
    }
  };
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - lookedAt > STALL_MS) stalls += 1;
    lookedAt = now;
    for (; due <= now; due += 1000 / RATE) void send(due);
  }, 1);
  return {
    harm,
    /** What was answered since the last time, and how often this process stood still meanwhile. */
    take() {
      const taken = { answered, stalls };
      [answered, stalls] = [[], 0];
      return taken;
    },
    /** Waits for the last answers. */
    async stop(): Promise<void> {
      clearInterval(timer);
      await pool.close();
    },
  };
}

/** @returns the milliseconds that the call took. @throws where it fails, or publishes another key */
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

/** Rotations without a rest, each asked for when the one before is answered. */
async function rotateInARow(rotate: () => Promise<number>, count: number) {
  const from = performance.now();
  const calls: number[] = [];
  for (let done = 1; done <= count; done += 1) {
    progress(`rotation ${done} of ${count} in a row`);
    calls.push(await rotate());
  }
  return { seconds: (performance.now() - from) / 1000, ...summary(calls) };
}

/** Rotations at a pace, and the latencies in the seconds around them and in the others. */
async function rotateAtAPace(
  rotate: () => Promise<number>,
  load: ReturnType<typeof createPacedLoad>,
  { paced, everyMs }: Effort,
) {
  const around: number[] = [];
  const others: number[] = [];
  let leftOut = 0;
  load.take();
  for (let done = 1; done <= paced; done += 1) {
    progress(`rotation ${done} of ${paced}, one each ${everyMs / 1000} s`);
    const at = performance.now();
    const share = stolen();
    await rotate();
    await sleep(at + everyMs - performance.now());
    const { answered, stalls } = load.take();
    if (stalls > 0 || share() > MOST_STOLEN) {
      leftOut += 1;
      continue;
    }
    for (const { due, ms } of answered) {
      // Who was due before the rotation and is answered only now is one of the seconds before.
      const isAround = due >= at && due < at + AROUND_MS;
      (isAround ? around : others).push(ms);
    }
  }
  return { around: summary(around), others: summary(others), leftOut };
}

/** Both parts beside one load, which begins with the first key of a sidecar that is new. */
async function measureDisturbance(
  { port, adminSocket, keyFile }: RunningSidecar,
  first: string,
  effort: Effort,
): Promise<Measured> {
  const admin = createAdmin(adminSocket);
  const { heard, keyOf } = createHolders(first, keyFile);
  const every = { count: STREAMS, ticking: STREAMS, gapMs: GAP_MS };
  const streams = await openStreams({ port, key: first, ...every });
  const load = createPacedLoad(port, keyOf);
  const rotate = () => rotateOnce(admin, keyFile, heard);
  await sleep(WARM_MS);
  const row = await rotateInARow(rotate, effort.row);
  await sleep(AROUND_MS);
  const { around, others, leftOut } = await rotateAtAPace(rotate, load, effort);
  await load.stop();
  const cut = streams.cut(SILENT_MS);
  streams.close();
  admin.close();

  const { refused, faults } = load.harm;
  for (const [what, count] of faults) say(`fault: ${what} (${count})`);
  const failed = [...faults.values()].reduce((sum, count) => sum + count, 0);
  const p99 = around.p99 / others.p99;
  const targets = [
    none('requests refused to clients that moved in the grace', refused),
    none('requests that failed in another way', failed),
    none('streams cut', cut),
    atMost('p99 of the seconds around a rotation, against the others', 1.1, '×', p99),
  ];
  const sentences = [
    `- Load: ${figure(RATE)} requests a second over ${CONNECTIONS} connections, whatever became of those before, beside ${STREAMS} SSE streams that stay on the first key. Latency counts from the instant at which a request was due, and holds up to a millisecond of the load's timer.`,
    `- Without a rest: ${figure(effort.row)} rotations over the admin socket, each asked for when the one before was answered, with a grace of ${GRACE_MS} ms; eight keys are valid at a time at most, so that it took ${figure(row.seconds)} s. A call took ${figure(row.p50, 1)} ms (p99 ${figure(row.p99, 1)}). Each client read the published key again at a moment of its own in the first half of the grace.`,
    `- At a pace: ${effort.paced} rotations, one each ${effort.everyMs / 1000} s, in the same process. "Around" are the ${AROUND_MS / 1000} s after the start of each, with its saves, the moves of all clients and the end of the grace. The seconds of ${leftOut} are left out: the host kept more than 1 % of the cores for others, or the load itself stood still for ${STALL_MS} ms.`,
  ];
  const rows = Object.entries({ 'around a rotation': around, others }).map(([name, seen]) => [
    ...[name, figure(seen.count), figure(seen.p50, 2)],
    ...[figure(seen.p99, 2), figure(seen.slowest, 1)],
  ]);
  const latencies = table(['seconds', 'requests', 'p50 ms', 'p99 ms', 'slowest ms'], rows);
  return { targets, text: [sentences.join('\n'), latencies] };
}

await runBench({
  ...{ name: 'bench:rotation', title: 'Rotation under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: [] },
  async measure({ folder, effort }) {
    // Load and operator are this process, and share a core with the upstream.
    const core = pinLoad();
    const { first } = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
    const key = `sk-bench${randomBytes(20).toString('hex')}`;
    const given = { upstreamPort: first.port, key, core };
    const sidecar = await startSidecar({ ...given, folder: join(folder, 'load') });
    const disturbance = await measureDisturbance(sidecar, key, effort);
    await stop(sidecar.child);
    // Ended keys are tried by the dozen; the limit on wrong ones would answer in their place.
    const env = { SIDECAR_FAILURES_PER_MINUTE: '0' };
    const begin = () => startSidecar({ ...given, folder: join(folder, 'kills'), env });
    return [disturbance, await measureKills(begin, key, effort.kills)];
  },
});
