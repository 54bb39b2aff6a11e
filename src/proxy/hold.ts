/** A request that waits because LiteLLM is away. Its body is unread. */
export interface Waiter {
  /** LiteLLM is back: go on. */
  release(): void;
  /** It has waited long enough. */
  expire(): void;
}

/** Keeps requests, in their order, while LiteLLM starts or restarts. */
export interface Hold {
  /** Whether LiteLLM is known to be away: a request that comes now waits before it tries. */
  away(): boolean;
  /** A connection failed: LiteLLM is away until one succeeds again. */
  markAway(): void;
  /**
   * Lets a waiter in; false: there is no room. One that waited before and was released too early
   * gives the deadline it had, and keeps its place by it.
   *
   * @returns the deadline on the monotonic clock, or false
   */
  enter(waiter: Waiter, deadline?: number): number | false;
  /** The waiter's client left. */
  leave(waiter: Waiter): void;
  /** Lets all go on though LiteLLM is still away: there is another one. */
  releaseAll(): void;
  size(): number;
  close(): void;
}

const RETRY_MS = 200;

/**
 * One check of the connection at a time, however many wait.
 *
 * @param options.holdMs how long one waits at most; 0: nobody waits
 * @param options.most how many wait at most
 * @param options.canConnect asks whether LiteLLM takes connections again
 * @param options.onChange is told when LiteLLM goes and when it is back
 */
export function createHold(options: {
  holdMs: number;
  most: number;
  elapsed: () => number;
  canConnect: () => Promise<boolean>;
  onChange: (away: boolean) => void;
}): Hold {
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
    away: () => isAway,
    markAway() {
      if (isAway) return;
      isAway = true;
      if (closed) return;
      options.onChange(true);
      timer = setInterval(() => {
        expireOverdue();
        // A name look-up may take longer than a turn.
        if (!looking) void look();
      }, RETRY_MS);
    },
    enter(waiter, before) {
      if (before === undefined && waiting.size >= options.most) return false;
      const deadline = before ?? options.elapsed() + options.holdMs;
      if (deadline <= options.elapsed()) {
        waiter.expire();
        return deadline;
      }
      waiting.set(waiter, deadline);
      return deadline;
    },
    leave: (waiter) => void waiting.delete(waiter),
    releaseAll,
    size: () => waiting.size,
    close() {
      closed = true;
      clearInterval(timer);
    },
  };
}
