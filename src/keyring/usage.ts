/** Who used a generation: one address with one user agent. Instants are milliseconds. */
export interface CallerUse {
  readonly address: string;
  /** '' where the caller sent none; cut to 200 characters. */
  readonly userAgent: string;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly count: number;
}

/** The use of one generation since it was made. */
export interface GenerationUse {
  readonly lastAt: number;
  readonly count: number;
  /** At most `MOST_CALLERS`, the most recent. */
  readonly callers: readonly CallerUse[];
}

export const MOST_CALLERS = 100;

/** By generation id. */
export type Usage = ReadonlyMap<string, GenerationUse>;
