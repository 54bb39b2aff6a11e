/** One run: a load through one process, in turns with and without rotations. */
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorSeconds, stolenSeconds } from '../machine.js';

export const WANTED_PER_SECOND = 5000;
/**
 * How busy the load may keep the sidecar when it is fitted, as a share of a core: above it queues
 * make the latencies, and this machine may be slower in the next moment.
 */
export const MOST_BUSY = 0.6;
/** Of the cores' time, a share of 1. Where the host keeps more, it makes the latencies. */
export const MOST_STOLEN = 0.01;
/** How often the load is fitted to it at first: a request costs less where more of them come. */
const FIRST_FITS = 4;

/**
 * @typedef {object} Turn one process, and what its clients start from
 * @property {import('./load-process.js').Load} load
 * @property {import('./rotator-process.js').Rotator} rotator
 * @property {Awaited<ReturnType<import('../stage.js').Stage['start']>>} running
 * @property {ReturnType<typeof import('./sidecar.js').createSidecar>} sidecar
 * @property {import('./options.js').Effort} effort
 * @property {string} key the newest one
 *
 * @typedef {object} Used
 * @property {number} seconds
 * @property {number} proxy seconds of processor time
 * @property {number} stolen
 */

/** @param {readonly number[]} pids */
function createMeter(pids) {
  const read = () => ({
    seconds: performance.now() / 1000,
    proxy: processorSeconds(pids),
    stolen: stolenSeconds(),
  });
  return {
    /** @param {() => Promise<unknown>} work @returns {Promise<Used>} */
    async during(work) {
      const before = read();
      await work();
      const after = read();
      return {
        seconds: after.seconds - before.seconds,
        proxy: after.proxy - before.proxy,
        stolen: after.stolen - before.stolen,
      };
    },
  };
}

/** Shares of 1, over all turns of a kind. @param {readonly Used[]} turns */
export function sharesOf(turns) {
  const sum = (/** @type {(used: Used) => number} */ of) =>
    turns.reduce((total, used) => total + of(used), 0);
  const seconds = sum((used) => used.seconds);
  return {
    proxyBusy: sum((used) => used.proxy) / seconds,
    stolen: sum((used) => used.stolen) / seconds / cpus().length,
  };
}

/** Not known outside of Linux: then every turn is. @param {Used} used */
const isCalm = (used) => !(sharesOf([used]).stolen > MOST_STOLEN);

/**
 * What the machine carries now.
 * @param {Turn} turn
 * @param {ReturnType<typeof createMeter>} meter
 */
function createPace({ load, effort }, meter) {
  let perSecond = WANTED_PER_SECOND;
  return {
    now: () => perSecond,
    async fit() {
      const { proxy, seconds } = await meter.during(() => sleep(effort.fitMs));
      const fits = (perSecond * MOST_BUSY) / (proxy / seconds);
      // Not on Linux: there is nothing to go by.
      if (!Number.isFinite(fits)) return;
      perSecond = Math.min(WANTED_PER_SECOND, Math.max(100, Math.floor(fits / 100) * 100));
      await load.pace(perSecond);
    },
  };
}

/**
 * Rotations in rows, and when the clients of each are done with it.
 * @param {Turn} turn
 */
function createRows({ load, rotator, sidecar, effort, key }) {
  const { paceMs, graceMs } = effort;
  const keys = [key];
  return {
    keys,
    async rotate(/** @type {number} */ rotations, everyMs = paceMs) {
      const places = { socket: sidecar.socket(), keyFile: sidecar.keyFile() };
      const row = { ...places, rotations, paceMs: everyMs, graceMs, keysBefore: keys.length };
      const rotated = await rotator.rotate(row, load.tell);
      keys.push(...rotated.keys);
      // The last ones move.
      await sleep(graceMs);
      return rotated;
    },
  };
}

/** Opens the load, and fits it to the machine. @param {Turn} turn */
async function begin(turn) {
  const { load, running, sidecar, effort, key } = turn;
  const meter = createMeter(running.pids);
  const pace = createPace(turn, meter);
  const perSecond = pace.now();
  await load.open({
    ...{ port: running.port, keyFile: sidecar.keyFile(), key, perSecond },
    graceMs: effort.graceMs,
  });
  for (let fit = 0; fit < FIRST_FITS; fit += 1) await pace.fit();
  return { meter, pace, ...createRows(turn) };
}

/** Rotations without a rest. @param {Turn} turn */
export async function driveRow(turn) {
  const { load, effort } = turn;
  const { keys, rotate } = await begin(turn);
  await rotate(effort.row.rotations, effort.row.paceMs);
  return { seen: await load.end(), keys };
}

/** @typedef {'without' | 'with'} Kind */

/**
 * One turn of each kind, the first one first.
 * @param {readonly Kind[]} order
 * @param {{turnTo: (phase: import('./tallies.js').Phase) => Promise<unknown>,
 *   during: (kind: Kind) => Promise<Used>, restMs: number}} given
 */
async function takeTurns(order, { turnTo, during, restMs }) {
  /** @type {Partial<Record<Kind, Used>>} */
  const used = {};
  for (const kind of order) {
    await turnTo(kind);
    used[kind] = await during(kind);
    await turnTo('between');
    await sleep(restMs);
  }
  return /** @type {Record<Kind, Used>} */ (used);
}

/** @param {Turn} turn */
export async function driveTurns(turn) {
  const { load, running, effort } = turn;
  const { graceMs, turns, mostTurns, turnsPerFit, rotationsPerTurn, steadyMs } = effort;
  const { meter, pace, keys, rotate } = await begin(turn);
  /** @type {import('./rotator-process.js').Rotated[]} */
  const rows = [];
  /** @type {Record<Kind, Used>[]} */
  const used = [];
  /** @type {number[]} */
  const paces = [];
  const work = {
    with: async () => void rows.push(await rotate(rotationsPerTurn)),
    without: () => sleep(steadyMs),
  };
  const given = {
    turnTo: load.turnTo,
    during: (/** @type {Kind} */ kind) => meter.during(work[kind]),
    restMs: graceMs,
  };
  const order = /** @type {const} */ (['without', 'with']);
  await rotate(effort.warmRotations, effort.row.paceMs);
  // They have started the disk thread.
  running.place();
  let taken = 0;
  for (; used.length < turns && taken < mostTurns; taken += 1) {
    if (taken % turnsPerFit === 0) {
      await pace.fit();
      await sleep(graceMs);
      paces.push(pace.now());
    }
    // Every turn in the other order.
    const both = await takeTurns(taken % 2 === 0 ? order : order.toReversed(), given);
    const calm = isCalm(both.without) && isCalm(both.with);
    await load.settle(calm);
    if (calm) used.push(both);
  }
  if (used.length === 0) {
    throw new Error(
      `the host was busy with others in all ${taken} turns: try again when it is not`,
    );
  }
  return { seen: await load.end(), rows, used, taken, paces, keys };
}
