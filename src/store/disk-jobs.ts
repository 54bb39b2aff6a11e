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
} from 'node:fs';
import { basename, dirname } from 'node:path';
import {
  type FaultPoint,
  type FileData,
  type FileStamp,
  noFaults,
  quietly,
  type ReplaceRequest,
  replaceFile,
  stampOf,
  syncPath,
  writeAll,
} from './durable-file.ts';
import { seal } from './keyring-format.ts';

/** What is kept of an error on its way from one thread to another, where Node drops its code. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
}

export function failureOf(error: unknown): Failure {
  const { name, message, code, syscall } = error as NodeJS.ErrnoException;
  return {
    ...{ name, message },
    ...(code !== undefined && { code }),
    ...(syscall !== undefined && { syscall }),
  };
}

export const errorOf = ({ message, ...rest }: Failure): Error =>
  Object.assign(new Error(message), rest);

export interface AppendRequest {
  readonly path: string;
  readonly lines: readonly string[];
  /** Where whole lines end, if something else stands behind them. */
  readonly cutAt: number | undefined;
}

export interface AppendResult {
  readonly cutAt: number | undefined;
  /** Undefined: the lines are on the disk. */
  readonly failure: Failure | undefined;
}

/** Appends all of the lines or none; what a failure leaves is cut off, or `cutAt` says where. */
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
    return { ...state, failure: failureOf(error) };
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
  writeAll(file, [lines.map((line) => `${line}\n`).join('')]);
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

export interface SaveRequest {
  readonly path: string;
  readonly backup: string;
  /** The new keyring, not sealed yet. */
  readonly data: FileData;
  /** What stands there; undefined: nothing. Where it is something else nothing is done. */
  readonly known: FileStamp | undefined;
  /** Lines for the audit, once the keyring is saved. */
  readonly audit: AppendRequest | undefined;
}

export type SaveResult =
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
  const stamp = replaceFile({ path, data: seal(data) }, fault, backUp);
  return { saved: true, stamp, appended: audit && appendLines(audit, fault) };
}

export interface TakeBackRequest {
  readonly path: string;
  readonly backup: string;
  /** What stood there before the save that failed. */
  readonly known: FileStamp | undefined;
}

/**
 * A save that fails after its rename must not be there: what was before takes its place again.
 *
 * @returns the stamp of the failed one where that fails as well
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
  // It may be back all the same, but for the folder's sync.
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

/** By a link, which costs no copy and leaves no moment without either of the two. */
function copyOver(from: string, to: string, fault: FaultPoint): void {
  const next = `${dirname(to)}/.keyring.json.${randomUUID()}`;
  try {
    try {
      linkSync(from, next);
    } catch {
      // Some file systems have no links (SMB, FAT).
      copyFileSync(from, next);
    }
    fault(`rename ${basename(to)}`);
    renameSync(next, to);
  } finally {
    // Where both names are one file already, a rename does nothing at all (rename(2)).
    quietly(() => unlinkSync(next));
  }
}

/**
 * What is done on the disk, each without letting go of its thread. Requests and results go from one
 * thread to another: they hold no function.
 */
export const JOBS = {
  replace: (request: ReplaceRequest, fault: FaultPoint) => replaceFile(request, fault),
  /** The same with a checksum at its end. */
  replaceSealed: (request: ReplaceRequest, fault: FaultPoint) =>
    replaceFile({ ...request, data: seal(request.data) }, fault),
  /** What stands there already is on the disk. */
  sync: (path: string) => syncPath(path),
  saveKeyring,
  takeBackKeyring,
  appendLines,
} as const;

export type Jobs = typeof JOBS;
export type JobName = keyof Jobs;
export type RequestOf<Name extends JobName> = Parameters<Jobs[Name]>[0];
export type ResultOf<Name extends JobName> = ReturnType<Jobs[Name]>;

/** With the types of a name that is only known when it comes. */
export const doJob = (name: JobName, request: unknown, fault: FaultPoint): unknown =>
  (JOBS[name] as (request: unknown, fault: FaultPoint) => unknown)(request, fault);
