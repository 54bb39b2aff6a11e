import { showDuration } from '../config/units.ts';
import type { HandoverFault, HandoverView, UpstreamView } from '../handover/views.ts';
import type { GenerationView, TargetView, WhoView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

/**
 * An instant for people: `2026-11-24 14:03 UTC`. Always UTC, as in the log and the audit: a command
 * in a container knows no other zone, and two places must not name one instant differently.
 */
export const showInstant = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;

/** An instant to the second: `2026-11-24 14:03:11 UTC`. */
export const showSecond = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;

/** The time of day alone, for what is a matter of minutes: `14:03:11 UTC`. */
export const showClock = (iso: string): string => `${iso.slice(11, 19)} UTC`;

/** Milliseconds, rounded down to one unit: `4 s`, `90 min`, `23 h`, `30 d`. */
export function showSpan(ms: number): string {
  if (ms < 2 * MINUTE) return `${Math.floor(Math.max(0, ms) / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} d`;
}

/** A span as one writes it in a setting: `24h` rather than `1d`; beyond two days, `3d`. */
export const showSetting = (ms: number): string =>
  ms > 0 && ms <= 2 * DAY && ms % HOUR === 0 ? `${ms / HOUR}h` : showDuration(ms);

/** `4 s ago`; null is never. An instant that lies ahead, because a clock jumped, is `0 s ago`. */
export const showAgo = (iso: string | null, now: number): string =>
  iso === null ? 'never' : `${showSpan(now - Date.parse(iso))} ago`;

/** `in 23 h`, rounded to the nearest: a grace of 30 d that began a second ago ends in 30 d. */
function showIn(ms: number): string {
  const unit = ms < 2 * MINUTE ? SECOND : ms < 2 * HOUR ? MINUTE : ms < 2 * DAY ? HOUR : DAY;
  return `in ${showSpan(ms + unit / 2)}`;
}

/** `2026-11-24 14:03 UTC (in 23 h)`, or `(4 s ago)` where the instant has passed. */
export function showUntil(iso: string, now: number): string {
  const left = Date.parse(iso) - now;
  const relative = left > 0 ? showIn(left) : `${showSpan(-left)} ago`;
  return `${showInstant(iso)} (${relative})`;
}

/** `1 request`, `2 requests`. */
export const showCount = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;

const TOKEN_UNITS: readonly (readonly [number, string])[] = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** `9,876`, `12.3k`, `4.56M`: three digits at least. */
export function showTokens(tokens: number): string {
  const [size, unit] = TOKEN_UNITS.find(([each]) => tokens >= each) ?? [1, ''];
  if (tokens < 10_000) return tokens.toLocaleString('en-US');
  const value = tokens / size;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}${unit}`;
}

/** Until when a generation opens anything, in words that stand behind its name. */
export function goodUntil(generation: GenerationView, now: number): string {
  const { state, validUntil, clockStarted } = generation;
  if (state === 'active') return 'good until it is rotated';
  if (validUntil === null) return state;
  if (state !== 'retiring') return `${state} ${showUntil(validUntil, now)}`;
  // Its end is not stored yet: in the first minutes of a start the clock is not believed blindly.
  if (Date.parse(validUntil) <= now) return `refused since ${showUntil(validUntil, now)}`;
  if (clockStarted) return `good until ${showUntil(validUntil, now)}`;
  return `good until ${atTheLatest(generation, validUntil, now)}`;
}

/** Until when a key of this client opens anything, which may not be for the key to say. */
export function goodUntilOf(
  client: (NonNullable<WhoView['client']> & { readonly inFile?: boolean }) | null,
  generation: GenerationView,
  now: number,
): string {
  const isValid = generation.state === 'active' || generation.state === 'retiring';
  const { state, expiresAt } = client ?? { state: 'enabled', expiresAt: null };
  if (client?.inFile === true && generation.state === 'active' && state === 'enabled') {
    return 'good until it leaves the clients file';
  }
  if (!isValid || state === 'enabled') return goodUntil(generation, now);
  if (state === 'disabled') return 'refused: its client is disabled';
  return `refused: its client expired${expiresAt === null ? '' : ` ${showUntil(expiresAt, now)}`}`;
}

function atTheLatest({ graceMs }: GenerationView, validUntil: string, now: number): string {
  const latest = `at the latest ${showUntil(validUntil, now)}`;
  if (graceMs === null) return latest;
  const after = graceMs === 0 ? '' : `${showSetting(graceMs)} after `;
  return `${after}the new key's first use, ${latest}`;
}

