import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type StoredKeyring, StoreError } from './key-store.ts';
import { type Decoded, decodeKeyring } from './keyring-format.ts';
import { storeFault } from './store-fault.ts';

export const keyringPath = (folder: string): string => join(folder, 'keyring.json');
/** The one before. */
export const backupPath = (folder: string): string => `${keyringPath(folder)}.bak`;
export const auditPath = (folder: string): string => join(folder, 'audit.jsonl');

/**
 * Reads the keyring in a state folder; undefined: none was ever there.
 *
 * @throws StoreError where it cannot be read, or is gone and left traces
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
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw storeFault(`${path} cannot be read`, path, cause);
  }
  return decodeKeyring(bytes);
}

async function tracesIn(folder: string): Promise<readonly string[]> {
  const kept = [backupPath(folder), auditPath(folder)];
  try {
    const names = await readdir(folder);
    return kept.filter((path) => names.some((name) => join(folder, name) === path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw storeFault(`${folder} cannot be read`, folder, cause);
  }
}

/** What the backup is good for. */
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
