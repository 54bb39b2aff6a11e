import { percentile } from './percentile.js';

/** A growing row of measured times that makes no garbage while it is filled. */
export function createSamples(capacity = 1 << 16) {
  let values = new Float64Array(capacity);
  let length = 0;
  return {
    add(/** @type {number} */ value) {
      if (length === values.length) {
        const larger = new Float64Array(length * 2);
        larger.set(values);
        values = larger;
      }
      values[length] = value;
      length += 1;
    },
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
