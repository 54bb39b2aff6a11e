import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** Follows what other programs write, through edits, renames, swapped links, folders that go. */
export interface Watch {
  /**
   * Looks now; resolves once what stands there at present has settled, which it does not while
   * somebody writes it all the time. Never rejects.
   */
  check(): Promise<void>;
  /** Nothing is told any more. */
  stop(): void;
}

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
  /** The files, as they are at present, whose events start a look; without it none does. */
  readonly files?: () => readonly string[];
  /** A reading counts once another one so many milliseconds later is like it. */
  readonly settleMs: number;
  /** How many milliseconds pass between two looks where no event comes. */
  readonly pollMs?: number | undefined;
  /** Takes the place of Node's `watch`. */
  readonly watchFolder?: WatchFolder | undefined;
}

const POLL_MS = 1000;
/** How long after an event a look begins: a file that is written all the time has many of them. */
const GATHER_MS = 50;

/**
 * Looks at the start, once in each `pollMs`, and soon after an event. A reading counts when the
 * next one agrees with it, so that nothing half written is ever told.
 */
export function createWatch<Reading>(options: WatchOptions<Reading>): Watch {
  const { files, pollMs = POLL_MS, watchFolder } = options;
  const looks = createLooks(options);
  let soon: NodeJS.Timeout | undefined;
  const onEvent = (): void => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void looks.check();
    }, GATHER_MS).unref();
  };
  const folders = files && createFolderWatch(onEvent, watchFolder);
  const look = (): void => {
    if (files !== undefined) void folders?.follow(files());
    void looks.check();
  };
  const poll = setInterval(look, pollMs).unref();
  look();

  return {
    check: looks.check,
    stop() {
      looks.stop();
      clearInterval(poll);
      clearTimeout(soon);
      folders?.stop();
    },
  };
}

/** Runs one look at a time; who asks during a look is answered by one more look behind it. */
function createLooks<Reading>(options: WatchOptions<Reading>): Watch {
  const { read, markOf, onSettled, settleMs, isUnchanged } = options;
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

/**
 * Calls `onEvent` when something in a folder changes, with its name where that is known, and
 * `onEnd` when no more events will come.
 *
 * @throws Error of Node's fs
 */
type WatchFolder = (
  folder: string,
  onEvent: (name: string | null) => void,
  onEnd: () => void,
) => { close(): void };

export interface FolderWatch {
  /**
   * Watches the folders of these files, because a rename or a swapped link is an event of the
   * folder and not of the file. Called again and again, it meets a folder anew that was not there,
   * or that was replaced. Never rejects.
   */
  follow(files: readonly string[]): Promise<void>;
  stop(): void;
}

interface WatchedFolder {
  readonly identity: string;
  close(): void;
}

/**
 * Events are only a quicker way to what the poll finds as well, so one that fails is no error. A
 * change of another file in the folder is no event: a log there would cause one all the time.
 */
export function createFolderWatch(
  onEvent: () => void,
  watchFolder: WatchFolder = watchWithNode,
): FolderWatch {
  const watched = new Map<string, WatchedFolder>();
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
      // There are no more watches to be had, or the folder has just gone: the poll finds changes.
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

/** Names with `..` are Kubernetes', which swaps the link `..data` on the way to each file. */
const mayConcern = (name: string | null, followed: ReadonlySet<string>): boolean =>
  name === null || name.startsWith('..') || followed.has(name);

/** Tells folders apart; an inode number alone does not, as it is used again at once. */
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
