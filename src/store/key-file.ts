import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Secret } from '../secret.ts';

/** A key that the sidecar made, in a file of its own that only its owner may read. */
export interface KeyFile {
  readonly key: Secret;
  /** It was made just now; before, there was none. */
  readonly made: boolean;
}

/**
 * Reads the key in a file, or makes one and writes it there. The file is complete and on the disk
 * before its key is used: no crash leaves a key in use that nobody knows.
 *
 * @throws Error of Node's fs, where the folder or the file cannot be read or written
 * @throws RangeError where the file is there and empty: a new key in its place would lock clients
 * out
 */
export async function readOrMakeKey(path: string, make: () => string): Promise<KeyFile> {
  const found = await readIfThere(path);
  if (found !== undefined) {
    if (found === '')
      throw new RangeError(`${path} is empty: put the key back, or delete the file`);
    return { key: new Secret(found), made: false };
  }
  const key = new Secret(make());
  await writePrivately(path, key);
  return { key, made: true };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Write, fsync, rename, fsync the folder: after a crash there is all of it or nothing. */
async function writePrivately(path: string, key: Secret): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const next = join(folder, `.${basename(path)}.${randomUUID()}`);
  try {
    const file = await open(next, 'wx', 0o600);
    try {
      await file.writeFile(`${key.reveal()}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
