import type { KnownKey } from '../keyring/snapshot.ts';
import type { CallerRecord, TrafficEvents } from './exchange-record.ts';

/** What `sidecar check` calls itself: it tries a key, and is nobody who uses it. */
const OWN_CHECK = 'litellm-sidecar-check/';

const isOwnCheck = ({ userAgent }: CallerRecord): boolean => userAgent.startsWith(OWN_CHECK);

/**
 * Tells that a known key was presented. A check of our own does not count, but with a key that
 * opens nothing: whoever found a revoked one must not get past the alarm by calling himself that.
 */
export function tellKeyUse(events: TrafficEvents, key: KnownKey, caller: CallerRecord): void {
  if (key.fault === undefined && isOwnCheck(caller)) return;
  events.onKeyUse(key, caller);
}

/**
 * Tells that LiteLLM took a request (2xx, or 101 to an upgrade) whose key an older one waits for.
 * For every other key it is one comparison.
 *
 * @param key undefined: a preflight
 */
export function tellFirstAnswer(
  events: TrafficEvents,
  status: number,
  key: KnownKey | undefined,
  caller: CallerRecord,
): void {
  if (key === undefined || !key.startsClock) return;
  const taken = status === 101 || (status >= 200 && status < 300);
  if (taken && !isOwnCheck(caller)) events.onFirstAnswer(key, caller);
}
