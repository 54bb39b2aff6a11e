import { randomUUID } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import {
  type FaultPoint,
  type FileStamp,
  noFaults,
  quietly,
  type ReplaceRequest,
  replaceFile,
  stampOf,
  syncPath,
} from './durable-file.ts';

/** An error as one thread sends it to another: Node's own copy of an error lacks its `code`. */
export interface CopiedError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
}

export function copyError(error: unknown): CopiedError {
  const { name, message, code, syscall } = error as NodeJS.ErrnoException;
  return {
    ...{ name, message },
    ...(code !== undefined && { code }),
    ...(syscall !== undefined && { syscall }),
  };
}

export const restoreError = ({ message, ...rest }: CopiedError): Error =>
  Object.assign(new Error(message), rest);

export interface AppendRequest {
  readonly path: string;
  readonly lines: readonly string[];
  /** The byte to cut the file at, where something else stands behind its whole lines. */
  readonly cutAt: number | undefined;
}

export interface AppendResult {
  /** The byte to cut the file at before the next append; undefined: only whole lines are there. */
  readonly cutAt: number | undefined;
  /** Why the lines were not appended; undefined: they are on the disk. */
  readonly failure: CopiedError | undefined;
}

/** Appends all of the lines or none; what a failure leaves is cut off now or by the next append. */
export function appendLines(
  { path, lines, cutAt }: AppendRequest,
  fault: FaultPoint,
): AppendResult {
  const state = { cutAt };
  try {
    const file = openSync(path, 'a', 0o600);
    try {
      write(file, path, lines, state, fault);
    } catch (error) {
      quietly(() => cut(file, path, state, fault));
      throw error;
    } finally {
      closeSync(file);
    }
    return { cutAt: undefined, failure: undefined };
  } catch (error) {
    return { ...state, failure: copyError(error) };
  }
}

type State = { cutAt: number | undefined };

function write(
  file: number,
  path: string,
  lines: readonly string[],
  state: State,
  fault: FaultPoint,
): void {
  const name = basename(path);
  cut(file, path, state, fault);
  const { size } = fstatSync(file);
  state.cutAt = size;
  fault(`append to ${name}`);
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  fault(`sync ${name}`);
  fsyncSync(file);
  if (size === 0) syncPath(dirname(path));
  fault(`after ${name}`);
}

function cut(file: number, path: string, { cutAt }: State, fault: FaultPoint): void {
  if (cutAt === undefined || fstatSync(file).size <= cutAt) return;
  fault(`cut ${basename(path)}`);
  ftruncateSync(file, cutAt);
}

interface SaveRequest {
  readonly path: string;
  readonly backup: string;
  readonly data: string;
  /** The stamp of the file to be replaced; undefined: there is none. Any other file stays. */
  readonly known: FileStamp | undefined;
  /** Lines for the audit, once the keyring is saved. */
  readonly audit: AppendRequest | undefined;
}

type SaveResult =
  | { readonly saved: true; readonly stamp: FileStamp; readonly appended: AppendResult | undefined }
  | { readonly saved: false; readonly found: FileStamp | undefined };

/** @throws Error of Node's fs; then `takeBackKeyring` has to follow */
export function saveKeyring(request: SaveRequest, fault: FaultPoint): SaveResult {
  const { path, backup, data, known, audit } = request;
  const found = stampAt(path);
  if (found !== known) return { saved: false, found };
  const backUp = (): void => {
    if (known === undefined) return;
    fault(`link ${basename(backup)}`);
    copyOver(path, backup, fault);
  };
  const stamp = replaceFile({ path, data }, fault, backUp);
  return { saved: true, stamp, appended: audit && appendLines(audit, fault) };
}

interface TakeBackRequest {
  readonly path: string;
  readonly backup: string;
  /** The stamp of the file that stood there before the save that failed. */
  readonly known: FileStamp | undefined;
}

/**
 * Puts the keyring of before back where a save failed after its rename.
 *
 * @returns the stamp of the keyring that failed where it still stands there
 */
export function takeBackKeyring({ path, backup, known }: TakeBackRequest): FileStamp | undefined {
  const look = (): FileStamp | undefined => {
    try {
      return stampAt(path);
    } catch {
      return known;
    }
  };
  const stamp = look();
  if (stamp === known) return undefined;
  // Where only the sync of the folder fails, the keyring of before is back all the same.
  quietly(() => {
    if (known === undefined) rmSync(path, { force: true });
    else copyOver(backup, path, noFaults);
    syncPath(dirname(path));
  });
  return look() === stamp ? stamp : undefined;
}

function stampAt(path: string): FileStamp | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && stampOf(stats);
}

/** Makes `to` a link to what `from` holds: no copy, and no moment in which `to` is missing. */
function copyOver(from: string, to: string, fault: FaultPoint): void {
  const next = `${dirname(to)}/.keyring.json.${randomUUID()}`;
  try {
    try {
      linkSync(from, next);
    } catch {
      // SMB and FAT have no links.
      copyFileSync(from, next);
    }
    fault(`rename ${basename(to)}`);
    renameSync(next, to);
  } finally {
    // A rename between two names of one file does nothing (rename(2)), and `next` stays.
    quietly(() => unlinkSync(next));
  }
}

/**
 * What is done on the disk, each job in one go. Requests and results are sent from one thread to
 * another, so they hold no function.
 */
export const JOBS = {
  replace: (request: ReplaceRequest, fault: FaultPoint) => replaceFile(request, fault),
  /** Makes sure that what a file holds already is on the disk. */
  sync: (path: string) => syncPath(path),
  saveKeyring,
  takeBackKeyring,
  appendLines,
} as const;

type Jobs = typeof JOBS;
export type JobName = keyof Jobs;
export type RequestOf<Name extends JobName> = Parameters<Jobs[Name]>[0];
export type ResultOf<Name extends JobName> = ReturnType<Jobs[Name]>;

/** Does a job whose name is only known at run time, so that its types are not. */
export const doJob = (name: JobName, request: unknown, fault: FaultPoint): unknown =>
  (JOBS[name] as (request: unknown, fault: FaultPoint) => unknown)(request, fault);
