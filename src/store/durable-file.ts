import { randomUUID } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Called before each system call that changes the disk; a test ends the process there. */
export type FaultPoint = (name: string) => void;

export const noFaults: FaultPoint = () => undefined;

/** Tells one file from another that took its place, and from itself after a change. */
export type FileStamp = string;

export interface ReplaceRequest {
  readonly path: string;
  readonly data: string;
  /** The mode of the new file; the default is 0600. */
  readonly mode?: number;
  /** The owner of the new file, where this process may give it away; the default is its user. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Whether a folder that is missing is made (0700). */
  readonly makeFolder?: boolean;
  /** What the old file must hold when it is replaced; `bytes` undefined: no file may be there. */
  readonly over?: { readonly bytes: Uint8Array | undefined };
}

/** The `code` of the error where somebody else changed the file that was to be replaced. */
export const OVERTAKEN = 'OVERTAKEN';

/**
 * Puts a file in the place of another, or of none: write, fsync, rename, fsync the folder. After a
 * crash there is the old one or the new one, whole. A failure leaves the old one, and nothing else;
 * but where the folder's fsync fails, the new one may stand there.
 *
 * The call blocks its thread while it waits for the disk, so it is made through `Disk`.
 *
 * @param beforeRename called when the new file is on the disk and has not taken the old one's place
 * @returns the stamp of the new file
 * @throws Error of Node's fs; one with the code OVERTAKEN
 */
export function replaceFile(
  request: ReplaceRequest,
  fault: FaultPoint = noFaults,
  beforeRename: () => void = () => undefined,
): FileStamp {
  const { path } = request;
  const folder = dirname(path);
  const next = join(folder, `.${basename(path)}.${randomUUID()}`);
  let stamp: FileStamp;
  try {
    stamp = writeNew(next, request, fault);
    if (request.over !== undefined) expectOld(path, request.over.bytes);
    beforeRename();
    fault(`rename ${basename(path)}`);
    renameSync(next, path);
  } catch (error) {
    // An error of the clean-up would hide the one that matters.
    quietly(() => rmSync(next, { force: true }));
    throw error;
  }
  fault(`sync the folder of ${basename(path)}`);
  syncPath(folder);
  fault(`after ${basename(path)}`);
  return stamp;
}

function writeNew(next: string, request: ReplaceRequest, fault: FaultPoint): FileStamp {
  const { path, data, mode = 0o600, owner } = request;
  if (request.makeFolder === true) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  fault(`create ${basename(path)}`);
  const file = openSync(next, 'wx', mode);
  try {
    // Only root may give a file to another user; everybody may give it to a group of their own.
    if (owner !== undefined) quietly(() => fchownSync(file, owner.uid, owner.gid));
    // The umask took bits for the group and others away that are meant to be there.
    if ((mode & 0o077) !== 0) fchmodSync(file, mode);
    fault(`write ${basename(path)}`);
    writeFileSync(file, data);
    fault(`sync ${basename(path)}`);
    fsyncSync(file);
    return stampOf(fstatSync(file, { bigint: true }));
  } finally {
    closeSync(file);
  }
}

function expectOld(path: string, bytes: Uint8Array | undefined): void {
  let found: Buffer | undefined;
  try {
    found = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const same = found === undefined || bytes === undefined ? found === bytes : found.equals(bytes);
  if (same) return;
  throw Object.assign(new Error(`${path} was written by somebody else`), { code: OVERTAKEN });
}

/** The name of a temporary file: a dot, the name of the file to be replaced, and a UUID. */
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
export const stampOf = ({ ino, size, mtimeNs }: BigIntStats): FileStamp =>
  `${ino}-${size}-${mtimeNs}`;

/** Syncs what a file holds, or the names in a folder, so that a rename outlives a power cut. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Does something whose failure changes nothing, or is explained by another error. */
export function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // The caller goes on either way.
  }
}
