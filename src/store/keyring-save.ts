import { randomUUID } from 'node:crypto';
import { copyFileSync, linkSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type AppendRequest, type AppendResult, appendLines } from './audit-append.ts';
import {
  type FaultPoint,
  type FileData,
  type FileStamp,
  noFaults,
  quietly,
  replaceFile,
  stampOf,
  syncPath,
} from './durable-file.ts';
import { seal } from './sealed-text.ts';

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
