/** Time as an argument: who needs it is given one, and a test gives its own. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch; it may jump. For dates that people read. */
  now(): number;
  /** Monotonic, fractional milliseconds from an arbitrary start. For durations. */
  elapsed(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
};

/** The monotonic clock without the time in which this process did not look at anybody. */
export interface WatchedClock {
  /** Milliseconds. To be asked each second: longer silence looks like a pause. */
  elapsed(): number;
  /** How long this process did not look, in milliseconds in all. */
  missedMs(): number;
  /** Whether it paused since this instant of `elapsed`. */
  pausedSince(instant: number): boolean;
}

/** Milliseconds: so long nobody asks only where the process was stopped, or had no processor. */
const PAUSE_MS = 2000;

/**
 * For limits on what others may take: a process that was stopped (SIGSTOP, a machine that slept, a
 * busy host) finds all of them over at once, and blames peers whose bytes it has not read yet.
 */
export function createWatchedClock(elapsed: () => number): WatchedClock {
  let last = elapsed();
  let missed = 0;
  let pausedAt = Number.NEGATIVE_INFINITY;
  const watched = (): number => {
    const now = elapsed();
    if (now - last > PAUSE_MS) {
      pausedAt = last - missed;
      missed += now - last;
    }
    last = now;
    return now - missed;
  };
  return {
    elapsed: watched,
    missedMs() {
      watched();
      return missed;
    },
    pausedSince(instant) {
      watched();
      return pausedAt >= instant;
    },
  };
}

/**
 * Calls `late` after so many milliseconds, but behind all that has come by then: in a process that
 * was stopped timers run first, and find late what waits to be read.
 *
 * @returns what calls it off
 */
export function afterReading(ms: number, late: () => void): () => void {
  let immediate: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    immediate = setImmediate(late);
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}
