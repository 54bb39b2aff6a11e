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
  writevSync,
} from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Told before each system call that changes the disk: where a test ends the process. */
export type FaultPoint = (name: string) => void;

export const noFaults: FaultPoint = () => undefined;

/** Tells one file from another that took its place, and from itself after a change. */
export type FileStamp = string;

/** Pieces of one file, in order. */
export type FileData = readonly (string | Uint8Array)[];

export interface ReplaceRequest {
  readonly path: string;
  readonly data: FileData;
  /** Of the new file; the default is 0600. */
  readonly mode?: number;
  /** Who it shall belong to, where this process may say so; the default is this process. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Whether a folder that is missing is made (0700). */
  readonly makeFolder?: boolean;
  /** What the old file has to hold right before its end; undefined in it: it must not be there. */
  readonly over?: { readonly bytes: Uint8Array | undefined };
}

/** The file that was to be replaced is not what it was any more: its `code` is this. */
export const OVERTAKEN = 'OVERTAKEN';

/**
 * Puts a file in the place of another, or of none: write, fsync, rename, fsync the folder. After a
 * crash there is the old one or the new one, whole. A failure leaves the old one, and nothing else;
 * but where the folder's fsync fails, the new one may stand there.
 *
 * It waits for the disk, and so belongs on a thread of its own: see {@link Disk}.
 *
 * @param beforeRename done after the new file is on the disk and before it takes the other's place
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
    // Why it failed matters more than that this fails for the same reason.
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
    // Only root gives files away; a group of one's own may be given.
    if (owner !== undefined) quietly(() => fchownSync(file, owner.uid, owner.gid));
    // What the umask took away is meant to be there; of the owner's bits it takes none.
    if ((mode & 0o077) !== 0) fchmodSync(file, mode);
    fault(`write ${basename(path)}`);
    writeAll(file, data);
    fault(`sync ${basename(path)}`);
    fsyncSync(file);
    return stampOf(fstatSync(file, { bigint: true }));
  } finally {
    closeSync(file);
  }
}

/** In one system call where the disk takes it all at once. */
export function writeAll(file: number, data: FileData): void {
  let rest: readonly Uint8Array[] = data.map((piece) =>
    typeof piece === 'string' ? Buffer.from(piece) : piece,
  );
  while (rest.length > 0) rest = after(rest, writevSync(file, rest.slice(0, MOST_VECTORS)));
}

/** What is left of chunks when so many bytes are gone. */
function after(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
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

export const stampOf = ({ ino, size, mtimeNs }: BigIntStats): FileStamp =>
  `${ino}-${size}-${mtimeNs}`;

/** Of a file what it holds; of a folder its names, so that a rename outlives a power cut. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Where another error says why, or nothing depends on it. */
export function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // Nothing to be done.
  }
}
