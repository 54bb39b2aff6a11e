import { showDuration } from '../config/units.ts';

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

/**
 * An instant for people: `2026-11-24 14:03 UTC`. Always UTC, as in the log and the audit: a command
 * in a container knows no other zone, and two places must not name one instant differently.
 */
export const showInstant = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;

/** The same to the second. */
export const showSecond = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;

/** The time of day alone, of what is a matter of minutes: `14:03:11 UTC`. */
export const showClock = (iso: string): string => `${iso.slice(11, 19)} UTC`;

/** Milliseconds, rounded down to one unit: `4 s`, `90 min`, `23 h`, `30 d`. */
export function showSpan(ms: number): string {
  if (ms < 2 * MINUTE) return `${Math.floor(Math.max(0, ms) / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} d`;
}

/** A span as one writes it in a setting: `24h` rather than `1d`, then `3d`. */
export const showSetting = (ms: number): string =>
  ms > 0 && ms <= 2 * DAY && ms % HOUR === 0 ? `${ms / HOUR}h` : showDuration(ms);

/** `4 s ago`; null is never. What lies ahead, by a clock that jumped, is now. */
export const showAgo = (iso: string | null, now: number): string =>
  iso === null ? 'never' : `${showSpan(now - Date.parse(iso))} ago`;

/** To the nearest: a grace of 30 d that began a second ago ends in 30 d. */
export function showIn(ms: number): string {
  const unit = ms < 2 * MINUTE ? SECOND : ms < 2 * HOUR ? MINUTE : ms < 2 * DAY ? HOUR : DAY;
  return `in ${showSpan(ms + unit / 2)}`;
}

/** `2026-11-24 14:03 UTC (in 23 h)`, or `(4 s ago)` where it has passed. */
export function showUntil(iso: string, now: number): string {
  const left = Date.parse(iso) - now;
  const relative = left > 0 ? showIn(left) : `${showSpan(-left)} ago`;
  return `${showInstant(iso)} (${relative})`;
}

/** `1 request`, `2 requests`. */
export const showCount = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
