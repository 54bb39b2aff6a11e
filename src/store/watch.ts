import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import { digestOf } from '../keyring/key.ts';

/**
 * Calls `onEvent` when something in a folder changes, with its name where that is known, and
 * `onEnd` when no more events will come.
 *
 * @throws Error of Node's fs
 */
export type WatchFolder = (
  folder: string,
  onEvent: (name: string | null) => void,
  onEnd: () => void,
) => { close(): void };

export interface FolderWatch {
  /**
   * Watches the folders of these files: a rename or a swapped link shows there, not in the file. To
   * be called again and again; a folder that is not there, or is another one than before, is met
   * anew. Never rejects.
   */
  follow(files: readonly string[]): Promise<void>;
  stop(): void;
}

interface Watched {
  readonly identity: string;
  close(): void;
}

/**
 * Events are a quick way to what a poll finds as well: where they fail, nothing is said. Nor is it
 * where something else in the folder changes: a log that is written there would be an event each
 * time.
 */
export function createFolderWatch(
  onEvent: () => void,
  watchFolder: WatchFolder = watchWithNode,
): FolderWatch {
  const watched = new Map<string, Watched>();
  let followed: ReadonlySet<string> = new Set();
  let stopped = false;

  const drop = (folder: string): void => {
    watched.get(folder)?.close();
    watched.delete(folder);
  };
  const meet = async (folder: string): Promise<void> => {
    const identity = await identityOf(folder);
    if (stopped || watched.get(folder)?.identity === identity) return;
    drop(folder);
    if (identity === undefined) return;
    try {
      const tell = (name: string | null): void => {
        if (mayConcern(name, followed)) onEvent();
      };
      const { close } = watchFolder(folder, tell, () => drop(folder));
      watched.set(folder, { identity, close });
    } catch {
      // No more watches to be had, or the folder has just gone: the poll goes on.
    }
  };

  return {
    async follow(files) {
      followed = new Set(files.map((file) => basename(file)));
      const folders = new Set(files.map((file) => dirname(file)));
      for (const folder of [...watched.keys()]) if (!folders.has(folder)) drop(folder);
      await Promise.all([...folders].map(meet));
    },
    stop() {
      stopped = true;
      for (const folder of [...watched.keys()]) drop(folder);
    },
  };
}

/** Kubernetes swaps `..data`, which the file is a link into. */
const mayConcern = (name: string | null, followed: ReadonlySet<string>): boolean =>
  name === null || name.startsWith('..') || followed.has(name);

/** Inode numbers are used again at once: the instant of its making goes with it. */
async function identityOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true });
    return `${dev} ${ino} ${birthtimeNs}`;
  } catch {
    return undefined;
  }
}

const watchWithNode: WatchFolder = (folder, onEvent, onEnd) => {
  const watcher = watch(folder, { persistent: false }, (_kind, name) => onEvent(name));
  watcher.on('error', onEnd);
  return { close: () => watcher.close() };
};

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
