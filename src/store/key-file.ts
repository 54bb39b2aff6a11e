import { readFile } from 'node:fs/promises';
import { Secret } from '../secret.ts';
import { createDisk, type Disk } from './disk.ts';

/** A key that the sidecar made, in a file of its own that only its owner may read. */
export interface KeyFile {
  readonly key: Secret;
  /** It was made just now; before, there was none. */
  readonly made: boolean;
}

/**
 * Puts a key alone into a file, for its owner alone, and its folder (0700) where there is none. It
 * is on the disk when this resolves; where it rejects, the file is as it was.
 *
 * @throws Error of Node's fs
 */
export async function writeKeyFile(path: string, key: Secret, disk: Disk): Promise<void> {
  await disk.run('replace', { path, data: [`${key.reveal()}\n`], makeFolder: true });
}

/**
 * The key in a file, without the white space around it. Undefined where there is no file, or
 * nothing in it.
 *
 * @throws Error of Node's fs
 */
export async function readKeyFile(path: string): Promise<Secret | undefined> {
  const text = await readIfThere(path);
  return text === undefined || text === '' ? undefined : new Secret(text);
}

/**
 * Reads the key that LiteLLM runs with in a slot, or makes one and writes it there. The file is
 * complete and on the disk before its key is used: no crash leaves a key in use that nobody knows.
 *
 * @throws Error of Node's fs, where the folder or the file cannot be read or written
 * @throws RangeError where the file is there and empty: a new key in its place would lock LiteLLM's
 * callers out
 */
export async function readOrMakeKey(path: string, make: () => string): Promise<KeyFile> {
  const found = await readIfThere(path);
  if (found === '') throw new RangeError(`${path} is empty: put the key back, or delete the file`);
  if (found !== undefined) return { key: new Secret(found), made: false };
  const key = new Secret(make());
  await writeKeyFile(path, key, createDisk({ isServing: () => false }));
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
