export interface Wakes {
  start(): void;
  /** Works in so many milliseconds at the latest. */
  wakeIn(ms: number): void;
  isClosed(): boolean;
  close(): void;
}

/** Calls `work` again and again, each time after as many milliseconds as it resolved to. */
export function createWakes(work: () => Promise<number>): Wakes {
  let timer: NodeJS.Timeout | undefined;
  let [started, closed, working, again] = [false, false, false, false];
  const run = async (): Promise<void> => {
    [working, again] = [true, false];
    const ms = await work();
    working = false;
    wakeIn(again ? 0 : ms);
  };
  const wakeIn = (ms: number): void => {
    // Who wakes it now may have missed what it looks at.
    again = true;
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
    last = turn.catch(() => undefined);
    return turn;
  };
  const settled = async (): Promise<void> => {
    await last;
  };
  return Object.assign(inTurn, { settled });
}
