import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

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
