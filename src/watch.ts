/** Follows what other programs write, through edits, renames, swapped links, folders that go. */
export type Watch = ReturnType<typeof createWatch>;

export interface WatchOptions<Reading> {
  /** Reads what stands there now; must not reject. */
  readonly read: () => Promise<Reading>;
  /** A text that two readings share only where they are alike; it is kept, and holds no secret. */
  readonly markOf: (reading: Reading) => string;
  /** Told of each reading that settled and is not like the one told before; must not throw. */
  readonly onSettled: (reading: Reading) => void;
  /** The reading that was acted on already; without it the first one is told, too. */
  readonly settled?: Reading | undefined;
  /**
   * Whether what stands there is certainly what the last reading found; must not reject. Asked at
   * the beginning of a look, to spare a reading that costs much.
   */
  readonly isUnchanged?: () => Promise<boolean>;
  /** A reading counts once another one so many milliseconds later is like it. */
  readonly settleMs: number;
  /** How many milliseconds pass between two looks. */
  readonly pollMs?: number | undefined;
}

const POLL_MS = 1000;

/**
 * Looks at the start and once in each `pollMs`; the events of a file system get lost on mounts. A
 * reading counts when the next one agrees with it, so that nothing half written is ever told. One
 * look runs at a time; who asks during a look is answered by one more look behind it.
 */
export function createWatch<Reading>(options: WatchOptions<Reading>) {
  const { read, markOf, onSettled, settleMs, isUnchanged, pollMs = POLL_MS } = options;
  let settled = options.settled === undefined ? undefined : markOf(options.settled);
  let stopped = false;
  let again = false;
  let looking: Promise<void> | undefined;

  /** Reads until two readings agree. Between them it holds only their marks, and so no secret. */
  const settle = async (): Promise<void> => {
    if (await isUnchanged?.()) return;
    let mark = markOf(await read());
    while (!stopped && mark !== settled) {
      await pause(settleMs);
      if (stopped) return;
      const reading = await read();
      const next = markOf(reading);
      if (next === mark && !stopped) {
        settled = mark;
        onSettled(reading);
      }
      mark = next;
    }
  };
  const look = async (): Promise<void> => {
    try {
      while (again && !stopped) {
        again = false;
        await settle();
      }
    } finally {
      looking = undefined;
    }
  };

  const check = (): Promise<void> => {
    again = true;
    looking ??= look();
    return looking;
  };
  const poll = setInterval(() => void check(), pollMs).unref();
  void check();

  return {
    /**
     * Looks now; resolves once what stands there at present has settled, which it does not while
     * somebody writes it all the time. Never rejects.
     */
    check,
    /** Nothing is told any more. */
    stop() {
      stopped = true;
      clearInterval(poll);
    },
  };
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
