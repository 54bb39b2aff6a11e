/** The figures that rotation is held to. */
import { judgeAll } from '../judged.js';
import { medianOf } from './steady.js';

/**
 * @typedef {object} Figures what was measured; what a run left out is undefined
 * @property {import('./steady.js').LoadFigures | undefined} load
 * @property {import('./kills.js').KillFigures | undefined} kill
 * @property {number | undefined} admission nanoseconds
 * @property {import('./throughput.js').ThroughputFigures | undefined} throughput
 */

/** In the rows and in all turns: who was late in one with rotations may be refused after it. */
const inAllRuns = (
  /** @type {Figures} */ { load },
  /** @type {(harm: import('./steady.js').Harm) => number} */ of,
) => load && [...load.rows, ...load.halves].reduce((sum, harm) => sum + of(harm), 0);

/** @type {readonly import('../judged.js').Target<Figures>[]} */
const TARGETS = [
  {
    what: 'requests refused to clients that moved within the grace',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) => inAllRuns(figures, ({ refused }) => refused),
  },
  {
    what: 'requests that failed in another way, in all runs',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) => inAllRuns(figures, ({ faults }) => faults),
  },
  {
    what: 'streams cut',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) => inAllRuns(figures, ({ cut }) => cut),
  },
  {
    what: 'p99 with rotations, against without',
    ...{ unit: '×', limit: 1.2, sense: 'at most', digits: 2 },
    value: ({ load }) => load && medianOf(load, true, 'p99') / medianOf(load, false, 'p99'),
  },
  {
    what: 'after the runs: keys taken past their grace, newest ones refused',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: ({ load }) => load?.wrongAfterwards,
  },
  {
    what: 'after kills -9: keys lost or back, deadlines moved, audits broken',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: ({ kill }) => kill?.violations.length,
  },
  {
    what: 'admission with 8,000 keys, above that with one',
    ...{ unit: 'ns', limit: 100, sense: 'at most', digits: 0 },
    value: ({ admission }) => admission,
  },
  {
    what: 'throughput at 32 connections, against the build before rotation',
    ...{ unit: '×', limit: 0.97, sense: 'at least', digits: 3 },
    value: ({ throughput }) => throughput?.ratio,
  },
];

export const judge = (/** @type {Figures} */ figures) => judgeAll(TARGETS, figures);
