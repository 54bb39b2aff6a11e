import { percentile } from '../load/percentile.js';
import { createSamples } from '../load/samples.js';

/** @typedef {{from: number, to: number}} Span milliseconds of the wall clock */

/** Milliseconds of the wall clock, finer than one: what the bench's processes have in common. */
export const wallMs = () => performance.timeOrigin + performance.now();

/** Latencies, and when each request was sent and answered. */
export function createTimedSamples() {
  const sent = createSamples();
  const took = createSamples();

  /**
   * Of the requests that were under way in one of the spans.
   * @param {readonly Span[]} spans
   */
  const within = (spans) => {
    const found = [];
    for (let i = 0; i < sent.length; i += 1) {
      const at = sent.at(i);
      const ms = took.at(i);
      if (spans.some(({ from, to }) => at <= to && at + ms >= from)) found.push(ms);
    }
    return found.sort((a, b) => a - b);
  };

  return {
    /** @param {number} at of `wallMs()` @param {number} ms */
    add(at, ms) {
      sent.add(at);
      took.add(ms);
    },
    get length() {
      return sent.length;
    },
    clear() {
      sent.clear();
      took.clear();
    },
    /** @param {number} p 0 to 100 */
    percentile: (p) => took.percentile(p),
    /** @param {readonly Span[]} spans @returns {Within} */
    during(spans) {
      const sorted = within(spans);
      return { requests: sorted.length, p99: percentile(sorted, 99), slowest: sorted.at(-1) ?? 0 };
    },
  };
}

/** @typedef {{requests: number, p99: number, slowest: number}} Within in milliseconds */
