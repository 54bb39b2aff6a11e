import type { GenerationView } from '../rotation/admin.ts';

/** What was not seen for so long, while its clients have a newer key, has moved. Milliseconds. */
export const QUIET_MS = 60_000;
/** What was not seen for so long is used by nobody, as for `sidecar revoke`. Milliseconds. */
export const DORMANT_MS = 3_600_000;

/** How far clients have let go of an older key. */
export type Hold =
  /** It opens nothing any more. */
  | 'ended'
  /** It is active again. */
  | 'returned'
  /** Requests are under way with it, or the last one is not a minute ago. */
  | 'used'
  /** Nobody was seen for a minute; but no newer key was used so far, so that nobody has moved. */
  | 'idle'
  | 'free';

/**
 * Judges one older key. It is free where nothing is under way with it, and either it was not seen
 * for an hour, or a newer key is in use and it was not seen for a minute since the rotation.
 */
export function holdOn(older: GenerationView, rotatedAt: number, now: number): Hold {
  const { state, inFlight, lastUsedAt, clockStarted } = older;
  if (state === 'active') return 'returned';
  if (state !== 'retiring') return 'ended';
  if (inFlight > 0) return 'used';
  const lastUse = lastUsedAt === null ? -Infinity : Date.parse(lastUsedAt);
  if (now - lastUse >= DORMANT_MS) return 'free';
  if (now - lastUse < QUIET_MS) return 'used';
  return clockStarted && now - rotatedAt >= QUIET_MS ? 'free' : 'idle';
}
