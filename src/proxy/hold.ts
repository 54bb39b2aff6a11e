/** A request that waits because LiteLLM is away, with its body unread. */
export interface Waiter {
  /** LiteLLM is back: go on. */
  release(): void;
  /** The time a request may wait is over. */
  expire(): void;
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
     * had, which keeps its place among the others.
     *
     * @returns the waiter's deadline on the monotonic clock; false where there is no room
     */
    enter(waiter: Waiter, firstDeadline?: number): number | false {
      if (firstDeadline === undefined && waiting.size >= options.most) return false;
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
    close(): void {
      closed = true;
      clearInterval(timer);
    },
  };
}
