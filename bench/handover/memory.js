import { median } from '../load/percentile.js';
import { residentKiB } from '../machine.js';
import { wallMs } from './timed.js';

const EVERY_MS = 1000;

/** Reads VmRSS each second. @param {number} pid */
export function watchMemory(pid) {
  /** @type {{at: number, kiB: number}[]} */
  const read = [];
  const timer = setInterval(() => read.push({ at: wallMs(), kiB: residentKiB([pid]) }), EVERY_MS);
  return {
    /** MB, the median between two instants. @param {import('./timed.js').Span} span */
    during({ from, to }) {
      const some = read.filter(({ at }) => at >= from && at <= to).map(({ kiB }) => kiB);
      return (median(some) * 1.024) / 1000;
    },
    stop: () => clearInterval(timer),
  };
}
