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

/** The amounts that may be limited, in the order in which they are shown. */
export const LIMITED = ['rpm', 'parallel', 'tokensPerDay', 'usdPerDay'] as const;
export type Limited = (typeof LIMITED)[number];

/** What changes in limits: what is not there stays, and an undefined amount is unlimited again. */
export type LimitChanges = { readonly [Each in Limited]?: number | undefined } & {
  readonly mode?: LimitMode | undefined;
};

const NO_AMOUNTS = {
  ...{ rpm: undefined, parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined },
};

export const limitsNothing = (limits: ClientLimits): boolean =>
  LIMITED.every((name) => limits[name] === undefined);

export const sameLimits = (
  one: ClientLimits | undefined,
  other: ClientLimits | undefined,
): boolean => one?.mode === other?.mode && LIMITED.every((name) => one?.[name] === other?.[name]);

/**
 * The limits after some changes; undefined changes take all of them off. Without an amount nothing
 * is left of them, unless the changes name a mode: for that there must be something to limit.
 */
export function changedLimits(
  before: ClientLimits | undefined,
  changes: LimitChanges | undefined,
): ClientLimits | undefined {
  if (changes === undefined) return undefined;
  const mode = changes.mode ?? before?.mode ?? 'refuse';
  const after: ClientLimits = { ...NO_AMOUNTS, ...before, ...changes, mode };
  return limitsNothing(after) && changes.mode === undefined ? undefined : after;
}

/** What a client uses of its limits now; `today` is since midnight in UTC. */
export interface LimitUse {
  readonly requestsLastMinute: number;
  /** Requests and tunnels. */
  readonly inFlight: number;
  readonly tokensToday: number;
  readonly usdToday: number;
  /** Kept back of today's: for what is in flight, and for answers that did not say. */
  readonly reservedTokens: number;
  readonly reservedUsd: number;
}

export const NO_USE: LimitUse = {
  ...{ requestsLastMinute: 0, inFlight: 0, tokensToday: 0, usdToday: 0 },
  ...{ reservedTokens: 0, reservedUsd: 0 },
};

const TAKEN: { readonly [Each in Limited]: (use: LimitUse) => number } = {
  rpm: ({ requestsLastMinute }) => requestsLastMinute,
  parallel: ({ inFlight }) => inFlight,
  tokensPerDay: ({ tokensToday, reservedTokens }) => tokensToday + reservedTokens,
  usdPerDay: ({ usdToday, reservedUsd }) => usdToday + reservedUsd,
};

/** Whole percents of a share, down: what is not used up is not told as 100 %. */
export const percentOf = (share: number): number => Math.floor(Math.round(share * 1e6) / 1e4);

/** From this share of a limit on, an operator should know of it. */
export const NEARLY_USED = 0.8;

/**
 * How much of each limit is taken, 1 being all of it; what is not limited is not there. What is
 * reserved counts: a client whose answers do not say what they used takes all of its budget, too.
 */
export function limitShares(
  limits: { readonly [Each in Limited]: number | null | undefined },
  use: LimitUse,
): { readonly [Each in Limited]?: number } {
  return Object.fromEntries(
    LIMITED.flatMap((name) => {
      const amount = limits[name] ?? undefined;
      return amount === undefined ? [] : [[name, TAKEN[name](use) / amount]];
    }),
  );
}
