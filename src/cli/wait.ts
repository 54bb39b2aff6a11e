import type { CallerView, RotateView } from '../rotation/admin.ts';
import { createAbsence } from './absence.ts';
import type { AdminSession } from './admin-session.ts';
import { CommandError, EXIT, type ExitCode } from './exit-code.ts';
import { goodUntil } from './key-words.ts';
import { holdOn } from './letting-go.ts';
import { createLiveLines } from './live-lines.ts';
import { say } from './terminal.ts';
import { drawWatched, holdWords, type Watched } from './wait-report.ts';

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
