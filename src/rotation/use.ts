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
import type { Keeper } from './keeper.ts';

/** Who uses which generation, by its id. */
export interface UsageTracker {
  /** Counts one request. Made for the traffic path: three look-ups, and no text is made. */
  note(id: string, address: string, userAgent: string): void;
  /** Undefined: the generation was never used. */
  of(id: string): GenerationUse | undefined;
  /** Milliseconds since the epoch. */
  lastAt(id: string): number | undefined;
  /** The use of all generations as it is now: what is noted afterwards does not change it. */
  usage(): GenerationUses;
  /** Whether there is anything that the last `usage()` did not have. */
  changed(): boolean;
  /** Forgets the use of these generations. */
  forget(ids: Iterable<string>): void;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Caller = Mutable<CallerUse>;

/** One generation that was used since the start. */
interface Tracked {
  lastAt: number;
  count: number;
  readonly byAddress: Map<string, Map<string, Caller>>;
  /** At most `MOST_CALLERS`. */
  readonly callers: Caller[];
  /** Of each of `callers` the user agent by which `byAddress` finds it. */
  readonly agents: string[];
  /** The copy that was handed out last, until the generation is used again. */
  copy: GenerationUse | undefined;
}

/** A key that stands in a User-Agent by mistake: it is redacted, as callers go to the disk. */
const KEY_LIKE = /sk-[\w-]{8,}/gi;

const latestFirst = (one: CallerUse, other: CallerUse): number => other.lastAt - one.lastAt;

/**
 * Remembers for each generation the callers that used it last. Each user agent of an address counts
 * as a caller, so that a client that invents user agents pushes other callers out, at the cost of
 * one look at `MOST_CALLERS`; the counts of the generation stay whole.
 *
 * @param options.now milliseconds since the epoch
 * @param options.initial what was stored
 */
export function createUsageTracker(options: {
  now: () => number;
  initial: GenerationUses;
}): UsageTracker {
  const { now } = options;
  /** The stored use of generations that were not used since the start, as it was stored. */
  const stored = new Map(options.initial);
  const tracked = new Map<string, Tracked>();
  let isChanged = false;

  const begin = (id: string): Tracked => {
    const tracking = trackedFrom(stored.get(id));
    stored.delete(id);
    tracked.set(id, tracking);
    return tracking;
  };
  const useOf = (id: string): GenerationUse | undefined => {
    const use = tracked.get(id);
    return use === undefined ? stored.get(id) : copyOf(use);
  };

  return {
    note(id, address, userAgent) {
      const at = now();
      const use = tracked.get(id) ?? begin(id);
      const caller =
        use.byAddress.get(address)?.get(userAgent) ?? addCaller(use, { address, userAgent, at });
      caller.lastAt = at;
      caller.count += 1;
      use.lastAt = at;
      use.count += 1;
      use.copy = undefined;
      isChanged = true;
    },
    of: useOf,
    lastAt: (id) => (tracked.get(id) ?? stored.get(id))?.lastAt,
    usage() {
      isChanged = false;
      const all = new Map(stored);
      for (const [id, use] of tracked) all.set(id, copyOf(use));
      return all;
    },
    changed: () => isChanged,
    forget(ids) {
      for (const id of ids) {
        const wasStored = stored.delete(id);
        if (tracked.delete(id) || wasStored) isChanged = true;
      }
    },
  };
}

function trackedFrom(use: GenerationUse | undefined): Tracked {
  const tracking: Tracked = {
    lastAt: use?.lastAt ?? 0,
    count: use?.count ?? 0,
    byAddress: new Map(),
    callers: [],
    agents: [],
    copy: undefined,
  };
  const latest = [...(use?.callers ?? [])].sort(latestFirst).slice(0, MOST_CALLERS);
  for (const caller of latest)
    put(tracking, { ...caller }, caller.userAgent, tracking.callers.length);
  return tracking;
}

/** Adds a caller that was not seen yet; where there is no room, in place of the least recent. */
function addCaller(use: Tracked, by: { address: string; userAgent: string; at: number }): Caller {
  const { address, userAgent, at } = by;
  const caller: Caller = {
    address,
    userAgent: userAgent.replace(KEY_LIKE, '[redacted]'),
    firstAt: at,
    lastAt: at,
    count: 0,
  };
  const place = use.callers.length < MOST_CALLERS ? use.callers.length : leastRecent(use.callers);
  drop(use, place);
  put(use, caller, userAgent, place);
  return caller;
}

function leastRecent(callers: readonly Caller[]): number {
  let place = 0;
  let oldest = Infinity;
  for (const [at, { lastAt }] of callers.entries()) {
    if (lastAt >= oldest) continue;
    oldest = lastAt;
    place = at;
  }
  return place;
}

function put(use: Tracked, caller: Caller, agent: string, place: number): void {
  use.callers[place] = caller;
  use.agents[place] = agent;
  const agents = use.byAddress.get(caller.address);
  if (agents === undefined) use.byAddress.set(caller.address, new Map([[agent, caller]]));
  else agents.set(agent, caller);
}

function drop(use: Tracked, place: number): void {
  const caller = use.callers[place];
  const agent = use.agents[place];
  if (caller === undefined || agent === undefined) return;
  const agents = use.byAddress.get(caller.address);
  agents?.delete(agent);
  if (agents?.size === 0) use.byAddress.delete(caller.address);
}

function copyOf(use: Tracked): GenerationUse {
  const { lastAt, count, callers } = use;
  use.copy ??= {
    lastAt,
    count,
    callers: callers.map((caller) => ({ ...caller })).sort(latestFirst),
  };
  return use.copy;
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
export function createFirstUses(keeper: Keeper, now: () => number): { note(key: KnownKey): void } {
  /** By generation id: the instant before which no save is begun. */
  const notBefore = new Map<string, number>();
  return {
    note({ id, client }) {
      if ((notBefore.get(id) ?? 0) > now()) return;
      // Answers come by the thousand while the first of them is being saved.
      notBefore.set(id, Infinity);
      const number = Number(id.slice(client.length + 1));
      keeper.change([{ kind: 'firstUse', client, number }], 'sidecar').then(
        () => notBefore.delete(id),
        () => notBefore.set(id, now() + SAVE_AGAIN_MS),
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

/** Tells of keys that come back, often enough to be heard and less often than they are used. */
interface TombstoneUses {
  /** Counts one request. Made for the traffic path. */
  note(generation: string, address: string): void;
  /** Tells what was added up so far; nothing is told afterwards. */
  close(): void;
}

const HOUR_MS = 3_600_000;
const LOOK_EVERY_MS = 60_000;
/** How many pairs of a generation and an address are told apart within an hour. */
const MOST_PAIRS = 1000;
const OTHERS = 'others';

interface Hour {
  readonly generation: string;
  readonly address: string;
  readonly since: number;
  /** Uses after the first. */
  count: number;
}

/**
 * The first use of a generation from an address is told at once, those within an hour after it
 * together when that is over. Beyond `MOST_PAIRS` addresses count as one, so that an attacker who
 * has many of them fills neither the memory nor the audit.
 *
 * @param options.now milliseconds since the epoch
 * @param options.onHour is not called where no use followed the first
 */
export function createTombstoneUses(options: {
  now: () => number;
  onFirst: (use: TombstoneUse) => void;
  onHour: (use: TombstoneUse) => void;
}): TombstoneUses {
  const { now, onFirst, onHour } = options;
  const hours = new Map<string, Map<string, Hour>>();
  let pairs = 0;
  let closed = false;

  const find = (generation: string, address: string): Hour | undefined =>
    hours.get(generation)?.get(address);

  const end = (hour: Hour): void => {
    const { generation, address } = hour;
    const ofGeneration = hours.get(generation);
    ofGeneration?.delete(address);
    if (ofGeneration?.size === 0) hours.delete(generation);
    if (address !== OTHERS) pairs -= 1;
    if (hour.count > 0) onHour({ ...hour });
  };

  const begin = (generation: string, address: string, since: number): void => {
    const hour: Hour = { generation, address, since, count: 0 };
    const ofGeneration = hours.get(generation);
    if (ofGeneration === undefined) hours.set(generation, new Map([[address, hour]]));
    else ofGeneration.set(address, hour);
    if (address !== OTHERS) pairs += 1;
    onFirst({ ...hour, count: 1 });
  };

  const endAll = (isOver: (hour: Hour) => boolean): void => {
    for (const ofGeneration of [...hours.values()]) {
      for (const hour of [...ofGeneration.values()]) if (isOver(hour)) end(hour);
    }
  };

  const timer = setInterval(() => {
    const at = now();
    endAll((hour) => isPast(hour, at));
  }, LOOK_EVERY_MS).unref();

  return {
    note(generation, address) {
      if (closed) return;
      const at = now();
      let place = address;
      let hour = find(generation, place);
      if (hour === undefined && pairs >= MOST_PAIRS) {
        place = OTHERS;
        hour = find(generation, place);
      }
      if (hour !== undefined && isPast(hour, at)) {
        end(hour);
        hour = undefined;
      }
      if (hour === undefined) begin(generation, place, at);
      else hour.count += 1;
    },
    close() {
      closed = true;
      clearInterval(timer);
      endAll(() => true);
    },
  };
}

/** A clock that went back ends the hour, which would else last as long as the clock had jumped. */
const isPast = ({ since }: Hour, at: number): boolean => at - since >= HOUR_MS || at < since;
