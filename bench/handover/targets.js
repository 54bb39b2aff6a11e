/** The figures that a handover is held to. */
import { judgeAll } from '../judged.js';
import { median } from '../load/percentile.js';
import { STEPS } from './follow.js';

/**
 * @typedef {object} Figures what was measured; what a run left out is undefined
 * @property {readonly import('./runs.js').RunFigures[] | undefined} runs
 * @property {import('./kills.js').KillFigures | undefined} kills
 */

/** @typedef {import('./runs.js').RunFigures} RunFigures */

/** @param {readonly RunFigures[]} runs @param {boolean} handingOver */
export const ofKind = (runs, handingOver) => runs.filter((run) => run.handingOver === handingOver);

/**
 * The median of all runs of a kind.
 * @param {readonly RunFigures[]} runs
 * @param {boolean} handingOver
 * @param {(run: RunFigures) => number} of
 */
export const medianOf = (runs, handingOver, of) => median(ofKind(runs, handingOver).map(of));

/** @param {Figures} figures @param {(run: RunFigures) => number} of */
const inHandovers = ({ runs }, of) =>
  runs && ofKind(runs, true).reduce((sum, run) => sum + of(run), 0);

/** @param {Figures} figures @param {(run: RunFigures) => number} of */
const against = ({ runs }, of) => runs && medianOf(runs, true, of) / medianOf(runs, false, of);

/** @type {readonly import('../judged.js').Target<Figures>[]} */
const TARGETS = [
  {
    what: 'requests that failed, in the runs with handovers',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) => inHandovers(figures, ({ load }) => load.failed),
  },
  {
    what: 'streams that were not whole, in the runs with handovers',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) => inHandovers(figures, ({ cut }) => cut),
  },
  {
    what: 'of the streams, those that were under way at a switch',
    ...{ unit: '%', limit: 90, sense: 'at least', digits: 0 },
    value: (figures) => {
      const streams = inHandovers(figures, (run) => run.streams);
      const over = inHandovers(figures, (run) => run.atSwitch);
      return streams && over !== undefined ? (over / streams) * 100 : undefined;
    },
  },
  {
    what: 'handovers that were not done',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: (figures) =>
      inHandovers(
        figures,
        ({ cycles }) => cycles.filter(({ handover }) => handover?.state !== 'done').length,
      ),
  },
  {
    what: 'p99 with handovers, against the baseline',
    ...{ unit: '×', limit: 1.5, sense: 'at most', digits: 2 },
    value: (figures) => against(figures, ({ load }) => load.p99),
  },
  {
    what: 'slowest request with handovers, against the baseline',
    ...{ unit: '×', limit: 2, sense: 'at most', digits: 2 },
    value: (figures) => against(figures, ({ load }) => load.slowest),
  },
  {
    what: "growth of the sidecar's resident memory in a run, the most",
    ...{ unit: '%', limit: 10, sense: 'at most', digits: 1 },
    value: ({ runs }) =>
      runs &&
      Math.max(...ofKind(runs, true).map(({ memory }) => (memory.end / memory.start - 1) * 100)),
  },
  {
    what: 'after the runs: folders, keys or LiteLLMs too many, client keys refused',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: ({ runs }) => runs?.reduce((sum, run) => sum + run.wrongAfterwards.length, 0),
  },
  {
    what: 'steps at which the sidecar was killed',
    ...{ unit: '', limit: STEPS.length, sense: 'at least', digits: 0 },
    value: ({ kills }) => kills && STEPS.filter((step) => kills.hits[step] > 0).length,
  },
  {
    what: 'after kills -9: handovers left undone, folders, keys or LiteLLMs too many, keys refused',
    ...{ unit: '', limit: 0, sense: 'at most', digits: 0 },
    value: ({ kills }) => kills?.violations.length,
  },
];

export const judge = (/** @type {Figures} */ figures) => judgeAll(TARGETS, figures);
