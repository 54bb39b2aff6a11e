/** Work that is done one piece after the other, in the order in which it came. */
export interface Turns {
  /** Calls `work` once all that came before is over; resolves or rejects as it does. */
  <T>(work: () => Promise<T>): Promise<T>;
  /** Resolves once all that came so far is over. */
  settled(): Promise<void>;
}

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    // A piece that fails is told to the one who brought it, and holds up nobody else.
    last = turn.catch(() => undefined);
    return turn;
  };
  const settled = async (): Promise<void> => {
    await last;
  };
  return Object.assign(inTurn, { settled });
}

/** Work that is done again and again, with a timer between. */
interface Wakes {
  /** Works at once; before, nothing does. */
  start(): void;
  /** Has the next work begin in so many milliseconds, or at once where one is going on. */
  wakeIn(ms: number): void;
  isClosed(): boolean;
  /** What is going on ends; nothing begins any more. */
  close(): void;
}

/**
 * Calls `work` again and again, each time after as many milliseconds as it resolved to. The timer
 * does not keep the process alive. `work` must not reject.
 */
export function createWakes(work: () => Promise<number>): Wakes {
  let timer: NodeJS.Timeout | undefined;
  let [started, closed, working, wokenMeanwhile] = [false, false, false, false];
  const run = async (): Promise<void> => {
    [working, wokenMeanwhile] = [true, false];
    const ms = await work();
    working = false;
    wakeIn(wokenMeanwhile ? 0 : ms);
  };
  const wakeIn = (ms: number): void => {
    // Work that is going on may have passed what this call is about: it is done once more.
    wokenMeanwhile = true;
    if (closed || !started || working) return;
    clearTimeout(timer);
    timer = setTimeout(() => void run(), ms).unref();
  };
  return {
    wakeIn,
    start() {
      started = true;
      wakeIn(0);
    },
    isClosed: () => closed,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

const RESOLVED = Promise.resolve();

/**
 * Calls `work` once what runs now is over, as `queueMicrotask` does: that makes a resource for each
 * call, and two calls of it are 2 % of a request's processor time.
 */
export function soon(work: () => void): void {
  void RESOLVED.then(work);
}
