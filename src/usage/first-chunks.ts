// How long streams took to their first chunk, counted by steps of time: counts of several bins and
// models add up to those of all of them, which percentiles do not. The console reads them as well.

/** Of times in milliseconds. */
export interface FirstChunkPercentiles {
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

/** How many took so long: the end of a step, in milliseconds, and their number. */
export type FirstChunkStep = readonly [end: number, count: number];

/** Milliseconds, 5 to 120,000, each 1.35 times the one before; the last has what is longer. */
export const STEP_ENDS: readonly number[] = Array.from({ length: 35 }, (_, nth) =>
  Math.min(120_000, Math.round(5 * 1.35 ** nth)),
);

/** The place in `STEP_ENDS` of a time in milliseconds. */
export function stepOf(ms: number): number {
  let [low, high] = [0, STEP_ENDS.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ms <= (STEP_ENDS[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** As exact as a step is wide, within which they are taken to lie evenly; null: of no stream. */
export function percentilesOf(steps: Iterable<FirstChunkStep>): FirstChunkPercentiles | null {
  const sorted = [...steps].sort(([one], [other]) => one - other);
  const count = sorted.reduce((sum, [, more]) => sum + more, 0);
  if (count === 0) return null;
  const at = (share: number): number => {
    let left = share * count;
    for (const [end, here] of sorted) {
      const begin = STEP_ENDS[STEP_ENDS.indexOf(end) - 1] ?? 0;
      if (left <= here) return Math.round(begin + ((end - begin) * left) / here);
      left -= here;
    }
    return sorted.at(-1)?.[0] ?? 0;
  };
  return { p50: at(0.5), p95: at(0.95), count };
}
