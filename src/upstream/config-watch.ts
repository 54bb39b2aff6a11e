import { ConfigTreeError, digestOfTree, readConfigTree } from './config-tree.ts';
import { stampsOf } from './tree-stamps.ts';

export interface ConfigWatchOptions {
  /** `config.yaml`, or the folder that holds it: as `readConfigTree` takes it. */
  readonly source: string;
  /**
   * Told of the first digest (as `digestOfTree` makes it) or error that settled, and of each that
   * is not what it was told last: a digest is told again after an error. Must not throw.
   */
  readonly onChanged: (digest: string | ConfigTreeError) => void;
  /** Between two looks, in milliseconds. */
  readonly pollMs?: number;
  /** A reading counts once another one so much later agrees, in milliseconds. */
  readonly settleMs?: number;
}

/** Follows LiteLLM's configuration through edits, renames, swapped links, folders that go. */
export interface ConfigWatch {
  /**
   * Looks now; resolves once what stands there at present has settled, which it does not while
   * somebody writes it all the time. Never rejects.
   */
  check(): Promise<void>;
  /** Nothing is told any more. */
  stop(): void;
}

const POLL_MS = 1000;
const SETTLE_MS = 1000;

/**
 * By looks alone: events of a mounted folder get lost. A look that finds nothing new reads no file.
 * It goes by times and sizes. Some file systems count whole seconds: the second reading of an edit
 * comes after that one.
 */
export function createConfigWatch(options: ConfigWatchOptions): ConfigWatch {
  const { pollMs = POLL_MS } = options;
  const looks = createLooks(options);
  const poll = setInterval(() => void looks.check(), pollMs).unref();
  void looks.check();
  return {
    check: looks.check,
    stop() {
      looks.stop();
      clearInterval(poll);
    },
  };
}

/** What stands there, and the stamps it had right before it was read. */
interface Reading {
  readonly stamps: string;
  readonly found: string | ConfigTreeError;
}

/** One look at a time; who asks while one is under way is answered by another one behind it. */
function createLooks(options: ConfigWatchOptions): ConfigWatch {
  const { source, onChanged, settleMs = SETTLE_MS } = options;
  let settled: Reading | undefined;
  let stopped = false;
  let again = false;
  let looking: Promise<void> | undefined;

  const isSettled = async (): Promise<boolean> =>
    settled !== undefined && !mayPass(settled.found) && (await stampsOf(source)) === settled.stamps;

  const settle = async (): Promise<void> => {
    if (await isSettled()) return;
    let last = await read(source);
    // Touched, or an error that lasts.
    while (!stopped && markOf(last) !== markOf(settled)) {
      await pause(settleMs);
      const next = await read(source);
      if (stopped) return;
      if (markOf(next) === markOf(last)) {
        settled = next;
        onChanged(next.found);
        return;
      }
      last = next;
    }
    settled = last;
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

async function read(source: string): Promise<Reading> {
  // First, so that what changes while it is read has other stamps at the next look.
  const stamps = await stampsOf(source);
  try {
    return { stamps, found: digestOfTree(await readConfigTree(source)) };
  } catch (error) {
    if (error instanceof ConfigTreeError) return { stamps, found: error };
    throw error;
  }
}

/** An error of the file system can pass and leave no mark in any stamp: too many open files. */
const mayPass = (found: Reading['found']): boolean =>
  found instanceof ConfigTreeError && found.cause !== undefined;

const markOf = (reading: Reading | undefined): string | undefined =>
  reading?.found instanceof ConfigTreeError ? `error ${reading.found.message}` : reading?.found;

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
