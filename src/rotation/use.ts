import {
  type CallerUse,
  type GenerationUse,
  type GenerationUses,
  idOf,
  type Keyring,
  MOST_CALLERS,
  tombstonesByClient,
} from '../keyring/keyring.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import { redact } from '../text/safe.ts';
import type { Keeper } from './keeper.ts';
import { LONGEST_SLEEP_MS, type SteadyClock } from './steady-clock.ts';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

interface Use extends Omit<Mutable<GenerationUse>, 'callers'> {
  /** By address and user agent; at most `MOST_CALLERS`. */
  readonly callers: Map<string, Mutable<CallerUse>>;
}

/** Who uses which generation, by its id. */
export type UsageTracker = ReturnType<typeof createUsageTracker>;

/**
 * Remembers for each generation the callers that used it last. Each user agent of an address counts
 * as a caller, so that a client that invents user agents pushes other callers out; the counts of
 * the generation stay whole.
 *
 * @param options.now milliseconds since the epoch
 * @param options.initial what was stored
 */
export function createUsageTracker({
  now,
  initial,
}: {
  readonly now: () => number;
  readonly initial: GenerationUses;
}) {
  const uses = new Map([...initial].map(([id, use]) => [id, trackedFrom(use)]));
  let isChanged = false;
  return {
    /** Counts one request. */
    note(id: string, address: string, userAgent: string): void {
      const at = now();
      let use = uses.get(id);
      if (use === undefined) {
        use = { lastAt: at, count: 0, callers: new Map() };
        uses.set(id, use);
      }
      noteCaller(use.callers, { address, userAgent, at });
      use.lastAt = at;
      use.count += 1;
      isChanged = true;
    },
    /** Undefined: the generation was never used. The most recent callers come first. */
    of(id: string): GenerationUse | undefined {
      const use = uses.get(id);
      return use && copyOf(use);
    },
    /** Milliseconds since the epoch. */
    lastAt: (id: string): number | undefined => uses.get(id)?.lastAt,
    /** The use of all generations as it is now: what is noted afterwards does not change it. */
    usage(): GenerationUses {
      isChanged = false;
      return new Map([...uses].map(([id, use]) => [id, copyOf(use)]));
    },
    /** Whether there is anything that the last `usage()` did not have. */
    changed: () => isChanged,
    /** Forgets the use of these generations. */
    forget(ids: Iterable<string>): void {
      for (const id of ids) if (uses.delete(id)) isChanged = true;
    },
  };
}

const nameOf = (address: string, userAgent: string): string => `${address} ${userAgent}`;

/** The one that was not heard of for the longest goes where there is no room for a new caller. */
function noteCaller(
  callers: Use['callers'],
  { address, userAgent, at }: { address: string; userAgent: string; at: number },
): void {
  const name = nameOf(address, userAgent);
  const known = callers.get(name);
  if (known !== undefined) {
    // It keeps its place: to put it last costs a microsecond of each request's fifty.
    known.lastAt = at;
    known.count += 1;
    return;
  }
  if (callers.size >= MOST_CALLERS) callers.delete(longestSilent(callers));
  // Callers go to the disk, and a key may stand in a user agent by mistake.
  const caller = { address, userAgent: redact(userAgent), firstAt: at, lastAt: at, count: 1 };
  callers.set(name, caller);
}

function longestSilent(callers: Use['callers']): string {
  let [silent, since] = ['', Infinity];
  for (const [name, { lastAt }] of callers) if (lastAt < since) [silent, since] = [name, lastAt];
  return silent;
}

function trackedFrom({ lastAt, count, callers }: GenerationUse): Use {
  const named = callers.map((each) => [nameOf(each.address, each.userAgent), { ...each }] as const);
  return { lastAt, count, callers: new Map(named) };
}

const copyOf = ({ lastAt, count, callers }: Use): GenerationUse => ({
  ...{ lastAt, count },
  callers: Array.from(callers.values(), (caller) => ({ ...caller })).sort(
    (one, other) => other.lastAt - one.lastAt,
  ),
});

/** The use as it is stored: no instant in it is later than what has come for certain. */
export function notAfter(sure: number, uses: GenerationUses): GenerationUses {
  if ([...uses.values()].every(({ lastAt }) => lastAt <= sure)) return uses;
  const clip = (at: number): number => Math.min(at, sure);
  const clipped = [...uses].map(([id, { lastAt, count, callers }]): [string, GenerationUse] => {
    const seen = callers.map((each) => {
      return { ...each, firstAt: clip(each.firstAt), lastAt: clip(each.lastAt) };
    });
    return [id, { lastAt: clip(lastAt), count, callers: seen }];
  });
  return new Map(clipped);
}

