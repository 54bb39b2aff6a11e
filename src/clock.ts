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

/** An instant in milliseconds since the epoch as ISO 8601 in UTC; null where there is none. */
export const isoOrNull = (at: number | undefined): string | null =>
  at === undefined ? null : new Date(at).toISOString();
