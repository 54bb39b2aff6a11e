import { copyFile, link, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type FileStamp,
  ifThere,
  readStamp,
  replaceFile,
  syncPath,
  temporaryName,
} from './durable-file.ts';
import { type StoredKeyring, StoreError, storeFault } from './key-store.ts';
import { type Decoded, decodeKeyring } from './keyring-format.ts';

export const keyringPath = (folder: string): string => join(folder, 'keyring.json');
/** Where the keyring stands that the last save replaced. */
const backupPath = (folder: string): string => `${keyringPath(folder)}.bak`;
export const auditPath = (folder: string): string => join(folder, 'audit.jsonl');

/** `keyring.json` and its backup; it notices when somebody else writes there. */
export function createKeyringFile(folder: string) {
  const path = keyringPath(folder);
  const backup = backupPath(folder);
  /** The version that stands on the disk as long as the file has this stamp. */
  let known: { readonly version: number; readonly stamp: FileStamp } | undefined;

  /** Throws `StoreError`. */
  const read = async (): Promise<StoredKeyring | undefined> => {
    known = undefined;
    const stamp = await unlessFault(readStamp(path), path);
    const stored = await readKeyringFile(folder);
    if (stored === undefined || stamp === undefined) return undefined;
    known = { version: stored.version, stamp };
    return stored;
  };
  /** Puts the keyring of before back where a save failed after its rename. Never rejects. */
  const takeBack = async (): Promise<void> => {
    const look = () => readStamp(path).catch(() => known?.stamp);
    const stamp = await look();
    if (stamp === known?.stamp) return;
    try {
      if (known === undefined) await rm(path, { force: true });
      else await copyOver(backup, path);
      await syncPath(folder);
    } catch {
      // Where only the sync of the folder fails, the keyring of before is back all the same.
    }
    // Where the failed keyring could not be removed, the next save replaces it under its own stamp.
    if (stamp !== undefined && (await look()) === stamp) {
      known = { version: known?.version ?? 0, stamp };
    }
  };
  const unsaved = (error: unknown): never => {
    throw storeFault(`${path} cannot be saved`, folder, error);
  };

  return {
    read,
    /**
     * Replaces the version `before` (0: none is stored) by the version after it. Throws
     * `StoreError`, and leaves what is there, where that is another version or cannot be replaced.
     */
    async replace(data: string, before: number): Promise<void> {
      for (;;) {
        if ((known?.version ?? 0) !== before) throw conflict(path);
        const found = await readStamp(path).catch(unsaved);
        if (found === known?.stamp) break;
        if (found === undefined) throw gone(path);
        await read();
      }
      const options = known && { beforeRename: () => copyOver(path, backup) };
      try {
        known = { version: before + 1, stamp: await replaceFile(path, data, options) };
      } catch (error) {
        await takeBack();
        unsaved(error);
      }
    },
  };
}

/** Makes `to` a link to what `from` holds: no copy, and no moment in which `to` is missing. */
async function copyOver(from: string, to: string): Promise<void> {
  const next = temporaryName(to);
  try {
    // SMB and FAT have no links.
    await link(from, next).catch(() => copyFile(from, next));
    await rename(next, to);
  } finally {
    // A rename between two names of one file does nothing (rename(2)), and `next` stays.
    await rm(next, { force: true }).catch(() => undefined);
  }
}

const conflict = (path: string): StoreError =>
  new StoreError(`${path} was saved by somebody else`, {
    hint: 'let one sidecar alone use this state folder, and restart it',
  });

const gone = (path: string): StoreError =>
  new StoreError(`${path} is gone, while the sidecar was running`, {
    hint: `put it back, or its backup: cp ${path}.bak ${path}; then restart the sidecar`,
  });

/**
 * Reads the keyring in a state folder; undefined: none was ever there.
 *
 * @throws StoreError where the keyring cannot be read, or is gone and left traces
 */
export async function readKeyringFile(folder: string): Promise<StoredKeyring | undefined> {
  const path = keyringPath(folder);
  const decoded = await readAndDecode(path);
  if (decoded?.ok === true) return decoded.stored;
  if (decoded === undefined) {
    const traces = await tracesIn(folder);
    if (traces.length === 0) return undefined;
    throw new StoreError(`${path} is gone, though ${traces.join(' and ')} is there`, {
      hint: await wayBack(folder, `to start anew, move ${traces.join(' and ')} away`),
    });
  }
  const message = `${path} cannot be used: ${decoded.reason}`;
  if (decoded.isNewer === true) {
    throw new StoreError(message, { hint: 'run a sidecar at least as new as the one before this' });
  }
  throw new StoreError(message, {
    hint: await wayBack(folder, 'put a copy of it back, or move it away to start anew'),
  });
}

async function readAndDecode(path: string): Promise<Decoded | undefined> {
  const bytes = await unlessFault(ifThere(readFile(path)), path);
  return bytes && decodeKeyring(bytes);
}

/** What was read of a path. @throws StoreError where it cannot be read */
const unlessFault = <T>(read: Promise<T>, path: string): Promise<T> =>
  read.catch((cause: unknown) => {
    throw storeFault(`${path} cannot be read`, path, cause);
  });

/** The files that show that there was a keyring: an empty one in its place would admit nobody. */
async function tracesIn(folder: string): Promise<readonly string[]> {
  const names = await unlessFault(ifThere(readdir(folder)), folder);
  const traces = [backupPath(folder), auditPath(folder)];
  return traces.filter((path) => names?.some((name) => join(folder, name) === path));
}

/** Says whether the backup can be put back, and what is to be done where it cannot. */
async function wayBack(folder: string, otherwise: string): Promise<string> {
  const backup = backupPath(folder);
  const decoded = await readAndDecode(backup).catch(() => undefined);
  if (decoded === undefined) return `there is no backup that can be read; ${otherwise}`;
  if (!decoded.ok) return `the backup ${backup} cannot be used either: ${decoded.reason}`;
  return (
    `the backup, one change older, reads well: ` +
    `stop the sidecar, and cp ${backup} ${keyringPath(folder)}; or ${otherwise}`
  );
}
