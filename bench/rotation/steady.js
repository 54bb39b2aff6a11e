/** The same load with and without rotations, in turns. */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nextMessage, start } from '../children.js';
import { median } from '../load/percentile.js';
import { processorSeconds, stolenSeconds } from '../machine.js';
import { createAdmin } from './admin.js';
import { present } from './presented.js';
import { rotateInARow } from './row.js';
import { createSidecar } from './sidecar.js';

const CONNECTIONS = 64;
const STREAMS = 20;
const WANTED_PER_SECOND = 5000;
/**
 * Of what a closed loop of the same connections carries, where that is too little: such a loop asks
 * in batches, and a request of an open one costs up to twice as much.
 */
const SHARE = 0.5;
/** The load is to be one that the machine carries at its slowest. */
export const PROBES = 8;

/** Old keys that are presented after a run: fewer than the wrong ones that an address may try. */
const TRIED_AFTERWARDS = 8;

/**
 * @typedef {object} RunFigures times in milliseconds
 * @property {boolean} rotating
 * @property {number} perSecond
 * @property {number} refused
 * @property {number} faults
 * @property {number} p50
 * @property {number} p99
 * @property {number} cut
 * @property {number} chunkP99
 * @property {number} proxyBusy a share of 1
 * @property {number} stolen what the host kept from this machine's cores, a share of 1
 * @property {{perSecond: number, p50: number, p99: number, waits: number, moves: number}
 *   | undefined} rotations
 * @property {number} wrongAfterwards ended keys that were not refused as `expired_key`, and newest
 *   ones that were
 *
 * @typedef {object} LoadFigures
 * @property {number} capacity requests a second of the closed loop, in the slowest of its probes
 * @property {number} perSecond what the open loop was paced to
 * @property {readonly RunFigures[]} runs
 */

/** @param {number} port @param {readonly string[]} keys oldest first; the last one is valid */
async function wrongAmong(port, keys) {
  const newest = keys.at(-1) ?? '';
  const ended = keys.slice(0, -1);
  const step = Math.max(1, Math.floor(ended.length / TRIED_AFTERWARDS));
  const tried = ended.reverse().filter((_, at) => at % step === 0);
  let wrong = (await present(port, newest)).status === 200 ? 0 : 1;
  for (const key of tried.slice(0, TRIED_AFTERWARDS)) {
    const { status, refusal } = await present(port, key);
    if (status !== 401 || refusal !== 'expired_key') wrong += 1;
  }
  return wrong;
}

/**
 * @param {number | undefined} core
 */
async function createLoad(core) {
  const child = start(process.execPath, [fileURLToPath(new URL('./load.js', import.meta.url))], {
    core,
    ipc: true,
  });
  await nextMessage(child);
  const ask = async (/** @type {object} */ job) => {
    const answered = nextMessage(child);
    child.send(job);
    const { result, failed } = await answered;
    if (failed !== undefined) throw new Error(failed);
    return result;
  };
  return {
    open: (/** @type {Omit<import('./load.js').Job, 'connections' | 'streams'>} */ job) =>
      ask({ kind: 'open', ...job, connections: CONNECTIONS, streams: STREAMS }),
    /** @param {{key: string, number: number}} next */
    tell: (next) => void child.send({ kind: 'key', ...next }),
    measure: () => ask({ kind: 'measure' }),
    end: () => ask({ kind: 'end' }),
  };
}

/**
 * @typedef {object} Turn one process, and what its clients start from
 * @property {Awaited<ReturnType<typeof createLoad>>} load
 * @property {Awaited<ReturnType<import('../stage.js').Stage['start']>>} running
 * @property {ReturnType<typeof createSidecar>} sidecar
 * @property {import('./options.js').Effort} effort
 * @property {number} perSecond
 */

/**
 * The load, first while a few keys rotate and then for the record.
 * @param {Turn} turn
 * @param {boolean} rotating
 * @param {string} key the newest one
 */
async function drive({ load, running, sidecar, effort, perSecond }, rotating, key) {
  const { warmRotations, rotations, paceMs, graceMs, steadyMs } = effort;
  const keyFile = sidecar.keyFile();
  const admin = createAdmin(sidecar.socket());
  const row = { admin, keyFile, paceMs, graceMs, onKey: load.tell };
  try {
    await load.open({ port: running.port, keyFile, key, perSecond, graceMs });
    const warm = await rotateInARow({ ...row, rotations: warmRotations });
    // They have started the disk thread.
    running.place();
    await sleep(graceMs * 2);
    await load.measure();
    const keysBefore = warm.keys.length + 1;
    const rotated = rotating ? await rotateInARow({ ...row, rotations, keysBefore }) : undefined;
    await sleep(rotating ? graceMs * 2 : steadyMs);
    const seen = await load.end();
    return { seen, rotated, keys: [key, ...warm.keys, ...(rotated?.keys ?? [])] };
  } finally {
    admin.close();
  }
}

