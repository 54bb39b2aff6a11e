import { randomUUID } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Tells one file from another that took its place, and from itself after a change. */
export type FileStamp = string;

interface ReplaceOptions {
  /** The mode of the new file; the default is 0600. */
  readonly mode?: number;
  /** The owner of the new file, where this process may give it away; the default is its user. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Called when the new file is on the disk and has not taken the old one's place. */
  readonly beforeRename?: () => Promise<void>;
}

/**
 * Puts a file in the place of another, or of none: write, fsync, rename, fsync the folder. After a
 * crash there is the old one or the new one, whole. A failure leaves the old one, and nothing else;
 * but where the folder's fsync fails, the new one may stand there.
 *
 * @returns the stamp of the new file
 * @throws Error of Node's fs, or what `beforeRename` throws
 */
export async function replaceFile(
  path: string,
  data: string,
  options: ReplaceOptions = {},
): Promise<FileStamp> {
  const folder = dirname(path);
  const next = temporaryName(path);
  let stamp: FileStamp;
  try {
    stamp = await writeNew(next, data, options);
    await options.beforeRename?.();
    await rename(next, path);
  } catch (error) {
    // An error of the clean-up would hide the one that matters.
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncPath(folder);
  return stamp;
}

async function writeNew(
  next: string,
  data: string,
  { mode = 0o600, owner }: ReplaceOptions,
): Promise<FileStamp> {
  const file = await open(next, 'wx', mode);
  try {
    // Only root may give a file to another user; everybody may give it to a group of their own.
    if (owner !== undefined) await file.chown(owner.uid, owner.gid).catch(() => undefined);
    // The umask took bits for the group and others away that are meant to be there.
    if ((mode & 0o077) !== 0) await file.chmod(mode);
    await file.writeFile(data);
    await file.sync();
    return stampOf(await file.stat({ bigint: true }));
  } finally {
    await file.close();
  }
}

/** A file beside another one that `sweepLeftovers` removes: a dot, the other's name, and a UUID. */
export const temporaryName = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomUUID()}`);

const LEFTOVER = /^\..+\.[0-9a-f]{8}-[0-9a-f-]{27}$/;

/**
 * Removes the temporary files that a crash in `replaceFile` left in a folder, as they may hold
 * keys. To be called while no file is written there. Never rejects: a missing folder has none.
 *
 * @param name the one file whose temporary files are removed; undefined: those of all files
 */
export async function sweepLeftovers(folder: string, name?: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const begin = name === undefined ? '.' : `.${name}.`;
  const left = names.filter((each) => each.startsWith(begin) && LEFTOVER.test(each));
  for (const each of left) await rm(join(folder, each), { force: true }).catch(() => undefined);
}

/** What a call of Node's fs resolves to; undefined where the file or folder is not there. */
export async function ifThere<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The stamp of a file; undefined: there is none. */
export async function readStamp(path: string): Promise<FileStamp | undefined> {
  const stats = await ifThere(stat(path, { bigint: true }));
  return stats && stampOf(stats);
}

/** Without the time of the inode itself, which changes when a link to the file is made. */
const stampOf = ({ ino, size, mtimeNs }: BigIntStats): FileStamp => `${ino}-${size}-${mtimeNs}`;

/** Syncs what a file holds, or the names in a folder, so that a rename outlives a power cut. */
export async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
