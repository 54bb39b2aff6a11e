import type { CallerView, GenerationView, RotateView, WhoView } from '../../rotation/admin.ts';
import { oneLine } from '../../text/safe.ts';
import type { AdminSession } from '../admin-client.ts';
import { createAbsence, createLiveLines } from '../screen.ts';
import { CommandError, EXIT, type ExitCode, paint, say, type Terminal } from '../terminal.ts';
import { goodUntil, showAgo, showCount } from '../words.ts';

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

const LOOK_EVERY_MS = 1000;

const DONE =
  'the rotation itself is done; sidecar status shows the rest when the sidecar runs again';

/** Shows who still uses the older keys, and resolves once nobody does. `signal` is Ctrl-C. */
export async function waitForNobody(
  session: AdminSession,
  rotated: RotateView,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { terminal, time } = session;
  const older = rotated.previous.filter(({ state }) => state === 'retiring').map(({ id }) => id);
  if (older.length === 0) {
    say(terminal, 'no older key is good any more: there is nobody to wait for');
    return EXIT.ok;
  }
  say(terminal, `waiting until nobody uses ${older.join(', ')} any more`, [
    'Ctrl-C ends the waiting; the rotation is done',
  ]);
  const display = createDisplay(session);
  while (!signal.aborted) {
    const seen = await look(session, rotated, older, signal);
    if (signal.aborted) break;
    if (seen instanceof CommandError) {
      display.away(seen);
    } else {
      display.show(seen);
      const end = endOf(seen.watched);
      if (end !== undefined) {
        display.clear();
        return conclude(session, end, seen.watched);
      }
    }
    await time.sleep(LOOK_EVERY_MS, signal);
  }
  say(terminal, 'stopped waiting; the rotation itself is done', [
    ...older.map((id) => `sidecar who ${id} shows who still uses it`),
  ]);
  return EXIT.interrupted;
}

interface Seen {
  readonly watched: readonly Watched[];
  readonly isMoved: (caller: CallerView) => boolean;
}

const identity = ({ address, userAgent }: CallerView): string => `${address} ${userAgent}`;

/** One look; a sidecar that cannot be asked now is no end. */
async function look(
  { api, time }: AdminSession,
  { generation }: RotateView,
  older: readonly string[],
  signal: AbortSignal,
): Promise<Seen | CommandError> {
  try {
    const asked = [generation.id, ...older].map((id) => api.who(id, signal));
    const [newest, ...views] = await Promise.all(asked);
    const movedOn = new Set(newest?.callers.map(identity));
    const rotatedAt = Date.parse(generation.createdAt);
    const watched = views.map((who) => ({
      who,
      hold: holdOn(who.generation, rotatedAt, time.now()),
    }));
    return { watched, isMoved: (caller) => movedOn.has(identity(caller)) };
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === EXIT.unavailable) return error;
    throw error;
  }
}

/** On a terminal lines that move; elsewhere a line for each key, and again where it changes. */
function createDisplay({ terminal, time }: AdminSession) {
  const live = createLiveLines(terminal, terminal.stderr);
  let said: readonly string[] = [];
  const absence = createAbsence(terminal, {
    everyMs: LOOK_EVERY_MS,
    doing: 'waiting',
    hint: DONE,
  });
  return {
    show({ watched, isMoved }: Seen): void {
      absence.over();
      const now = time.now();
      live?.draw(drawWatched(terminal, watched, isMoved, now));
      if (live !== undefined) return;
      const lines = watched.map((each) => `${each.who.generation.id}: ${holdWords(each, now)}`);
      for (const line of lines) if (!said.includes(line)) say(terminal, line);
      said = lines;
    },
    /** A sidecar that cannot be asked; throws where that lasts. */
    away(reason: CommandError): void {
      live?.clear();
      absence.goesOn(reason);
    },
    clear: (): void => live?.clear(),
  };
}

function endOf(watched: readonly Watched[]): 'nobody' | 'returned' | undefined {
  if (watched.some(({ hold }) => hold === 'returned')) return 'returned';
  return watched.every(({ hold }) => hold === 'ended' || hold === 'free') ? 'nobody' : undefined;
}

function conclude(
  { terminal, time }: AdminSession,
  end: 'nobody' | 'returned',
  watched: readonly Watched[],
): ExitCode {
  const ids = (of: readonly Watched[]): string => of.map(({ who }) => who.generation.id).join(', ');
  if (end === 'returned') {
    const back = ids(watched.filter(({ hold }) => hold === 'returned'));
    say(terminal, `${back} is active again: somebody rolled this rotation back`);
    return EXIT.failed;
  }
  const free = watched.filter(({ hold }) => hold === 'free').map(({ who }) => who.generation);
  const words = free.map((each) => `${each.id} is ${goodUntil(each, time.now())}`);
  const revokes = free.map(({ id }) => `sidecar revoke ${id} ends it now`);
  say(terminal, [`nobody uses ${ids(watched)} any more`, ...words].join('; '), revokes);
  return EXIT.ok;
}
