/** The load of `npm run bench:rotation`, a process of its own: one job at a time over IPC. */
import { answerJobs } from '../jobs.js';
import { createHolders } from './holders.js';
import { openLiveStreams } from './live-streams.js';
import { createPacedLoad } from './paced.js';

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {string} keyFile
 * @property {string} key the newest one
 * @property {number} connections
 * @property {number} streams
 * @property {number} perSecond
 * @property {number} graceMs
 */

/** The share of a grace in which clients move; the rest is for what is on its way meanwhile. */
const MOVING = 0.75;

/** @param {Job} job */
async function open({ port, keyFile, key, connections, streams, perSecond, graceMs }) {
  /** @type {string[]} */
  const faults = [];
  const { holders, heard, moves } = createHolders({
    ...{ count: connections, key, keyFile, withinMs: graceMs * MOVING },
    onFault: (what) => faults.push(what),
  });
  const live = await openLiveStreams({ port, key, count: streams });
  const paced = await createPacedLoad({ port, perSecond, holders });
  return {
    heard,
    /** @param {{phase: import('./tallies.js').Phase}} next */
    turnTo({ phase }) {
      live.turnTo(phase);
      paced.turnTo(phase);
    },
    /** @param {{counts: boolean}} turn */
    settle({ counts }) {
      live.settle(counts);
      paced.settle(counts);
    },
    /** @param {{perSecond: number}} next */
    pace: (next) => paced.pace(next.perSecond),
    async end() {
      await paced.stop();
      const streams = live.close();
      if (faults.length > 0) throw new Error(faults[0]);
      return { requests: paced.figures(), streams, moves: moves() };
    },
  };
}

/** @type {Awaited<ReturnType<typeof open>> | undefined} */
let load;

/** @param {any} job */
async function carryOut({ kind, ...job }) {
  if (kind === 'open') {
    load = await open(job);
    return undefined;
  }
  if (load === undefined) throw new Error('there is no load yet');
  if (kind === 'phase') return load.turnTo(job);
  if (kind === 'settle') return load.settle(job);
  if (kind === 'pace') return load.pace(job);
  return load.end();
}

answerJobs(carryOut, { key: (next) => load?.heard(next) });