/**
 * @param {Turn} turn
 * @param {boolean} rotating
 * @param {string} key the newest one
 * @returns {Promise<{run: RunFigures, newest: string, faults: Record<string, number>}>}
 */
async function runOnce(turn, rotating, key) {
  const { port, pids } = turn.running;
  const { effort } = turn;
  const read = () => ({
    at: performance.now() / 1000,
    proxy: processorSeconds(pids),
    stolen: stolenSeconds(),
  });
  const before = read();
  const { seen, rotated, keys } = await drive(turn, rotating, key);
  const after = read();
  const wall = after.at - before.at;
  const { streams, moves, faults } = seen;
  await sleep(effort.graceMs + 200);
  const run = {
    ...{ rotating, perSecond: seen.perSecond, refused: seen.refused },
    faults: Object.values(/** @type {Record<string, number>} */ (faults)).reduce(
      (a, b) => a + b,
      0,
    ),
    ...{ p50: seen.p50, p99: seen.p99, cut: streams.cut, chunkP99: streams.chunkP99 },
    proxyBusy: (after.proxy - before.proxy) / wall,
    stolen: (after.stolen - before.stolen) / wall / cpus().length,
    rotations: rotated && {
      ...{ perSecond: rotated.perSecond, p50: rotated.p50, p99: rotated.p99 },
      ...{ waits: rotated.waits, moves },
    },
    wrongAfterwards: await wrongAmong(port, keys),
  };
  return { run, newest: keys.at(-1) ?? key, faults };
}

/**
 * @param {import('../stage.js').Stage} stage
 * @param {Turn['running']} running
 * @param {Record<string, unknown>} loop
 */
async function probe(stage, running, loop) {
  let slowest = Number.POSITIVE_INFINITY;
  for (let probed = 0; probed < PROBES; probed += 1) {
    const { perSecond } = await stage.loop(running, loop);
    slowest = Math.min(slowest, perSecond);
  }
  return slowest;
}

/**
 * @param {import('../stage.js').Stage} stage
 * @param {import('./options.js').Effort} effort
 * @param {{key: string, cores: {rest: number, proxy: number} | undefined,
 *   say: (text: string) => void}} given
 * @returns {Promise<LoadFigures>}
 */
export async function measureLoad(stage, effort, { key: firstKey, cores, say }) {
  const load = await createLoad(cores?.rest);
  const loop = { kind: 'json', connections: CONNECTIONS };
  /** @type {RunFigures[]} */
  const runs = [];
  let capacity = Number.NaN;
  let perSecond = WANTED_PER_SECOND;
  for (let pair = 0; pair < effort.runs; pair += 1) {
    const sidecar = createSidecar();
    const running = await stage.start(sidecar.peer);
    // V8 compiles what is hot; nothing is measured before that has happened.
    await stage.loop(running, { ...loop, warmMs: effort.burnInMs, measureMs: 0 });
    if (pair === 0) {
      capacity = await probe(stage, running, { ...loop, warmMs: 0, measureMs: effort.probeMs });
      perSecond = Math.min(WANTED_PER_SECOND, Math.round((capacity * SHARE) / 100) * 100);
      say(`a closed loop carries ${Math.round(capacity)}/s: the load is ${perSecond}/s`);
    }
    const turn = { load, running, sidecar, effort, perSecond };
    let key = firstKey;
    // Every pair in the other order, with a fresh process and a fresh keyring.
    for (const rotating of pair % 2 === 0 ? [false, true] : [true, false]) {
      const { run, newest, faults } = await runOnce(turn, rotating, key);
      key = newest;
      runs.push(run);
      say(`${rotating ? 'with' : 'without'} rotations: p99 ${run.p99.toFixed(2)} ms`);
      if (run.faults > 0) say(`faults: ${JSON.stringify(faults)}`);
    }
    await stage.stop(running);
  }
  return { capacity, perSecond, runs };
}

/** @param {LoadFigures} figures @param {boolean} rotating @param {'p50' | 'p99'} field */
export const medianOf = ({ runs }, rotating, field) =>
  median(runs.filter((run) => run.rotating === rotating).map((run) => run[field]));
