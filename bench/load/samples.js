import { percentile } from './percentile.js';

/** A growing row of measured times that makes no garbage while it is filled. */
export function createSamples(capacity = 1 << 16) {
  let values = new Float64Array(capacity);
  let length = 0;
  const room = (/** @type {number} */ wanted) => {
    if (wanted <= values.length) return;
    const larger = new Float64Array(Math.max(wanted, length * 2));
    larger.set(values);
    values = larger;
  };
  return {
    add(/** @type {number} */ value) {
      room(length + 1);
      values[length] = value;
      length += 1;
    },
    /** @param {{length: number, values: () => Float64Array}} others */
    addAll(others) {
      room(length + others.length);
      values.set(others.values(), length);
      length += others.length;
    },
    values: () => values.subarray(0, length),
    /** In the order in which they came. @param {number} index */
    at: (index) => values[index] ?? Number.NaN,
    get length() {
      return length;
    },
    clear() {
      length = 0;
    },
    /** @param {number} p 0 to 100 */
    percentile(p) {
      return percentile(values.slice(0, length).sort(), p);
    },
  };
}
