import { randomUUID } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Tells one file from another that took its place, and from itself after a change. */
export type FileStamp = string;

/** Who may read and write a file. */
export interface Access {
  /** The nine bits for the owner, the group and others. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Told in words what the disk did not do; the file is written all the same. */
export type OnShortcoming = (shortcoming: string) => void;

interface ReplaceOptions {
  /** Where the new file is one for others, too; left out, it is for its user alone. */
  readonly forOthers?: {
    /** Of the file before, taken over as far as this process may; undefined: 0600. */
    readonly access: Access | undefined;
    readonly onShortcoming: OnShortcoming;
  };
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
    stamp = await writeNew(next, data, path, options);
    await options.beforeRename?.();
    await rename(next, path);
  } catch (error) {
    // An error of the clean-up would hide the one that matters.
    await rm(next, { force: true }).catch(() => undefined);
    throw error;
  }
  const tell = options.forOthers?.onShortcoming;
  const loss = 'after a power cut the file before may be back';
  await orTell(syncPath(folder), tell, (code) => `${folder} cannot be synced (${code}): ${loss}`);
  return stamp;
}

async function writeNew(
  next: string,
  data: string,
  path: string,
  { forOthers }: ReplaceOptions,
): Promise<FileStamp> {
  const file = await open(next, 'wx', 0o600);
  try {
    // Before the data: who has the empty file open could read them later.
    if (forOthers !== undefined) await giveAccess(file, path, forOthers);
    await file.writeFile(data);
    const loss = 'a power cut may empty it';
    const tell = forOthers?.onShortcoming;
    await orTell(file.sync(), tell, (code) => `${path} cannot be synced (${code}): ${loss}`);
    return stampOf(await file.stat({ bigint: true }));
  } finally {
    await file.close();
  }
}

/** What a file system answers that cannot do a thing, or does not let this process do it. */
const NOT_HERE = ['EPERM', 'EACCES', 'EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'ENOTTY'];

/** Resolves where the disk cannot do it and somebody is told; any other failure is one. */
export async function orTell(
  work: Promise<unknown>,
  tell: OnShortcoming | undefined,
  words: (code: string) => string,
): Promise<void> {
  try {
    await work;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (tell === undefined || !NOT_HERE.includes(code)) throw error;
    tell(words(code));
  }
}

/**
 * Gives a new file the mode, group and owner of the one before, in the order in which a process
 * that is not all-powerful may do it. Everybody may give a file to a group of their own, root alone
 * to another user. Another group than the one before is given nothing to read.
 */
async function giveAccess(
  file: FileHandle,
  path: string,
  { access, onShortcoming }: NonNullable<ReplaceOptions['forOthers']>,
): Promise<void> {
  const ignore = (): void => undefined;
  const made = await file.stat();
  const wanted: Access = access ?? { mode: 0o600, uid: made.uid, gid: made.gid };
  const { uid, gid } = wanted;
  if (made.gid !== gid) await orTell(file.chown(-1, gid), ignore, () => '');
  const isOtherGroup = made.gid !== gid && (await file.stat()).gid !== gid;
  const mode = isOtherGroup ? wanted.mode & 0o707 : wanted.mode;
  if ((made.mode & 0o777) !== mode) await orTell(file.chmod(mode), ignore, () => '');
  if (made.uid !== uid) await orTell(file.chown(uid, -1), ignore, () => '');
  const [is, should] = [accessWords(await file.stat()), accessWords(wanted)];
  if (is !== should) onShortcoming(`${path} has ${is}, and cannot be given ${should}`);
}

const accessWords = ({ mode, uid, gid }: Access): string =>
  `mode 0${(mode & 0o777).toString(8).padStart(3, '0')} of user ${uid}, group ${gid}`;

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
