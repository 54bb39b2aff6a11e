/** A request that waits because LiteLLM is away, with its body unread. */
export interface Waiter {
  /** Whose request it is. */
  readonly client: string;
  /** LiteLLM is back: go on. */
  release(): void;
  /** The time a request may wait is over. */
  expire(): void;
  /** It gives its place to a request of a client that has fewer of them. */
  crowdOut(): void;
}

/** How often it is asked whether LiteLLM is back. */
const RETRY_MS = 200;

/** Keeps requests, in their order, while LiteLLM starts or restarts. */
export type Hold = ReturnType<typeof createHold>;

/**
 * LiteLLM is asked by one connection at a time, however many requests wait.
 *
 * @param options.holdMs how long a request waits at most; 0: none waits
 * @param options.most how many requests wait at most
 * @param options.canConnect asks whether LiteLLM takes connections again
 * @param options.onChange is told when LiteLLM goes and when it is back
 */
export function createHold(options: {
  holdMs: number;
  most: number;
  elapsed: () => number;
  canConnect: () => Promise<boolean>;
  onChange: (away: boolean) => void;
}) {
  const waiting = new Map<Waiter, number>();
  let isAway = false;
  let closed = false;
  let looking = false;
  let timer: NodeJS.Timeout | undefined;

  const expireOverdue = (): void => {
    const now = options.elapsed();
    for (const [waiter, deadline] of waiting) {
      if (deadline > now) continue;
      waiting.delete(waiter);
      waiter.expire();
    }
  };

  const releaseAll = (): void => {
    const inOrder = [...waiting].sort(([, a], [, b]) => a - b);
    waiting.clear();
    for (const [waiter] of inOrder) waiter.release();
  };

  const look = async (): Promise<void> => {
    looking = true;
    const back = await options.canConnect();
    looking = false;
    if (!back || closed) return;
    clearInterval(timer);
    isAway = false;
    options.onChange(false);
    releaseAll();
  };

  return {
    /** Whether LiteLLM is known to be away: a request that comes now waits before it is sent. */
    away: () => isAway,
    /** A connection failed: LiteLLM is away until one succeeds again. */
    markAway(): void {
      if (isAway) return;
      isAway = true;
      if (closed) return;
      options.onChange(true);
      timer = setInterval(() => {
        expireOverdue();
        // A name look-up may take longer than `RETRY_MS`.
        if (!looking) void look();
      }, RETRY_MS);
    },
    /**
     * Lets a waiter in. One that waited before and was released too early gives the deadline it
     * had, which keeps its place among the others. No client fills the hold alone: where it is
     * full, the client with the most waiters gives up its latest for one that has fewer.
     *
     * @returns the waiter's deadline on the monotonic clock; false where there is no room
     */
    enter(waiter: Waiter, firstDeadline?: number): number | false {
      if (firstDeadline === undefined && waiting.size >= options.most) {
        const crowded = latestOfTheMost(waiting.keys(), waiter.client);
        if (crowded === undefined) return false;
        waiting.delete(crowded);
        crowded.crowdOut();
      }
      const deadline = firstDeadline ?? options.elapsed() + options.holdMs;
      if (deadline <= options.elapsed()) {
        waiter.expire();
        return deadline;
      }
      waiting.set(waiter, deadline);
      return deadline;
    },
    /** The client of a waiter left. */
    leave: (waiter: Waiter) => void waiting.delete(waiter),
    /** Lets all go on though this LiteLLM is still away: traffic goes to another one. */
    releaseAll,
    size: () => waiting.size,
    /** Lets go of all that wait: they are told that LiteLLM is away. */
    letGo(): void {
      const all = [...waiting.keys()];
      waiting.clear();
      for (const waiter of all) waiter.expire();
    },
    close(): void {
      closed = true;
      clearInterval(timer);
    },
  };
}

/** @returns undefined where `newcomer` would have as many as the client with the most */
function latestOfTheMost(waiting: Iterable<Waiter>, newcomer: string): Waiter | undefined {
  const counts = new Map<string, number>();
  const latest = new Map<string, Waiter>();
  for (const waiter of waiting) {
    counts.set(waiter.client, (counts.get(waiter.client) ?? 0) + 1);
    latest.set(waiter.client, waiter);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  if (most === undefined || most[1] <= (counts.get(newcomer) ?? 0) + 1) return undefined;
  return latest.get(most[0]);
}
