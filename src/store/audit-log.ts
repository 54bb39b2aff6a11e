import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Chain, digestOfLine, firstPending, follow, parseLine } from '../keyring/audit.ts';
import type { AuditHead } from '../keyring/keyring.ts';
import { type AuditFile, linesAfter, readTail, withAuditFile } from './audit-reader.ts';
import { syncPath } from './durable-file.ts';
import { storeFault } from './key-store.ts';

/**
 * The writing side of the audit's file, which only grows, by whole lines. New lines are saved with
 * the keyring as `pending`, and appended to the file after that; lines that could not be appended
 * stay owed, and are pending in each save until they are in the file.
 *
 * @param onRepair told of each repair, in words for the operator, once it is on the disk
 */
export function createAuditLog(path: string, onRepair: (message: string) => void) {
  const found = new Set<string>();
  const file = createAppendedFile(path);
  let owed: readonly string[] = [];
  /** The number of the last line that is in the file or owed to it. */
  let settled = 0;
  let repairs: string[] = [];
  let failure: string | undefined;

  const append = async (due: readonly string[], count: number): Promise<void> => {
    settled = count;
    try {
      await file.append(due);
    } catch (error) {
      owed = due;
      const { message } = storeFault('the audit cannot be written', path, error) as Error;
      failure = `${message}; its new lines are kept in keyring.json until it can be written`;
      return;
    }
    owed = [];
    failure = undefined;
    for (const message of repairs.splice(0)) {
      found.add(message);
      onRepair(message);
    }
  };

  return {
    /** Compares the file with what the keyring counts, and mends it. Throws `StoreError`. */
    async open(head: AuditHead): Promise<AuditHead> {
      const state = await withAuditFile(path, (opened) => inspect(head, opened));
      file.cutLater(state.cutAt);
      for (const warning of state.warnings) found.add(warning);
      repairs = state.repairs;
      await append(state.owed, state.head.count);
      return state.head;
    },
    /** The lines to be saved as pending: those owed, and those of this keyring that are new. */
    linesDue: (audit: AuditHead): readonly string[] => [...owed, ...newLines(audit, settled)],
    /**
     * Appends the lines that were due: all of them, or none. Never rejects: lines that could not be
     * appended stay owed.
     *
     * @param count the number of the last line that is in the file or owed to it from now on
     */
    append,
    get warnings(): readonly string[] {
      return failure === undefined ? [...found] : [...found, failure];
    },
  };
}

/** A file to which lines are appended, all of them or none. */
function createAppendedFile(path: string) {
  /** The byte to cut the file at, where something else stands behind its whole lines. */
  let cutAt: number | undefined;
  const cut = async (file: FileHandle): Promise<void> => {
    if (cutAt === undefined || (await file.stat()).size <= cutAt) return;
    await file.truncate(cutAt);
  };
  return {
    /** @param at the byte at which the next append cuts the file; undefined: nowhere */
    cutLater(at: number | undefined): void {
      cutAt = at;
    },
    /** On the disk when it resolves. @throws Error of Node's fs */
    async append(lines: readonly string[]): Promise<void> {
      if (lines.length === 0 && cutAt === undefined) return;
      const file = await open(path, 'a', 0o600);
      try {
        await cut(file);
        const { size } = await file.stat();
        cutAt = size;
        await file.appendFile(lines.map((line) => `${line}\n`).join(''));
        await file.sync();
        if (size === 0) await syncPath(dirname(path));
        cutAt = undefined;
      } catch (error) {
        // What the failure leaves in the file is cut off now, or by the next append.
        await cut(file).catch(() => undefined);
        throw error;
      } finally {
        await file.close();
      }
    },
  };
}

/** The lines of a keyring that no save before brought along. */
function newLines(audit: AuditHead, settled: number): readonly string[] {
  const first = firstPending(audit);
  if (first > settled + 1) {
    throw new Error(`this keyring cannot be saved: audit lines before ${first} are not in it`);
  }
  return audit.pending.slice(settled + 1 - first);
}

const ADVICE = 'see `sidecar audit verify`';

/**
 * Compares the end of the file with what the keyring counts; writes nothing. `owed` are the lines
 * that the file lacks at its end, and `cutAt` is the byte to cut it at before they are appended.
 */
async function inspect(audit: AuditHead, file: AuditFile) {
  const { last, end, rest } = await readTail(file);
  const seq = last?.line.seq ?? 0;
  // Behind the last line may stand one that lacks only its line feed: it is written again, as a
  // pending one, or as the last that was not pending.
  const behind = rest.toString();
  const isPending = audit.pending.includes(behind);
  const isLast = !isPending && digestOfLine(behind) === audit.head;
  const missing = audit.pending.slice(Math.max(0, seq + 1 - firstPending(audit)));
  const owed = isLast ? [behind, ...missing] : missing;
  const lost = audit.count - owed.length - seq;
  // A crash tears what was being appended, and all of that is cut off. Where the keyring cannot
  // make up for it, somebody else changed whole lines: they stay, to be looked at.
  const cutAt = lost === 0 ? end : end + rest.lastIndexOf('\n') + 1;
  const torn = isPending || isLast ? 0 : end + rest.length - cutAt;
  const repairs = torn > 0 ? [`${torn} bytes of a torn line were cut off the audit`] : [];
  const common = { cutAt: rest.length === 0 ? undefined : cutAt, repairs };
  if (seq > audit.count) {
    return { ...common, owed: [], ...(await adopt(audit, file, repairs)) };
  }
  if (owed.length > 0) {
    repairs.push(`${owed.length} lines were lacking in the audit, and were appended`);
  }
  const linked = owed[0] === undefined ? audit.head : parseLine(owed[0])?.prev;
  const warnings: string[] = [];
  if (lost > 0) warnings.push(`the audit lacks ${lost} lines that were written: ${ADVICE}`);
  else if (linked !== (last === undefined ? '' : digestOfLine(last.text))) {
    warnings.push(`the audit's last line was changed: ${ADVICE}`);
  }
  return { ...common, owed, head: { ...audit, pending: [] }, warnings };
}

/** The file has more lines than a keyring that was put back from a copy: none is thrown away. */
async function adopt(audit: AuditHead, file: AuditFile, repairs: string[]) {
  let chain: Chain = audit;
  for await (const { text } of linesAfter(file, audit.count)) chain = follow(chain, text);
  const { count, head, fault } = chain;
  if (fault !== undefined) {
    const warnings = [`the audit has lines that the sidecar did not write: ${ADVICE}`];
    return { head: { ...audit, pending: [] }, warnings };
  }
  repairs.push(
    `the audit has ${count - audit.count} lines more than the keyring counts: ` +
      `an older keyring was put back`,
  );
  return { head: { count, head, pending: [] }, warnings: [] };
}
