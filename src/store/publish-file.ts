import { lstat, readlink, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Secret } from '../secret.ts';
import type { Disk } from './disk.ts';
import { publishError } from './publish-error.ts';

/**
 * Puts a key alone, and a line feed, into a file of mode 0600. Who reads sees the old file or the
 * new one, whole; it is on the disk when this resolves. The folder must be there: one that is made
 * where a mount is missing would hide the key. A symbolic link stays, and what it points at is
 * replaced.
 *
 * @throws Error that says what is wrong with the place; the file is as it was
 */
export async function publishToFile(path: string, key: Secret, disk: Disk): Promise<void> {
  let target = path;
  try {
    target = await behindLinks(path);
    await disk.run('replace', { path: target, data: [`${key.reveal()}\n`] });
  } catch (cause) {
    throw publishError(target, cause);
  }
}

/** As many as Linux follows. */
const MOST_LINKS = 40;

/**
 * What a path stands for, be it there or not.
 *
 * @throws Error of Node's fs; ELOOP where the links have no end
 */
export async function behindLinks(path: string): Promise<string> {
  let at = path;
  for (let links = 0; links <= MOST_LINKS; links++) {
    if (!(await isLink(at))) return at;
    // The folder as it really is: `..` in a link starts there.
    const folder = await realpath(dirname(at)).catch(() => dirname(at));
    at = resolve(folder, await readlink(at));
  }
  throw Object.assign(new Error(`too many symbolic links: ${path}`), { code: 'ELOOP' });
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
