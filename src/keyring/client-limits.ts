/** What a limit does that is reached: refuse the request, or only count it. */
export const LIMIT_MODES = ['refuse', 'record'] as const;
export type LimitMode = (typeof LIMIT_MODES)[number];

/**
 * What a client may use, at this sidecar. Undefined: as much as it likes. Each number is above 0;
 * who shall use nothing is disabled. Days are of UTC.
 */
export interface ClientLimits {
  /** Requests a minute. */
  readonly rpm: number | undefined;
  /** Requests and tunnels in flight. */
  readonly parallel: number | undefined;
  /** Read and written. */
  readonly tokensPerDay: number | undefined;
  /** US dollars. */
  readonly usdPerDay: number | undefined;
  readonly mode: LimitMode;
}
