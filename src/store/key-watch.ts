import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import { digestOf } from '../keyring/key.ts';
import { createFolderWatch, type WatchFolder } from './folder-watch.ts';

export interface KeyWatchOptions {
  readonly places: DeclaredPlaces;
  /** Told of what is declared now, where it is not what it was told last; must not throw. */
  readonly onSettled: (reading: DeclaredReading) => void;
  /** What was acted on already; without it the first reading is told, too. */
  readonly settled?: DeclaredReading;
  /** A reading counts once another one so much later agrees, in milliseconds. */
  readonly settleMs?: number;
  /** Between two looks where no event comes, in milliseconds. */
  readonly pollMs?: number;
  /** Instead of Node's. */
  readonly watchFolder?: WatchFolder;
}

/** Follows a key through edits, renames, swapped links and folders that come and go. */
export interface KeyWatch {
  /** Looks now; resolves once what is declared at present has settled. Never rejects. */
  check(): Promise<void>;
  /** Nothing is told any more. */
  stop(): void;
}

const SETTLE_MS = 250;
const POLL_MS = 1000;
/** After an event: a file that is written all the time is not read all the time. */
const GATHER_MS = 50;

export function createKeyWatch(options: KeyWatchOptions): KeyWatch {
  const { places, pollMs = POLL_MS, watchFolder } = options;
  const looks = createLooks(options);
  let soon: NodeJS.Timeout | undefined;
  const onEvent = (): void => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void looks.check();
    }, GATHER_MS).unref();
  };
  const folders = createFolderWatch(onEvent, watchFolder);
  const poll = setInterval(() => {
    void folders.follow(places.files);
    void looks.check();
  }, pollMs).unref();
  void folders.follow(places.files);
  void looks.check();

  return {
    check: looks.check,
    stop() {
      looks.stop();
      clearInterval(poll);
      clearTimeout(soon);
      folders.stop();
    },
  };
}

/** One look at a time; who asks while one is under way is answered by another one behind it. */
function createLooks(options: KeyWatchOptions): KeyWatch {
  const { places, onSettled, settleMs = SETTLE_MS } = options;
  let settled = options.settled && markOf(options.settled);
  let stopped = false;
  let again = false;
  let looking: Promise<void> | undefined;

  /** Reads until two readings agree. Between them only their marks are held, and no key. */
  const settle = async (): Promise<void> => {
    let mark = markOf(await places.read());
    while (!stopped && mark !== settled) {
      await pause(settleMs);
      if (stopped) return;
      const reading = await places.read();
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

  return {
    check() {
      again = true;
      looking ??= look();
      return looking;
    },
    stop() {
      stopped = true;
    },
  };
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });

/** Tells two readings apart without a key in it. */
function markOf(reading: DeclaredReading): string {
  if ('fault' in reading) return `fault ${reading.fault}`;
  const { value } = reading;
  return value === undefined ? 'nothing' : `${value.source} ${digestOf(value.key.reveal())}`;
}
