import { open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** How many bytes the path of a socket may have: Linux takes 107, macOS and the BSDs 103. */
const MOST_BYTES = 103;

/** A folder under a name that is short enough for the paths of its sockets. */
export interface SocketFolder {
  /** What to listen on or to connect to. */
  at(name: string): string;
  /** After this the paths that `at` gave lead nowhere. */
  close(): Promise<void>;
}

/**
 * Opens a folder for sockets. Node cuts a path that is too long, in silence, and listens at another
 * one. On Linux a folder that is open has a second, short name: `/proc/self/fd/<number>`.
 *
 * @param longest the longest name that `at` will be asked for
 * @throws Error of Node's fs; with the code ENAMETOOLONG where the folder has no short name
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
 * A path by which a client can connect to a socket, however long the socket's own path is; to be
 * closed after the connection is made. Does not look whether the socket is there.
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
