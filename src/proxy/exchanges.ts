/** Something under way between a client and LiteLLM: a request with its answer, or a WebSocket. */
export interface Live {
  readonly websocket: boolean;
  readonly eventStream: boolean;
  /** `master-3`; `-`: a preflight. */
  readonly generation: string;
  /** Called about each second with the monotonic time: the place for limits on time. */
  tick(now: number): void;
  /** The sidecar is going: end when that cuts nothing short. */
  drain(): void;
  /** Ends it now, visibly. */
  cut(): void;
}

/** All that is under way. Registering returns the undo. */
export interface Exchanges {
  add(live: Live): () => void;
  count(kind: 'all' | 'streams' | 'websockets'): number;
  /** What is under way with a generation, by its id. */
  countOf(generation: string): number;
  /**
   * Asks all to end and waits; after `deadlineMs` the rest is cut. Resolves to how many were cut.
   * Whoever comes while it waits is asked as well.
   */
  drain(deadlineMs: number): Promise<number>;
  /** Ends at once what a test picks. Returns how many. */
  cut(test: (live: Live) => boolean): number;
  /** Stops the clock of the limits. */
  close(): void;
}

const TICK_MS = 1000;
/** What was cut is over, and recorded, when its socket is closed: a moment later. */
const CLOSING_MS = 1000;

/** Where something stands in the list of all that is under way; -1: it is over. */
interface Entry {
  readonly live: Live;
  place: number;
}

/** Puts the last in the place of one; false: that one was taken out before. */
function takeOut(entry: Entry, all: Entry[]): boolean {
  const last = all.at(-1);
  if (entry.place < 0 || last === undefined) return false;
  all[entry.place] = last;
  last.place = entry.place;
  entry.place = -1;
  all.pop();
  return true;
}

export function createExchanges(options: { elapsed: () => number }): Exchanges {
  // A list, and not a Set: the tables that a Set leaves behind as it is filled and emptied keep
  // exchanges alive that are over, until the next major collection (6.5 ms a scavenge, here 2).
  const all: Entry[] = [];
  let draining = false;
  let onEmpty: (() => void) | undefined;
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

  const emptyWithin = async (ms: number): Promise<void> => {
    if (all.length === 0) return;
    const timeout = setTimeout(() => onEmpty?.(), ms);
    await new Promise<void>((resolve) => {
      onEmpty = resolve;
    });
    clearTimeout(timeout);
  };

  return {
    add(live) {
      const entry = { live, place: all.length };
      all.push(entry);
      if (draining) live.drain();
      return () => {
        if (takeOut(entry, all) && all.length === 0) onEmpty?.();
      };
    },
    count(kind) {
      if (kind === 'all') return all.length;
      return all.filter(({ live }) => live[kind === 'streams' ? 'eventStream' : 'websocket'])
        .length;
    },
    countOf: (generation) => all.filter(({ live }) => live.generation === generation).length,
    async drain(deadlineMs) {
      draining = true;
      for (const { live } of [...all]) live.drain();
      await emptyWithin(deadlineMs);
      const left = cut(() => true);
      await emptyWithin(CLOSING_MS);
      return left;
    },
    cut,
    close: () => clearInterval(timer),
  };
}
