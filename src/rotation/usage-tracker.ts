import {
  type CallerUse,
  type GenerationUse,
  MOST_CALLERS,
  type Usage,
} from '../keyring/keyring.ts';

/** Who uses which generation, by its id. */
export interface UsageTracker {
  /** One request. Made for the traffic path: three look-ups, and no text is made. */
  note(id: string, address: string, userAgent: string): void;
  /** Undefined: it was never used. */
  of(id: string): GenerationUse | undefined;
  /** The callers that were seen at that instant or later, the most recent first. */
  recent(id: string, since: number): readonly CallerUse[];
  /** Milliseconds since the epoch. */
  lastAt(id: string): number | undefined;
  /** All of it as it is now: what is noted afterwards does not change it. */
  usage(): Usage;
  /** Whether there is anything that the last `usage()` did not have. */
  changed(): boolean;
  /** Of these nothing is kept. */
  forget(ids: Iterable<string>): void;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Caller = Mutable<CallerUse>;

/** One generation that was used since the start. */
interface Tracked {
  lastAt: number;
  count: number;
  readonly byAddress: Map<string, Map<string, Caller>>;
  /** At most `MOST_CALLERS`; `agents` runs beside them: by what `byAddress` knows them. */
  readonly callers: Caller[];
  readonly agents: string[];
  /** As it was handed out, until it is used again. */
  copy: GenerationUse | undefined;
}

/** A client that puts its key where its name belongs: what is kept here is written to a disk. */
const KEY_LIKE = /sk-[\w-]{8,}/gi;

const latestFirst = (one: CallerUse, other: CallerUse): number => other.lastAt - one.lastAt;

/**
 * Remembers for each generation the callers that used it last; each change of the user agent is one
 * caller more, so that whoever invents them pushes others out, at the cost of one look at
 * `MOST_CALLERS`. The counts of a generation stay whole.
 *
 * @param options.now milliseconds since the epoch
 * @param options.initial what was stored
 */
export function createUsageTracker(options: { now: () => number; initial: Usage }): UsageTracker {
  const { now } = options;
  /** What was not used since the start: it is not taken apart before it is. */
  const stored = new Map(options.initial);
  const tracked = new Map<string, Tracked>();
  let isChanged = false;

  const begin = (id: string): Tracked => {
    const made = takeApart(stored.get(id));
    stored.delete(id);
    tracked.set(id, made);
    return made;
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
        use.byAddress.get(address)?.get(userAgent) ?? takeIn(use, { address, userAgent, at });
      caller.lastAt = at;
      caller.count += 1;
      use.lastAt = at;
      use.count += 1;
      use.copy = undefined;
      isChanged = true;
    },
    of: useOf,
    recent: (id, since) => useOf(id)?.callers.filter(({ lastAt }) => lastAt >= since) ?? [],
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

function takeApart(use: GenerationUse | undefined): Tracked {
  const made: Tracked = {
    lastAt: use?.lastAt ?? 0,
    count: use?.count ?? 0,
    byAddress: new Map(),
    callers: [],
    agents: [],
    copy: undefined,
  };
  const latest = [...(use?.callers ?? [])].sort(latestFirst).slice(0, MOST_CALLERS);
  for (const caller of latest) put(made, { ...caller }, caller.userAgent, made.callers.length);
  return made;
}

/** A caller that was not seen yet; where there is no room, in the place of the least recent. */
function takeIn(use: Tracked, by: { address: string; userAgent: string; at: number }): Caller {
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
