import { lstat, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Bytes that a socket's name may have on any system: Linux takes 107, macOS and the BSDs 103. */
const MOST_BYTES = 103;

/** A folder, by a name that is short enough for the sockets in it. */
export interface SocketFolder {
  /** What to listen on or to connect to. */
  at(name: string): string;
  /** The names that `at` gave are of no use any more. */
  close(): Promise<void>;
}

/**
 * Opens a folder for sockets. Node cuts a name that is too long without a word, and listens on
 * another; Linux has each open folder under a short name, too.
 *
 * @param longest the longest name that `at` is asked for
 * @throws Error of Node's fs; with the code ENAMETOOLONG where there is no short name
 */
export async function openSocketFolder(folder: string, longest: string): Promise<SocketFolder> {
  if (Buffer.byteLength(join(folder, longest)) <= MOST_BYTES) {
    return { at: (name) => join(folder, name), close: () => Promise.resolve() };
  }
  const handle = await open(folder);
  try {
    const short = `/proc/self/fd/${handle.fd}`;
    const [own, same] = await Promise.all([handle.stat(), stat(short).catch(() => undefined)]);
    if (own.ino !== same?.ino || own.dev !== same.dev) {
      const message = `a socket's name may have ${MOST_BYTES} bytes here`;
      throw Object.assign(new Error(message), { code: 'ENAMETOOLONG' });
    }
    return { at: (name) => `${short}/${name}`, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * A name by which a socket can be connected to, however long its path is; `close` once that is
 * done. Does not look whether it is there.
 *
 * @throws as `openSocketFolder`
 */
export async function reachSocket(
  path: string,
): Promise<{ readonly path: string; close(): Promise<void> }> {
  const name = basename(path);
  const folder = await openSocketFolder(dirname(path), name);
  return { path: folder.at(name), close: folder.close };
}

/** What stands under a name. */
export async function kindAt(path: string): Promise<'socket' | 'nothing' | 'other'> {
  try {
    return (await lstat(path)).isSocket() ? 'socket' : 'other';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'nothing';
    throw error;
  }
}
