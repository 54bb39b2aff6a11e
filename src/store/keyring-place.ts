import type { AppendRequest, AppendResult } from './audit-append.ts';
import type { Disk } from './disk.ts';
import { type FileData, type FileStamp, readStamp } from './durable-file.ts';
import { type StoredKeyring, StoreError } from './key-store.ts';
import { backupPath, keyringPath, readKeyringFile } from './keyring-file.ts';
import { storeFault } from './store-fault.ts';

/** `keyring.json` and its backup, with an eye on who else writes there. */
export interface KeyringPlace {
  /** Throws `StoreError`. */
  read(): Promise<StoredKeyring | undefined>;
  /**
   * Replaces `before` (0: none) with the version after it, and appends to the audit. Throws
   * `StoreError`, and leaves what is there, where that is another version or cannot be replaced.
   *
   * @returns what became of the audit's lines, where there were any
   */
  replace(
    data: FileData,
    before: number,
    audit: AppendRequest | undefined,
  ): Promise<AppendResult | undefined>;
}

export function createKeyringPlace(folder: string, disk: Disk): KeyringPlace {
  const path = keyringPath(folder);
  const backup = backupPath(folder);
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
  const save = async (data: FileData, audit: AppendRequest | undefined) => {
    try {
      return await disk.run('saveKeyring', { path, backup, data, known: known?.stamp, audit });
    } catch (error) {
      const failed = { path, backup, known: known?.stamp };
      const left = await disk.run('takeBackKeyring', failed).catch(() => undefined);
      // The next save goes over it.
      if (left !== undefined) known = { version: known?.version ?? 0, stamp: left };
      throw storeFault(`${path} cannot be saved`, folder, error);
    }
  };

  return {
    read,
    async replace(data, before, audit) {
      for (;;) {
        if ((known?.version ?? 0) !== before) throw conflict(path);
        const result = await save(data, audit);
        if (result.saved) {
          known = { version: before + 1, stamp: result.stamp };
          return result.appended;
        }
        if (result.found === undefined) throw gone(path);
        await read();
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
