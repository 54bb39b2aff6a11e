/** What one look shows of a key; `unknown`: LiteLLM was silent, or something else answered. */
export type Sight = 'accepted' | 'refused' | 'unknown';

/** While LiteLLM's key changes. Milliseconds since the epoch. */
export interface Change {
  readonly since: number;
  readonly newAcceptedAt: number | undefined;
  readonly oldAcceptedAt: number | undefined;
  /** A look at a server took the new key; what traffic says may be of either key's turn. */
  readonly isNewSeen: boolean;
  /** From when on nothing was heard of anybody who takes the old key. */
  readonly quietSince: number;
  readonly lookedAt: number;
}

export const changeBegun = (now: number): Change => ({
  since: now,
  newAcceptedAt: undefined,
  oldAcceptedAt: undefined,
  isNewSeen: false,
  quietSince: now,
  lookedAt: now,
});

/** After a look with each key. */
export function changeLooked(
  change: Change,
  sight: { readonly new: Sight; readonly old: Sight },
  now: number,
): Change {
  const next = sight.new === 'accepted' ? newAccepted({ ...change, isNewSeen: true }, now) : change;
  const looked = { ...next, lookedAt: now };
  if (sight.old === 'accepted') return oldAccepted(looked, now);
  // Silence is no proof: that time does not count.
  const lost = sight.old === 'unknown' ? now - change.lookedAt : 0;
  return { ...looked, quietSince: Math.min(now, looked.quietSince + lost) };
}

export const newAccepted = (change: Change, now: number): Change => ({
  ...change,
  newAcceptedAt: now,
  // Before the first server had the new key, nothing says that the last one lost the old one.
  quietSince: change.newAcceptedAt === undefined ? now : change.quietSince,
});

export const oldAccepted = (change: Change, now: number): Change => ({
  ...change,
  oldAcceptedAt: now,
  quietSince: now,
});

/**
 * Whether the old key may be forgotten: the new one is in use, and for `quietMs` neither a look nor
 * a request found anybody who takes the old one. No number of looks in a row is enough by itself:
 * behind one Service each look meets one pod by chance, and where the last one of ten is still the
 * old one, five looks miss it more often than not. What an early word would cost is a refusal of
 * each request that meets that pod; what waiting costs is nothing.
 */
export const isSettled = (change: Change, now: number, quietMs: number): boolean =>
  change.isNewSeen && now - change.quietSince >= quietMs;

/**
 * Which key requests carry first. It should be the one that is taken: a body that is not at hand
 * any more cannot be sent again.
 */
export function firstOf({ newAcceptedAt, oldAcceptedAt }: Change): 'new' | 'old' {
  return (oldAcceptedAt ?? 0) > (newAcceptedAt ?? 0) ? 'old' : 'new';
}