/** How many requests were cut with a compromised key, streams and WebSockets included. */
export function cutWords(cut: number): string {
  if (cut === 0) return 'nothing was in flight that had to be cut';
  return `${showCount(cut, 'request')} in flight ${cut === 1 ? 'was' : 'were'} cut`;
}

/** Why a publish target lacks the newest key, and when the sidecar writes to it again. */
export function pendingWords({ target, error, nextTryAt }: TargetView, now: number): string {
  const why = error === null ? 'not written yet' : oneLine(error);
  if (nextTryAt === null) return `${oneLine(target)}: ${why}`;
  const left = Date.parse(nextTryAt) - now;
  return `${oneLine(target)}: ${why}; tried again ${left > 0 ? showIn(left) : 'now'}`;
}

export const isOver = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

/** `handover-12 (rotate by cli:alice)` */
export const handoverName = ({ id, kind, by }: HandoverView): string =>
  oneLine(`${id} (${kind} by ${by})`);

/** `starting since 14:03:11 UTC (6 s); waits for LiteLLM in slot b to answer` */
export function stepWords(view: HandoverView, now: number): string {
  const { state, stateSince, endedAt, waitsFor } = view;
  if (isOver(view)) return `${state.replace('_', ' ')} ${showAgo(endedAt ?? stateSince, now)}`;
  const since = `since ${showClock(stateSince)} (${showSpan(now - Date.parse(stateSince))})`;
  return oneLine(`${state} ${since}${waitsFor === null ? '' : `; waits for ${waitsFor}`}`);
}

/** `12 models, 2 appeared, 1 vanished`; '' where nobody knows yet. */
export function modelWords({ models }: HandoverView): string {
  if (models === null) return '';
  const { listed, added, vanished } = models;
  const changes = [
    ...(added.length > 0 ? [`${added.length} appeared`] : []),
    ...(vanished.length > 0 ? [`${vanished.length} vanished`] : []),
  ];
  return `${showCount(listed, 'model')}, ${changes.length > 0 ? changes.join(', ') : 'as before'}`;
}

/** The indentation of a traceback means something; so many spaces of it stay. */
const DEEPEST = 40;

/** LiteLLM's last words, a line each, without what a terminal would obey. */
export const lastWordsOf = ({ lastWords }: HandoverFault): readonly string[] =>
  lastWords.map((line) => {
    const depth = /^ */.exec(line)?.[0].length ?? 0;
    return `${' '.repeat(Math.min(depth, DEEPEST))}${oneLine(line)}`;
  });

/**
 * How far somebody else's LiteLLM is with the change of its key:
 * `since 14:03:11 UTC (6 s ago): new key accepted 3 s ago, …`; nothing where none is under way.
 */
export function keyChangeWords({ keyChange }: UpstreamView, now: number): readonly string[] {
  if (keyChange === null) return [];
  const { since, newAcceptedAt, oldAcceptedAt } = keyChange;
  const accepted = (at: string | null): string =>
    at === null ? 'not accepted so far' : `accepted ${showAgo(at, now)}`;
  const when = `since ${showClock(since)} (${showAgo(since, now)})`;
  return [`${when}: new key ${accepted(newAcceptedAt)}, old key ${accepted(oldAcceptedAt)}`];
}
