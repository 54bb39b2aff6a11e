import type { CallerView, WhoView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import { showAgo, showCount } from './instant.ts';
import { goodUntil } from './key-words.ts';
import { DORMANT_MS, type Hold, QUIET_MS } from './letting-go.ts';
import { paint, type Terminal } from './terminal.ts';

/** An older key while its clients move to the newer one. */
export interface Watched {
  readonly who: WhoView;
  readonly hold: Hold;
}

/** Callers that are shown of one key; the screen has to hold them. */
const MOST_SHOWN = 8;

const seenWithin =
  (ms: number, now: number) =>
  (caller: CallerView): boolean =>
    now - Date.parse(caller.lastSeenAt) < ms;

const callerWords = ({ address, userAgent }: CallerView): string =>
  userAgent === '' ? oneLine(address) : `${oneLine(address)}  ${oneLine(userAgent)}`;

/** The live display: each older key, and who was seen with it in the last hour. */
export function drawWatched(
  terminal: Terminal,
  watched: readonly Watched[],
  isMoved: (caller: CallerView) => boolean,
  now: number,
): readonly string[] {
  const { stderr } = terminal;
  return watched.flatMap(({ who, hold }) => {
    const { generation } = who;
    const callers = who.callers.filter(seenWithin(DORMANT_MS, now));
    const more = callers.length - MOST_SHOWN;
    const title = `${generation.id}: ${holdWords({ who, hold }, now)}`;
    return [
      paint(terminal, stderr, hold === 'free' || hold === 'ended' ? 'green' : 'yellow', title),
      paint(terminal, stderr, 'dim', `  ${goodUntil(generation, now)}`),
      ...callers.slice(0, MOST_SHOWN).map((caller) => `  ${rowOf(caller, isMoved(caller), now)}`),
      ...(more > 0 ? [`  and ${more} more: sidecar who ${generation.id}`] : []),
    ];
  });
}

const rowOf = (caller: CallerView, moved: boolean, now: number): string =>
  `${callerWords(caller)}  ${showAgo(caller.lastSeenAt, now)}${moved ? ', has the new key' : ''}`;

/** How things stand with one older key, in a line that changes only when something happens. */
export function holdWords({ who, hold }: Watched, now: number): string {
  const { generation, callers } = who;
  const recent = callers.filter(seenWithin(QUIET_MS, now));
  switch (hold) {
    case 'ended':
      return generation.state;
    case 'returned':
      return 'active again';
    case 'idle':
      return 'nobody uses it now, but no newer key was used so far';
    case 'free':
      return 'nobody uses it any more';
    case 'used': {
      if (recent.length === 0) return 'requests are still under way with it';
      const [first, second, third] = recent.map(callerWords);
      const names = [first, second, third].filter((each) => each !== undefined).join('; ');
      const others = recent.length > 3 ? ' …' : '';
      return `used in the last minute by ${showCount(recent.length, 'caller')}: ${names}${others}`;
    }
  }
}
