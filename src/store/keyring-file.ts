import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk } from './disk.ts';
import type { AppendRequest, AppendResult } from './disk-jobs.ts';
import { type FileStamp, ifThere, readStamp } from './durable-file.ts';
import { type StoredKeyring, StoreError, storeFault } from './key-store.ts';
import { type Decoded, decodeKeyring } from './keyring-format.ts';

export const keyringPath = (folder: string): string => join(folder, 'keyring.json');
/** Where the keyring stands that the last save replaced. */
const backupPath = (folder: string): string => `${keyringPath(folder)}.bak`;
export const auditPath = (folder: string): string => join(folder, 'audit.jsonl');

/** `keyring.json` and its backup; it notices when somebody else writes there. */
interface KeyringFile {
  /** Throws `StoreError`. */
  read(): Promise<StoredKeyring | undefined>;
  /**
   * Replaces the version `before` (0: none is stored) by the version after it, and appends to the
   * audit. Throws `StoreError`, and leaves what is there, where that is another version or cannot
   * be replaced.
   *
   * @returns what became of the audit's lines, where there were any
   */
  replace(
    data: string,
    before: number,
    audit: AppendRequest | undefined,
  ): Promise<AppendResult | undefined>;
}

export function createKeyringFile(folder: string, disk: Disk): KeyringFile {
  const path = keyringPath(folder);
  const backup = backupPath(folder);
  /** The version that stands on the disk as long as the file has this stamp. */
  let known: { readonly version: number; readonly stamp: FileStamp } | undefined;

  const read = async (): Promise<StoredKeyring | undefined> => {
    known = undefined;
    const stamp = await readStamp(path).catch((error: unknown) => {
      throw storeFault(`${path} cannot be read`, path, error);
    });
    const stored = await readKeyringFile(folder);
    if (stored === undefined || stamp === undefined) return undefined;
    known = { version: stored.version, stamp };
    return stored;
  };
  const save = async (data: string, audit: AppendRequest | undefined) => {
    try {
      return await disk.run('saveKeyring', { path, backup, data, known: known?.stamp, audit });
    } catch (error) {
      const failed = { path, backup, known: known?.stamp };
      const left = await disk.run('takeBackKeyring', failed).catch(() => undefined);
      // The failed keyring could not be removed; under its own stamp the next save replaces it.
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
    throw new StoreError('damaged', `${path} is gone, though ${traces.join(' and ')} is there`, {
      hint: await wayBack(folder, `to start anew, move ${traces.join(' and ')} away`),
    });
  }
  const message = `${path} cannot be used: ${decoded.reason}`;
  if (decoded.kind === 'newer') {
    const hint = 'run a sidecar at least as new as the one before this';
    throw new StoreError('newer', message, { hint });
  }
  throw new StoreError('damaged', message, {
    hint: await wayBack(folder, 'put a copy of it back, or move it away to start anew'),
  });
}

async function readAndDecode(path: string): Promise<Decoded | undefined> {
  const bytes = await ifThere(readFile(path)).catch((cause: unknown) => {
    throw storeFault(`${path} cannot be read`, path, cause);
  });
  return bytes && decodeKeyring(bytes);
}

/** The files that show that there was a keyring: an empty one in its place would admit nobody. */
async function tracesIn(folder: string): Promise<readonly string[]> {
  const names = await ifThere(readdir(folder)).catch((cause: unknown) => {
    throw storeFault(`${folder} cannot be read`, folder, cause);
  });
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
