import type { CallerView, GenerationView, RotateView, WhoView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import type { AdminSession } from './command.ts';
import { goodUntil, goodUntilOf, showAgo, showCount } from './phrases.ts';
import { watch } from './progress.ts';
import { EXIT, type ExitCode, paint, say, type Terminal } from './terminal.ts';

/**
 * `sidecar rotate --wait`: shows who still uses the keys before the newest one, and resolves once
 * nobody does. `signal` is Ctrl-C.
 */
export async function waitForOlderKeys(
  session: AdminSession,
  rotated: RotateView,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { terminal, time } = session;
  const ids = rotated.previous.filter(({ state }) => state === 'retiring').map(({ id }) => id);
  if (ids.length === 0) {
    say(terminal, 'no older key is good any more: there is nobody to wait for');
    return EXIT.ok;
  }
  say(terminal, `waiting until nobody uses ${ids.join(', ')} any more`, [
    'Ctrl-C ends the waiting; the rotation is done',
  ]);
  let said: readonly string[] = [];
  const watched = {
    doing: 'waiting',
    hint: 'the rotation itself is done; sidecar status shows the rest when the sidecar runs again',
    look: () => lookAt(session, rotated, ids, signal),
    draw: (seen: Seen, now: number) => drawKeys(terminal, seen, now),
    /** A line for each key, and again where it changes. */
    sayChange({ keys }: Seen, now: number): void {
      const lines = keys.map((key) => `${key.who.generation.id}: ${useWords(key, now)}`);
      for (const line of lines) if (!said.includes(line)) say(terminal, line);
      said = lines;
    },
    isOver: ({ keys }: Seen) =>
      keys.some(({ use }) => use === 'returned') ||
      keys.every(({ use }) => use === 'ended' || use === 'free'),
  };
  const last = await watch(session, watched, signal);
  if (last !== undefined) return conclude(terminal, last, time.now());
  say(terminal, 'stopped waiting; the rotation itself is done', [
    ...ids.map((id) => `sidecar who ${id} shows who still uses it`),
  ]);
  return EXIT.interrupted;
}

/** What one look shows. */
interface Seen {
  readonly keys: readonly OlderKey[];
  /** Whether this caller was seen with the newest key, too. */
  hasNewest(caller: CallerView): boolean;
}

interface OlderKey {
  readonly who: WhoView;
  readonly use: OlderKeyUse;
}

async function lookAt(
  { api, time }: AdminSession,
  { generation }: RotateView,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Seen> {
  const asked = [generation.id, ...ids].map((id) =>
    api('GET /api/generations/{id}/who', { id, signal }),
  );
  const [newest, ...older] = await Promise.all(asked);
  const withNewest = new Set(newest?.callers.map(identityOf));
  const rotatedAt = Date.parse(generation.createdAt);
  const keys = older.map((who) => ({ who, use: useOf(who, rotatedAt, time.now()) }));
  return { keys, hasNewest: (caller) => withNewest.has(identityOf(caller)) };
}

const identityOf = ({ address, userAgent }: CallerView): string => `${address} ${userAgent}`;

/** Whether clients still use an older key. */
type OlderKeyUse =
  /** The key opens nothing any more, or its client is shut out whatever its keys are. */
  | 'ended'
  /** The key is active again: somebody rolled the rotation back. */
  | 'returned'
  /** Requests are under way with the key, or the last one was less than a minute ago. */
  | 'used'
  /** Nobody was seen for a minute; but no newer key was used so far, so nobody has moved on. */
  | 'idle'
  /** Nobody uses the key any more. */
  | 'free';

/** Clients that have a newer key and were not seen with the older one for so long have moved on. */
const QUIET_MS = 60_000;
/** A key that was not seen for so long is used by nobody; `sidecar revoke` judges so, too. */
const DORMANT_MS = 3_600_000;

/**
 * Judges one older key. The key is free where nothing is under way with it and nobody was seen with
 * it for an hour, or for a minute since the rotation while a newer key is in use.
 */
export function useOf(
  { generation, client }: Pick<WhoView, 'generation' | 'client'>,
  rotatedAt: number,
  now: number,
): OlderKeyUse {
  const { state, inFlight, lastUsedAt, clockStarted } = generation;
  if (state === 'active') return 'returned';
  if (state !== 'retiring' || isShutOut(client)) return 'ended';
  if (inFlight > 0) return 'used';
  const lastUse = lastUsedAt === null ? -Infinity : Date.parse(lastUsedAt);
  if (now - lastUse >= DORMANT_MS) return 'free';
  if (now - lastUse < QUIET_MS) return 'used';
  return clockStarted && now - rotatedAt >= QUIET_MS ? 'free' : 'idle';
}

const isShutOut = (client: WhoView['client']): boolean =>
  (client?.state ?? 'enabled') !== 'enabled';

/** When the client expired; null: nobody knows, as of one that was disabled. */
const endOfClient = (client: WhoView['client']): string | null =>
  client?.state === 'expired' ? client.expiresAt : null;

/** Callers that are shown of one key; the screen has to hold them. */
const MOST_SHOWN = 8;

/** Each older key, and who was seen with it in the last hour. */
function drawKeys(terminal: Terminal, { keys, hasNewest }: Seen, now: number): readonly string[] {
  const { stderr } = terminal;
  return keys.flatMap((key) => {
    const { generation } = key.who;
    const callers = key.who.callers.filter(seenWithin(DORMANT_MS, now));
    const more = callers.length - MOST_SHOWN;
    const isGone = key.use === 'free' || key.use === 'ended';
    const title = `${generation.id}: ${useWords(key, now)}`;
    const rowOf = (caller: CallerView): string =>
      `  ${callerWords(caller)}  ${showAgo(caller.lastSeenAt, now)}` +
      (hasNewest(caller) ? ', has the new key' : '');
    return [
      paint(terminal, stderr, isGone ? 'green' : 'yellow', title),
      paint(terminal, stderr, 'dim', `  ${goodUntilOf(key.who.client, generation, now)}`),
      ...callers.slice(0, MOST_SHOWN).map(rowOf),
      ...(more > 0 ? [`  and ${more} more: sidecar who ${generation.id}`] : []),
    ];
  });
}

/** How things stand with one older key, in a line that changes only when something happens. */
function useWords({ who, use }: OlderKey, now: number): string {
  switch (use) {
    case 'ended':
      return isShutOut(who.client) ? 'refused' : who.generation.state;
    case 'returned':
      return 'active again';
    case 'idle':
      return 'nobody uses it now, but no newer key was used so far';
    case 'free':
      return 'nobody uses it any more';
    case 'used': {
      const recent = who.callers.filter(seenWithin(QUIET_MS, now));
      if (recent.length === 0) return 'requests are still under way with it';
      const names = recent.slice(0, 3).map(callerWords).join('; ');
      const others = recent.length > 3 ? ' …' : '';
      return `used in the last minute by ${showCount(recent.length, 'caller')}: ${names}${others}`;
    }
  }
}

const seenWithin =
  (ms: number, now: number) =>
  (caller: CallerView): boolean =>
    now - Date.parse(caller.lastSeenAt) < ms;

const callerWords = ({ address, userAgent }: CallerView): string =>
  userAgent === '' ? oneLine(address) : `${oneLine(address)}  ${oneLine(userAgent)}`;

/** Who was seen with an older key in the hour before it ended, and never with the newest. */
function leftBehind({ keys, hasNewest }: Seen, now: number): readonly string[] {
  return keys.flatMap(({ who, use }) => {
    const { client, generation, callers } = who;
    if (use !== 'ended') return [];
    const isShut = isShutOut(client);
    const endedAt = isShut ? endOfClient(client) : generation.validUntil;
    const end = Date.parse(endedAt ?? '') || now;
    const left = callers
      .filter((caller) => Date.parse(caller.lastSeenAt) >= end - DORMANT_MS && !hasNewest(caller))
      .map(callerWords);
    const more = left.length > MOST_SHOWN ? [`and ${left.length - MOST_SHOWN} more`] : [];
    const names = [...left.slice(0, MOST_SHOWN), ...more].join('; ');
    const how = isShut ? `is ${goodUntilOf(client, generation, now)}` : 'ended';
    if (left.length > 0) return [`${generation.id} ${how}, and these had not moved: ${names}`];
    return isShut ? [`${generation.id} ${how}`] : [];
  });
}

/** What lets the callers of a key that ended in again. */
function wayBack({ keys }: Seen): string {
  const [{ client, generation } = {}] = keys.map(({ who }) => who);
  const name = generation?.client;
  if (client?.state === 'disabled') {
    return `its new key, too, until \`sidecar clients enable ${name}\``;
  }
  if (client?.state !== 'expired') return 'they are refused until they take the new key';
  return `its new key, too: \`sidecar clients remove ${name}\`, then add it again with a new end`;
}

function conclude(terminal: Terminal, seen: Seen, now: number): ExitCode {
  const { keys } = seen;
  const generationsOf = (use?: OlderKeyUse): readonly GenerationView[] =>
    keys.filter((key) => use === undefined || key.use === use).map(({ who }) => who.generation);
  const namesOf = (generations: readonly GenerationView[]): string =>
    generations.map(({ id }) => id).join(', ');
  const returned = generationsOf('returned');
  if (returned.length > 0) {
    const back = namesOf(returned);
    say(terminal, `${back} is active again: somebody rolled this rotation back`);
    return EXIT.failed;
  }
  const left = leftBehind(seen, now);
  if (left.length > 0) {
    say(terminal, left.join('\n'), [wayBack(seen)]);
    return EXIT.ok;
  }
  const free = generationsOf('free');
  const words = free.map((each) => `${each.id} is ${goodUntil(each, now)}`);
  const revokes = free.map(({ id }) => `sidecar revoke ${id} ends it now`);
  say(terminal, [`nobody uses ${namesOf(generationsOf())} any more`, ...words].join('; '), revokes);
  return EXIT.ok;
}
