/** Milliseconds before the second try, the third and so on; the last holds for all that follow. */
export const RETRY_WAITS = [1000, 5000, 15_000, 60_000, 300_000] as const;

/** How long to wait after so many tries that failed, at least one; milliseconds. */
export const waitAfter = (failures: number, waits: readonly number[] = RETRY_WAITS): number =>
  waits[Math.min(failures, waits.length) - 1] ?? 0;
