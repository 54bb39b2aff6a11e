import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type AuditLine, digestOfLine, firstPending, parseLine } from '../keyring/audit.ts';
import type { AuditHead } from '../keyring/keyring.ts';
import { linesAfter, readTail, type Tail, withAuditFile } from './audit-reader.ts';
import { syncPath } from './durable-file.ts';
import { storeFault } from './key-store.ts';

/** A repair of the audit's file, of which the audit itself is to tell. */
export interface AuditRepair {
  /**
   * `torn`: a part of a line was cut off; `appended`: lines that a crash kept out of the file;
   * `adopted`: lines that the keyring did not count, as it is older than they are.
   */
  readonly kind: 'torn' | 'appended' | 'adopted';
  /** How many lines were cut off, appended or adopted. */
  readonly lines: number;
  /** The repair in words for the operator. */
  readonly message: string;
}

/**
 * The writing side of the audit's file, which only grows, by whole lines. New lines are saved with
 * the keyring as `pending`, and appended to the file after that; lines that could not be appended
 * stay owed, and are pending in each save until they are in the file.
 */
interface AuditLog {
  /** Compares the file with what the keyring counts, and mends it. Throws `StoreError`. */
  open(head: AuditHead): Promise<AuditHead>;
  /** The lines to be saved as pending: those owed, and those of this keyring that are new. */
  linesDue(audit: AuditHead): readonly string[];
  /**
   * Appends the lines that were due: all of them, or none. Never rejects: lines that could not be
   * appended stay owed.
   *
   * @param count the number of the last line that is in the file or owed to it from now on
   */
  append(due: readonly string[], count: number): Promise<void>;
  readonly warnings: readonly string[];
}

export function createAuditLog(path: string, onRepair: (repair: AuditRepair) => void): AuditLog {
  const found = new Set<string>();
  const file = createAppendedFile(path);
  let owed: readonly string[] = [];
  /** The number of the last line that is in the file or owed to it. */
  let settled = 0;
  let repairs: AuditRepair[] = [];
  let failure: string | undefined;

  const append: AuditLog['append'] = async (due, count) => {
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
    for (const repair of repairs.splice(0)) {
      found.add(repair.message);
      onRepair(repair);
    }
  };

  return {
    async open(head) {
      const state = await withAuditFile(path, (opened) => inspect(head, opened));
      file.cutLater(state.cutAt);
      for (const warning of state.warnings) found.add(warning);
      repairs = [...state.repairs];
      await append(state.owed, state.head.count);
      return state.head;
    },
    linesDue: (audit) => [...owed, ...newLines(audit, settled)],
    append,
    get warnings() {
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

/** How the end of the file compares with what the keyring counts. */
interface Finding {
  /** The head from which the next line goes on. */
  readonly head: AuditHead;
  /** The lines that the file lacks at its end. */
  readonly owed: readonly string[];
  readonly repairs: readonly AuditRepair[];
  /** The faults that cannot be repaired. */
  readonly warnings: readonly string[];
}

const NO_TAIL: Tail = { last: undefined, lastStart: 0, lastEnd: 0, rest: '' };

/** Compares the end of the file with what the keyring counts; writes nothing. */
async function inspect(
  head: AuditHead,
  file: FileHandle | undefined,
): Promise<Finding & { readonly cutAt: number | undefined }> {
  if (file === undefined) return { ...compare(head, NO_TAIL), cutAt: undefined };
  const tail = await readTail(file);
  const isLine = tail.last === undefined || parseLine(tail.last) !== undefined;
  if (isLine) {
    const cutAt = tail.rest === '' ? undefined : tail.lastEnd;
    return { ...(await compareWith(head, tail, file)), cutAt };
  }
  // After a power cut even the last whole line may hold other bytes than were written.
  const before = await readTail(file, tail.lastStart);
  const rest = `${tail.last}\n${tail.rest}`;
  return { ...(await compareWith(head, { ...before, rest }, file)), cutAt: tail.lastStart };
}

const compareWith = (head: AuditHead, tail: Tail, file: FileHandle): Finding | Promise<Finding> =>
  numberOf(tail) > head.count ? compareLonger(head, tail, file) : compare(head, tail);

const numberOf = ({ last }: Tail): number => (last === undefined ? 0 : (parseLine(last)?.seq ?? 0));

function compare(head: AuditHead, tail: Tail): Finding {
  const { last, rest } = tail;
  const { repairs, complete } = restOf(head, rest);
  const seq = numberOf(tail);
  const first = firstPending(head);
  const owed = [...complete, ...head.pending.slice(Math.max(0, seq + 1 - first))];
  if (owed.length > 0) {
    const message = `${owed.length} lines were lacking in the audit, and were appended`;
    repairs.push({ kind: 'appended', lines: owed.length, message });
  }
  const digest = last === undefined ? '' : digestOfLine(last);
  const linked = owed[0] === undefined ? head.head : parseLine(owed[0])?.prev;
  const lost = head.count - owed.length - seq;
  const warnings: string[] = [];
  if (lost > 0) warnings.push(`the audit lacks ${lost} lines that were written: ${ADVICE}`);
  else if (linked !== digest) warnings.push(`the audit's last line was changed: ${ADVICE}`);
  return { head: { ...head, pending: [] }, owed, repairs, warnings };
}

const ADVICE = 'see `sidecar audit verify`';

/**
 * What stands behind the last line feed is cut off. It may be a complete line that lacks only its
 * line feed: then it is written again, as a pending line or as the last one that was not pending.
 */
function restOf(
  head: AuditHead,
  rest: string,
): { readonly repairs: AuditRepair[]; readonly complete: readonly string[] } {
  if (rest === '' || head.pending.includes(rest)) return { repairs: [], complete: [] };
  if (digestOfLine(rest) === head.head) return { repairs: [], complete: [rest] };
  const message = `${Buffer.byteLength(rest)} bytes of a torn line were cut off the audit`;
  return { repairs: [{ kind: 'torn', lines: 1, message }], complete: [] };
}

/** The file has more lines than a keyring that was put back from a copy: none is thrown away. */
async function compareLonger(head: AuditHead, tail: Tail, file: FileHandle): Promise<Finding> {
  const { repairs } = restOf(head, tail.rest);
  const lines = await linesAfter(file, head.count, Infinity);
  const digest = chainEnd(head, lines);
  const settled = { ...head, pending: [] };
  if (digest === undefined) {
    const warnings = [`the audit has lines that the sidecar did not write: ${ADVICE}`];
    return { head: settled, owed: [], repairs, warnings };
  }
  const message =
    `the audit has ${lines.length} lines more than the keyring counts: ` +
    `an older keyring was put back`;
  repairs.push({ kind: 'adopted', lines: lines.length, message });
  const count = head.count + lines.length;
  return { head: { ...settled, count, head: digest }, owed: [], repairs, warnings: [] };
}

/** The digest of the last of these lines; undefined: they do not follow on from the head. */
function chainEnd(head: AuditHead, lines: readonly AuditLine[]): string | undefined {
  let end = head.head;
  for (const [at, line] of lines.entries()) {
    if (line.seq !== head.count + 1 + at || line.prev !== end) return undefined;
    end = digestOfLine(JSON.stringify(line));
  }
  return end;
}
