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