/**
 * Ids of generations whose use is not worth keeping: of each client those that ended, but for the
 * `keep` newest of them.
 */
export function endedLongAgo(keyring: Keyring, keep: number): readonly string[] {
  return [...tombstonesByClient(keyring).values()].flatMap((ended) =>
    ended.slice(keep).map(({ client, number }) => idOf(client, number)),
  );
}

/** Milliseconds after which an answer saves a first use that could not be saved before. */
const SAVE_AGAIN_MS = 1000;

/** Starts the grace of older keys when a newer one is first used, and saves that at once. */
export function createFirstUses(
  keeper: Keeper,
  { now, sure }: Pick<SteadyClock, 'now' | 'sure'>,
): { note(key: KnownKey): void } {
  /** By generation id: the instant before which no save is begun. */
  const notBefore = new Map<string, number>();
  return {
    note({ id, client }) {
      if ((notBefore.get(id) ?? 0) > sure()) return;
      // A grace that began by a clock that is set wrong would end when nobody expects it.
      if (now() - sure() > LONGEST_SLEEP_MS) return;
      // Answers come by the thousand while the first of them is being saved.
      notBefore.set(id, Infinity);
      const number = Number(id.slice(client.length + 1));
      keeper.change([{ kind: 'firstUse', client, number }], 'sidecar').then(
        () => notBefore.delete(id),
        () => notBefore.set(id, sure() + SAVE_AGAIN_MS),
      );
    },
  };
}

/** Uses of a retired or revoked key from one address. */
export interface TombstoneUse {
  /** The key's id. */
  readonly generation: string;
  /** `others`: from more addresses than are told apart. */
  readonly address: string;
  /** 1 where the first use is told; else how many followed the first within the hour. */
  readonly count: number;
  /** When the first use came, milliseconds since the epoch. */
  readonly since: number;
}

const HOUR_MS = 3_600_000;
const LOOK_EVERY_MS = 60_000;
/** How many pairs of a generation and an address are told apart within an hour. */
const MOST_PAIRS = 1000;
const OTHERS = 'others';

/**
 * Tells of keys that come back, often enough to be heard and less often than they are used: the
 * first use of a generation from an address at once, those within an hour after it together when
 * that is over. Beyond `MOST_PAIRS` addresses count as one, so that an attacker who has many of
 * them fills neither the memory nor the audit.
 *
 * @param options.now milliseconds since the epoch
 * @param options.onHour is not called where no use followed the first
 */
export function createTombstoneUses({
  now,
  onFirst,
  onHour,
}: {
  readonly now: () => number;
  readonly onFirst: (use: TombstoneUse) => void;
  readonly onHour: (use: TombstoneUse) => void;
}) {
  /** By generation and address; `count` is that of the uses after the first. */
  const hours = new Map<string, Mutable<TombstoneUse>>();
  let closed = false;

  const end = (pair: string, hour: TombstoneUse): void => {
    hours.delete(pair);
    if (hour.count > 0) onHour(hour);
  };
  /** A clock that went back ends an hour, which would else last as long as the clock had jumped. */
  const isPast = ({ since }: TombstoneUse): boolean => now() - since >= HOUR_MS || now() < since;

  const timer = setInterval(() => {
    for (const [pair, hour] of hours) if (isPast(hour)) end(pair, hour);
  }, LOOK_EVERY_MS).unref();

  return {
    /** Counts one request. */
    note(generation: string, from: string): void {
      if (closed) return;
      const isKnown = hours.has(`${generation} ${from}`);
      const address = isKnown || hours.size < MOST_PAIRS ? from : OTHERS;
      const pair = `${generation} ${address}`;
      const hour = hours.get(pair);
      if (hour !== undefined && !isPast(hour)) {
        hour.count += 1;
        return;
      }
      if (hour !== undefined) end(pair, hour);
      const since = now();
      hours.set(pair, { generation, address, count: 0, since });
      onFirst({ generation, address, count: 1, since });
    },
    /** Tells what was added up so far; nothing is told afterwards. */
    close(): void {
      closed = true;
      clearInterval(timer);
      for (const [pair, hour] of hours) end(pair, hour);
    },
  };
}
