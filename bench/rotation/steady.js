/** What a load sees with and without rotations. */
import { setTimeout as sleep } from 'node:timers/promises';
import { median, percentile } from '../load/percentile.js';
import { CONNECTIONS, startLoad } from './load-process.js';
import { present } from './presented.js';
import { startRotator } from './rotator-process.js';
import { driveRow, driveTurns, sharesOf } from './run.js';
import { createSidecar } from './sidecar.js';

/** Old keys that are presented after a run: fewer than the wrong ones that an address may try. */
const TRIED_AFTERWARDS = 8;

/**
 * @typedef {object} Harm what went wrong for clients
 * @property {number} refused
 * @property {number} faults
 * @property {number} cut
 *
 * @typedef {object} Half of one run, all turns of one kind; times in milliseconds
 * @property {boolean} rotating
 * @property {number} perSecond
 * @property {number} p50
 * @property {number} p99
 * @property {number} chunkP99
 * @property {number} proxyBusy a share of 1
 * @property {number} stolen what the host kept from this machine's cores, a share of 1
 * @property {{perSecond: number, p50: number, p99: number, waits: number, moves: number}
 *   | undefined} rotations
 * @typedef {Half & Harm} HalfFigures with rotations: the harm between the turns is in it
 *
 * @typedef {object} LoadFigures
 * @property {number} lowest requests a second that the open loop was paced to, of all turns
 * @property {number} highest
 * @property {{taken: number, calm: number}} turns of all runs; what is not of a calm one, harm
 *   aside, is in no figure
 * @property {readonly Harm[]} rows without a rest, one of each run
 * @property {readonly HalfFigures[]} halves two of each run
 * @property {number} wrongAfterwards ended keys that were not refused as `expired_key`, and newest
 *   ones that were
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

/** @typedef {Awaited<ReturnType<typeof driveTurns>>} Run */

/** @param {Pick<Run, 'rows' | 'seen'>} run */
function rotationsOf({ rows, seen }) {
  const durations = rows.flatMap((row) => row.durations).sort((a, b) => a - b);
  const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
  return {
    perSecond: durations.length / seconds,
    ...{ p50: percentile(durations, 50), p99: percentile(durations, 99) },
    waits: rows.reduce((sum, { waits }) => sum + waits, 0),
    moves: seen.moves,
  };
}

/**
 * @param {import('./load-process.js').RunSeen} seen
 * @param {readonly import('./tallies.js').Phase[]} phases
 * @returns {Harm}
 */
function harmIn({ requests, streams }, phases) {
  const sum = (/** @type {(phase: import('./tallies.js').Phase) => number} */ of) =>
    phases.reduce((total, each) => total + of(each), 0);
  return {
    refused: sum((each) => requests[each].refused),
    faults: sum((each) => Object.values(requests[each].faults).reduce((a, b) => a + b, 0)),
    cut: sum((each) => streams[each].cut),
  };
}

/**
 * @param {Run} run
 * @returns {readonly HalfFigures[]}
 */
function halvesOf(run) {
  const { requests, streams } = run.seen;
  return /** @type {const} */ (['without', 'with']).map((phase) => {
    const rotating = phase === 'with';
    const { perSecond, p50, p99 } = requests[phase];
    return {
      ...{ rotating, perSecond, p50, p99 },
      ...harmIn(run.seen, rotating ? ['with', 'between'] : [phase]),
      chunkP99: streams[phase].chunkP99,
      ...sharesOf(run.used.map((used) => used[phase])),
      rotations: rotating ? rotationsOf(run) : undefined,
    };
  });
}

/**
 * @param {import('../stage.js').Stage} stage
 * @param {import('./options.js').Effort} effort
 * @param {{key: string, cores: {rest: number, proxy: number} | undefined,
 *   say: (text: string) => void}} given
 * @returns {Promise<LoadFigures>}
 */
export async function measureLoad(stage, effort, { key, cores, say }) {
  const load = await startLoad(cores?.rest);
  const rotator = await startRotator(cores?.rest);
  const burnIn = { kind: 'json', connections: CONNECTIONS, warmMs: effort.burnInMs, measureMs: 0 };
  let wrongAfterwards = 0;
  /**
   * With a fresh process and a fresh keyring.
   * @template {{keys: readonly string[], seen: import('./load-process.js').RunSeen}} T
   * @param {(turn: import('./run.js').Turn) => Promise<T>} drive
   */
  const inProcess = async (drive) => {
    const sidecar = createSidecar();
    const running = await stage.start(sidecar.peer);
    // V8 compiles what is hot; nothing is measured before that has happened.
    await stage.loop(running, burnIn);
    const driven = await drive({ load, rotator, running, sidecar, effort, key });
    const seen = Object.values(driven.seen.requests);
    if (seen.some(({ faults }) => Object.keys(faults).length > 0)) {
      say(`faults: ${JSON.stringify(driven.seen.requests)}`);
    }
    await sleep(effort.graceMs);
    wrongAfterwards += await wrongAmong(running.port, driven.keys);
    await stage.stop(running);
    return driven;
  };
  /** @type {Harm[]} */
  const rows = [];
  /** @type {HalfFigures[]} */
  const halves = [];
  /** @type {number[]} */
  const paces = [];
  const turns = { taken: 0, calm: 0 };
  for (let at = 0; at < effort.runs; at += 1) {
    const { seen } = await inProcess(driveRow);
    rows.push(harmIn(seen, ['between']));
    const run = await inProcess(driveTurns);
    paces.push(...run.paces);
    turns.taken += run.taken;
    turns.calm += run.used.length;
    for (const half of halvesOf(run)) {
      halves.push(half);
      say(`${half.rotating ? 'with' : 'without'} rotations: p99 ${half.p99.toFixed(2)} ms`);
    }
  }
  const range = { lowest: Math.min(...paces), highest: Math.max(...paces) };
  return { ...range, turns, rows, halves, wrongAfterwards };
}

/** @param {LoadFigures} figures @param {boolean} rotating @param {'p50' | 'p99'} field */
export const medianOf = ({ halves }, rotating, field) =>
  median(halves.filter((half) => half.rotating === rotating).map((half) => half[field]));
