/** The figures that the sidecar is held to, and by how much it makes or misses them. */
import { REFERENCE, SUBJECT } from './peers.js';

/**
 * @typedef {object} Figures everything that a run measured; what it left out is not there
 * @property {Map<string, Map<string, import('./rounds.js').LoopFigures>>} loops by scenario, peer
 * @property {Map<string, import('./rounds.js').StreamFigures>} streams by peer
 * @property {{readyMs: number, idleMB: number, times: number} | undefined} start
 *
 * @typedef {object} Target
 * @property {string} what
 * @property {string} unit
 * @property {number} limit
 * @property {'at least' | 'at most'} sense
 * @property {(figures: Figures) => number | undefined} value undefined: not measured
 */

/**
 * @param {Figures} figures
 * @param {string} loop
 * @param {'perSecond' | 'p50' | 'p99'} field
 */
function ratio({ loops }, loop, field) {
  const subject = loops.get(loop)?.get(SUBJECT);
  const reference = loops.get(loop)?.get(REFERENCE);
  return subject && reference && subject[field] / reference[field];
}

/** @type {readonly Target[]} */
const TARGETS = [
  {
    what: 'throughput at 32 connections, against http-proxy',
    unit: '×',
    limit: 1.5,
    sense: 'at least',
    value: (figures) => ratio(figures, 'json32', 'perSecond'),
  },
  {
    what: 'p50 at 1 connection, against http-proxy',
    unit: '×',
    limit: 1,
    sense: 'at most',
    value: (figures) => ratio(figures, 'json1', 'p50'),
  },
  {
    what: 'p99 at 32 connections, against http-proxy',
    unit: '×',
    limit: 0.7,
    sense: 'at most',
    value: (figures) => ratio(figures, 'json32', 'p99'),
  },
  {
    what: 'resident memory for each open stream',
    unit: 'KB',
    limit: 28,
    sense: 'at most',
    value: ({ streams }) => streams.get(SUBJECT)?.perStreamKB,
  },
  {
    what: 'p99 of the delay of a chunk among the open streams',
    unit: 'ms',
    limit: 50,
    sense: 'at most',
    value: ({ streams }) => streams.get(SUBJECT)?.p99,
  },
  {
    what: 'from the start to the ready line',
    unit: 'ms',
    limit: 300,
    sense: 'at most',
    value: ({ start }) => start?.readyMs,
  },
  {
    what: 'resident memory when idle',
    unit: 'MB',
    limit: 80,
    sense: 'at most',
    value: ({ start }) => start?.idleMB,
  },
];

/**
 * @param {Figures} figures
 * @returns {{target: Target, value: number, met: boolean, missedBy: number}[]} `missedBy` is a share
 *   of the limit: 0.1 is a tenth
 */
export function judge(figures) {
  return TARGETS.flatMap((target) => {
    const value = target.value(figures);
    if (value === undefined) return [];
    const met = target.sense === 'at least' ? value >= target.limit : value <= target.limit;
    return [{ target, value, met, missedBy: met ? 0 : Math.abs(value / target.limit - 1) }];
  });
}
