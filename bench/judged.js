/** Figures against what they are held to, for the benches with a part of RESULTS.md each. */
import { table } from './report.js';

/**
 * @template Figures
 * @typedef {object} Target
 * @property {string} what
 * @property {string} unit
 * @property {number} limit
 * @property {'at least' | 'at most'} sense
 * @property {number} digits
 * @property {(figures: Figures) => number | undefined} value undefined: not measured
 */

/** @typedef {{target: Omit<Target<never>, 'value'>, value: number, met: boolean}} Judged */

/**
 * @template Figures
 * @param {readonly Target<Figures>[]} targets
 * @param {Figures} figures
 * @returns {Judged[]}
 */
export function judgeAll(targets, figures) {
  return targets.flatMap((target) => {
    const value = target.value(figures);
    if (value === undefined) return [];
    const met = target.sense === 'at least' ? value >= target.limit : value <= target.limit;
    return [{ target, value, met }];
  });
}

const withUnit = (/** @type {string} */ text, /** @type {string} */ unit) =>
  `${text} ${unit}`.trim();

/** @param {readonly Judged[]} judged */
export function judgedTable(judged) {
  const rows = judged.map(({ target, value, met }) => [
    target.what,
    withUnit(`${target.sense} ${target.limit}`, target.unit),
    withUnit(value.toFixed(target.digits), target.unit),
    met ? 'met' : 'missed',
  ]);
  return table(['what', 'target', 'measured', ''], rows);
}

/**
 * When a part was measured, and where.
 * @param {{machine: ReturnType<typeof import('./machine.js').describeMachine>, date: Date,
 *   seconds: number}} given
 */
export const runLine = ({ machine, date, seconds }) =>
  `A run of its own; ${date.toISOString().slice(0, 10)}, ${machine.processor}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${process.versions.node}, ${Math.round(seconds)} s.`;
