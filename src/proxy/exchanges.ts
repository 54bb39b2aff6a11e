/** Something under way between a client and LiteLLM: a request with its answer, or a WebSocket. */
export interface Live {
  readonly websocket: boolean;
  readonly eventStream: boolean;
  /** `master-3`. */
  readonly generation: string;
  /** The slot whose LiteLLM it was sent to; '': it waits to be sent. */
  readonly slot: string;
  /** Called about each second with the monotonic time, for limits on time. */
  tick(now: number): void;
  /** Asks it to end once that cuts nothing short; `why` tells its client what goes away. */
  drain(why: string): void;
  /** Ends it now, so that the client sees a broken connection and no complete answer. */
  cut(): void;
}

/** All that is under way. `add` returns what takes its argument out again. */
export interface Exchanges {
  add(live: Live): () => void;
  count(kind: 'all' | 'streams' | 'websockets'): number;
  /** What is under way with a generation, by its id. */
  countOf(generation: string): number;
  /** What a slot has in hand. */
  countOn(slot: string): { readonly requests: number; readonly websockets: number };
  /**
   * Asks all to end and waits; after `deadlineMs` the rest is cut. Resolves to how many were cut.
   * What begins in the meantime is asked to end as well.
   */
  drain(deadlineMs: number): Promise<number>;
  /** Asks what a test picks to end, and cuts the rest a second later. Resolves to their number. */
  end(test: (live: Live) => boolean): Promise<number>;
  /** Ends at once what a test picks. Returns how many. */
  cut(test: (live: Live) => boolean): number;
  /** Calls no `tick` any more. */
  close(): void;
}

const TICK_MS = 1000;
/** What was cut is over, and recorded, only when its socket is closed, a moment later. */
const CLOSING_MS = 1000;
/** What a client of a WebSocket may take to answer its close frame. */
const GOODBYE_MS = 1000;
const STOPPING = 'the gateway is stopping';
const REPLACED = 'LiteLLM was replaced: connect again';

interface Entry {
  readonly live: Live;
  /** Its index in the list of all that is under way; -1: it is over. */
  place: number;
}

/** Puts the last entry in the place of this one. Returns false where this was taken out before. */
function takeOut(entry: Entry, all: Entry[]): boolean {
  const last = all.at(-1);
  if (entry.place < 0 || last === undefined) return false;
  all[entry.place] = last;
  last.place = entry.place;
  entry.place = -1;
  all.pop();
  return true;
}

/** Wakes whoever waits for the end of something. */
function createAwait({ missedMs = () => 0 }: ExchangesOptions) {
  const waiting = new Set<() => void>();
  return {
    wake() {
      // Asked at the end of each exchange, when hardly ever anybody waits.
      if (waiting.size === 0) return;
      for (const look of waiting) look();
    },
    /** Resolves once `isOver` says so, or after so many milliseconds of a process that runs. */
    async until(isOver: () => boolean, ms: number): Promise<void> {
      if (isOver()) return;
      await new Promise<void>((resolve) => {
        const finish = (): void => {
          clearTimeout(timeout);
          waiting.delete(look);
          resolve();
        };
        const look = (): void => {
          if (isOver()) finish();
        };
        let known = missedMs();
        const late = (): void => {
          const missed = missedMs() - known;
          known += missed;
          if (missed <= 0) finish();
          else timeout = setTimeout(late, Math.min(missed, ms));
        };
        let timeout = setTimeout(late, ms);
        waiting.add(look);
      });
    },
  };
}

interface ExchangesOptions {
  /** For limits on time: it is asked each second. */
  readonly elapsed: () => number;
  /** How long this process did not look, in milliseconds in all; never, where nothing is said. */
  readonly missedMs?: () => number;
}

export function createExchanges(options: ExchangesOptions): Exchanges {
  // A list, and not a Set: the tables that a Set leaves behind as it is filled and emptied keep
  // exchanges alive that are over, until the next major collection (6.5 ms a scavenge, here 2).
  const all: Entry[] = [];
  const ends = createAwait(options);
  let draining = false;
  const timer = setInterval(() => {
    const now = options.elapsed();
    for (const { live } of [...all]) live.tick(now);
  }, TICK_MS);
  timer.unref();

  const cut = (test: (live: Live) => boolean): number => {
    const picked = all.filter(({ live }) => test(live));
    for (const { live } of picked) live.cut();
    return picked.length;
  };
  const ask = (test: (live: Live) => boolean, why: string): void => {
    for (const { live } of all.filter((entry) => test(entry.live))) live.drain(why);
  };
  const isEmpty = (): boolean => all.length === 0;

  return {
    add(live) {
      const entry = { live, place: all.length };
      all.push(entry);
      if (draining) live.drain(STOPPING);
      return () => {
        if (takeOut(entry, all)) ends.wake();
      };
    },
    count(kind) {
      if (kind === 'all') return all.length;
      return all.filter(({ live }) => live[kind === 'streams' ? 'eventStream' : 'websocket'])
        .length;
    },
    countOf: (generation) => all.filter(({ live }) => live.generation === generation).length,
    countOn: (slot) => countOn(all, slot),
    async drain(deadlineMs) {
      draining = true;
      ask(() => true, STOPPING);
      await ends.until(isEmpty, deadlineMs);
      const left = cut(() => true);
      await ends.until(isEmpty, CLOSING_MS);
      return left;
    },
    async end(test) {
      const areOver = (): boolean => !all.some(({ live }) => test(live));
      ask(test, REPLACED);
      await ends.until(areOver, GOODBYE_MS);
      const left = cut(test);
      await ends.until(areOver, CLOSING_MS);
      return left;
    },
    cut,
    close: () => clearInterval(timer),
  };
}

/** Asked while a slot is drained, with ten thousand under way: it makes no lists. */
function countOn(all: readonly Entry[], slot: string): { requests: number; websockets: number } {
  let requests = 0;
  let websockets = 0;
  for (const { live } of all) {
    if (live.slot !== slot) continue;
    if (live.websocket) websockets++;
    else requests++;
  }
  return { requests, websockets };
}
