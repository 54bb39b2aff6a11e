import { randomUUID } from 'node:crypto';
import { copyFile, link, rename, rm, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import {
  type FaultPoint,
  type FileStamp,
  noFaults,
  readStamp,
  replaceFile,
  syncFolder,
} from './durable-file.ts';
import { type StoredKeyring, StoreError } from './key-store.ts';
import { backupPath, keyringPath, readKeyringFile } from './keyring-file.ts';
import { storeFault } from './store-fault.ts';

/** `keyring.json` and its backup, with an eye on who else writes there. */
export interface KeyringPlace {
  /** Throws `StoreError`. */
  read(): Promise<StoredKeyring | undefined>;
  /** Throws `StoreError` where another version than this one is on the disk (0: none). */
  expect(version: number): Promise<void>;
  /** Replaces `before` with the version after it, or throws and leaves it. */
  replace(bytes: readonly Buffer[], before: number): Promise<void>;
}

export function createKeyringPlace(folder: string, fault: FaultPoint): KeyringPlace {
  const path = keyringPath(folder);
  /** What stands on the disk, as long as it has that stamp. */
  let known: { readonly version: number; readonly stamp: FileStamp } | undefined;

  const read = async (): Promise<StoredKeyring | undefined> => {
    known = undefined;
    const stamp = await stampOf(path);
    const stored = await readKeyringFile(folder);
    if (stored === undefined || stamp === undefined) return undefined;
    known = { version: stored.version, stamp };
    return stored;
  };

  return {
    read,
    async expect(version) {
      const stamp = await stampOf(path);
      if (stamp === undefined && known !== undefined) throw gone(path);
      if (stamp !== known?.stamp) await read();
      if ((known?.version ?? 0) !== version) throw conflict(path);
    },
    async replace(bytes, before) {
      const beforeRename = (): Promise<void> =>
        before === 0 ? Promise.resolve() : backUp(folder, fault);
      try {
        const stamp = await replaceFile(path, bytes, { beforeRename, fault });
        known = { version: before + 1, stamp };
      } catch (error) {
        const left = await takeBack(folder, known?.stamp);
        // The next save goes over it.
        if (left !== undefined) known = { version: before, stamp: left };
        throw storeFault(`${path} cannot be saved`, folder, error);
      }
    },
  };
}

const conflict = (path: string): StoreError =>
  new StoreError('conflict', `${path} was saved by somebody else`, {
    hint: 'let one sidecar alone use this state folder, and restart it',
  });

const gone = (path: string): StoreError =>
  new StoreError('conflict', `${path} is gone, while the sidecar was running`, {
    hint: `put it back, or its backup: cp ${path}.bak ${path}; then restart the sidecar`,
  });

async function stampOf(path: string): Promise<FileStamp | undefined> {
  try {
    return await readStamp(path);
  } catch (error) {
    throw storeFault(`${path} cannot be read`, path, error);
  }
}

async function backUp(folder: string, fault: FaultPoint): Promise<void> {
  fault('link keyring.json.bak');
  await copyOver(keyringPath(folder), backupPath(folder), fault);
}

/** By a link, which costs no copy and leaves no moment without either of the two. */
async function copyOver(from: string, to: string, fault: FaultPoint = noFaults): Promise<void> {
  const next = `${dirname(to)}/.keyring.json.${randomUUID()}`;
  try {
    // Some file systems have no links (SMB, FAT).
    await link(from, next).catch(() => copyFile(from, next));
    fault(`rename ${basename(to)}`);
    await rename(next, to);
  } finally {
    // Where both names are one file already, a rename does nothing at all (rename(2)).
    await unlink(next).catch(() => undefined);
  }
}

/**
 * A save that fails after its rename must not be there: what was before takes its place again.
 *
 * @returns the stamp of the failed one where that fails as well
 */
async function takeBack(
  folder: string,
  before: FileStamp | undefined,
): Promise<FileStamp | undefined> {
  const path = keyringPath(folder);
  const stamp = await readStamp(path).catch(() => before);
  if (stamp === before) return undefined;
  try {
    if (before === undefined) await rm(path, { force: true });
    else await copyOver(backupPath(folder), path);
    await syncFolder(folder);
  } catch {
    // It may be back all the same, but for the folder's sync.
  }
  const after = await readStamp(path).catch(() => before);
  return after === stamp ? stamp : undefined;
}
