import { type FileHandle, open } from 'node:fs/promises';
import { type AuditLine, digestOfLine, firstPending, parseLine } from '../keyring/audit.ts';
import type { AuditHead } from '../keyring/keyring.ts';
import type { AppendRequest, AppendResult } from './audit-append.ts';
import { linesAfter, readTail, type Tail } from './audit-lines.ts';
import { errorOf } from './disk-failure.ts';

/** What was found and put right in the audit at the start; the audit should tell of it. */
export interface AuditRepair {
  /**
   * `torn`: a part of a line was cut off; `appended`: lines that a crash kept out of the file;
   * `adopted`: lines that the keyring did not count, as it is older than they are.
   */
  readonly kind: 'torn' | 'appended' | 'adopted';
  /** How many lines. */
  readonly lines: number;
  /** For the operator. */
  readonly message: string;
}

/** What the end of the file says about the keyring's audit. */
export interface AuditState {
  /** Where the next line is to be linked, and its number. */
  readonly head: AuditHead;
  /** What the file lacks at its end. */
  readonly owed: readonly string[];
  readonly repairs: readonly AuditRepair[];
  /** What cannot be put right. */
  readonly warnings: readonly string[];
}

/** The audit's file: it only grows, by whole lines. */
export interface AuditWriter {
  /** Compares the end of the file with what the keyring counts; writes nothing. */
  inspect(head: AuditHead): Promise<AuditState>;
  /**
   * What appends all of the lines or none; undefined: nothing is to be done. What a failure leaves
   * is cut off, at the latest by the next one.
   */
  request(lines: readonly string[]): AppendRequest | undefined;
  /** What became of it; throws why the lines are not on the disk. */
  settle(result: AppendResult): void;
}

export function createAuditWriter(path: string): AuditWriter {
  /** Where whole lines end, if something else stands behind them. */
  let cutAt: number | undefined;

  return {
    inspect: (head) =>
      withFile(path, async (file) => {
        const tail = file === undefined ? NO_TAIL : await readTail(file);
        const end = tail.rest === '' ? undefined : tail.lastEnd;
        cutAt = end;
        // After a power cut even a whole line may be made of something else.
        const garbled = tail.last !== undefined && parseLine(tail.last) === undefined;
        if (file !== undefined && garbled) {
          const before = await readTail(file, tail.lastStart);
          cutAt = tail.lastStart;
          const rest = `${tail.last}\n${tail.rest}`;
          return assess(head, { ...before, rest }, file);
        }
        return assess(head, tail, file);
      }),
    request: (lines) =>
      lines.length === 0 && cutAt === undefined ? undefined : { path, lines, cutAt },
    settle(result) {
      cutAt = result.cutAt;
      if (result.failure !== undefined) throw errorOf(result.failure);
    },
  };
}

const NO_TAIL: Tail = { last: undefined, lastStart: 0, lastEnd: 0, rest: '' };

function assess(
  head: AuditHead,
  { last, rest }: Tail,
  file: FileHandle | undefined,
): AuditState | Promise<AuditState> {
  const repairs: AuditRepair[] = [];
  // A line that lacks but its line feed is cut off and written again.
  const whole = rest !== '' && head.pending.includes(rest);
  const also = !whole && rest !== '' && digestOfLine(rest) === head.head ? [rest] : [];
  if (rest !== '' && !whole && also.length === 0) {
    const message = `${Buffer.byteLength(rest)} bytes of a torn line were cut off the audit`;
    repairs.push({ kind: 'torn', lines: 1, message });
  }
  const seq = last === undefined ? 0 : (parseLine(last)?.seq ?? 0);
  const digest = last === undefined ? '' : digestOfLine(last);
  if (seq > head.count && file !== undefined) return assessLonger(head, file, repairs);
  const first = firstPending(head);
  const owed = [...also, ...head.pending.slice(Math.max(0, seq + 1 - first))];
  if (owed.length > 0) {
    const message = `${owed.length} lines were appended that the audit lacked`;
    repairs.push({ kind: 'appended', lines: owed.length, message });
  }
  const linked = owed[0] === undefined ? head.head : parseLine(owed[0])?.prev;
  const lost = head.count - owed.length - seq;
  const warnings: string[] = [];
  if (lost > 0) warnings.push(`the audit lacks ${lost} lines that were written: ${ADVICE}`);
  else if (linked !== digest) warnings.push(`the audit's last line was changed: ${ADVICE}`);
  return { head: { ...head, pending: [] }, owed, repairs, warnings };
}

const ADVICE = 'see `sidecar audit verify`';

/** A keyring that was put back is older than the audit: nothing that was written is thrown away. */
async function assessLonger(
  head: AuditHead,
  file: FileHandle,
  repairs: AuditRepair[],
): Promise<AuditState> {
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

async function withFile<T>(
  path: string,
  use: (file: FileHandle | undefined) => Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  try {
    return await use(file);
  } finally {
    await file?.close();
  }
}
