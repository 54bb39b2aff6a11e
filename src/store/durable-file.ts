import { randomUUID } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Told before each system call that changes the disk: where a test ends the process. */
export type FaultPoint = (name: string) => void;

export const noFaults: FaultPoint = () => undefined;

/** Tells one file from another that took its place, and from itself after a change. */
export type FileStamp = string;

export interface ReplaceOptions {
  /** Of the new file; the default is 0600. */
  readonly mode?: number;
  /** Who it shall belong to, where this process may say so; the default is this process. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Whether a folder that is missing is made (0700). */
  readonly makeFolder?: boolean;
  /** Done after the new file is on the disk and before it takes the old one's place. */
  readonly beforeRename?: () => Promise<void>;
  readonly fault?: FaultPoint;
}

/**
 * Puts a file in the place of another, or of none: write, fsync, rename, fsync the folder. After a
 * crash there is the old one or the new one, whole. A failure leaves the old one, and nothing else;
 * but where the folder's fsync fails, the new one may stand there.
 *
 * @returns the stamp of the new file
 * @throws Error of Node's fs
 */
export async function replaceFile(
  path: string,
  data: string | readonly Buffer[],
  options: ReplaceOptions = {},
): Promise<FileStamp> {
  const { mode = 0o600, owner, makeFolder = false, beforeRename, fault = noFaults } = options;
  const folder = dirname(path);
  if (makeFolder) await mkdir(folder, { recursive: true, mode: 0o700 });
  const next = join(folder, `.${basename(path)}.${randomUUID()}`);
  let stamp: FileStamp;
  try {
    fault(`create ${basename(path)}`);
    const file = await open(next, 'wx', mode);
    try {
      // Only root gives files away; a group of one's own may be given.
      if (owner !== undefined) await file.chown(owner.uid, owner.gid).catch(() => undefined);
      // What the umask took away is meant to be there; of the owner's bits it takes none.
      if ((mode & 0o077) !== 0) await file.chmod(mode);
      fault(`write ${basename(path)}`);
      if (typeof data === 'string') await file.writeFile(data);
      else await writeAll(file, data);
      fault(`sync ${basename(path)}`);
      await file.sync();
      stamp = stampOf(await file.stat({ bigint: true }));
    } finally {
      await file.close();
    }
    await beforeRename?.();
    fault(`rename ${basename(path)}`);
    await rename(next, path);
  } catch (error) {
    // Why it failed matters more than that this fails for the same reason.
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
  fault(`sync the folder of ${basename(path)}`);
  await syncFolder(folder);
  fault(`after ${basename(path)}`);
  return stamp;
}

/** In one system call where the disk takes it all at once. */
async function writeAll(file: FileHandle, chunks: readonly Buffer[]): Promise<void> {
  let rest = chunks;
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, MOST_VECTORS));
    rest = after(rest, bytesWritten);
  }
}

/** What is left of chunks when so many bytes are gone. */
function after(chunks: readonly Buffer[], bytes: number): readonly Buffer[] {
  let gone = bytes;
  let at = 0;
  for (let chunk = chunks[at]; chunk !== undefined && gone >= chunk.length; chunk = chunks[at]) {
    gone -= chunk.length;
    at += 1;
  }
  const [first, ...others] = chunks.slice(at);
  return first === undefined || gone === 0 ? chunks.slice(at) : [first.subarray(gone), ...others];
}

/** IOV_MAX of Linux. */
const MOST_VECTORS = 1024;

const LEFTOVER = /^\..+\.[0-9a-f]{8}-[0-9a-f-]{27}$/;

/** Whether `name` is what a crash may leave of a `replaceFile` of `of`. */
export const isLeftover = (name: string, of: string): boolean =>
  name.startsWith(`.${of}.`) && LEFTOVER.test(name);

/**
 * Removes what crashes left of files in a folder: they may hold keys. Not while one is written
 * there. Never rejects: a folder that is not there has none.
 *
 * @param of only those of a file with this name
 */
export async function sweepLeftovers(folder: string, of?: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) =>
    of === undefined ? LEFTOVER.test(name) : isLeftover(name, of),
  );
  for (const name of left) await rm(join(folder, name), { force: true }).catch(() => undefined);
}

/** Undefined: there is no file. Not of the inode's own time, which a link changes. */
export async function readStamp(path: string): Promise<FileStamp | undefined> {
  try {
    return stampOf(await stat(path, { bigint: true }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

const stampOf = ({ ino, size, mtimeNs }: BigIntStats): FileStamp => `${ino}-${size}-${mtimeNs}`;

/** So that a rename outlives a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
