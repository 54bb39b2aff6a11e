/** What an answer said was used, in tokens: whole numbers, at least 0. */
export interface Tokens {
  /** All that was read, `cached` and `cacheWrite` included. */
  readonly input: number;
  /** All that was written, `reasoning` included. */
  readonly output: number;
  /** Of `input`: read from the provider's cache. */
  readonly cached: number;
  /** Of `input`: written to the provider's cache. */
  readonly cacheWrite: number;
  /** Of `output`: thought and not shown. */
  readonly reasoning: number;
}

export interface Usage {
  readonly tokens: Tokens;
  /** US dollars; undefined: LiteLLM named no price. */
  readonly costUsd: number | undefined;
}

/** Why an answer that should have said its usage has none that counts. */
export const USAGE_FAULTS = [
  /** It said none. */
  'absent',
  /** Negative, huge, a fraction, or no number at all. */
  'invalid',
  /** It ended before its usage came. */
  'cut',
  /** An encoding that cannot be read here, or that decodes to more than is looked at. */
  'encoding',
  /** An event, or the place of the usage, was beyond what is kept. */
  'too_large',
  /** A WebSocket: it is passed on unread. */
  'websocket',
] as const;
export type UsageFault = (typeof USAGE_FAULTS)[number];
