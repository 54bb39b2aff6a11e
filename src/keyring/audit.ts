import { hash } from 'node:crypto';
import type { AuditHead } from './keyring.ts';

/** One line of the audit, as it stands in the file. It holds no key and no digest of one. */
export interface AuditLine {
  /** From 1. */
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** `cli:alice`, `api:10.0.0.7`, `schedule`, `declared:dotenv`, `sidecar`. */
  readonly by: string;
  /** What was done, such as `rotated`, `clock-started` or `tombstone-used`. */
  readonly action: string;
  readonly client?: string | undefined;
  /** The ids of the generation before and of the one after. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** What the action does not say by itself, such as the grace of a rotation. */
  readonly detail?: Readonly<Record<string, string | number | boolean>> | undefined;
  /** SHA-256 of the line before, base64url; '' in the first. */
  readonly prev: string;
}

/** What is to be written; `appendLine` gives it its place in the chain. */
export type AuditEntry = Omit<AuditLine, 'seq' | 'prev'>;

/** SHA-256 of a line's text, without its line feed. */
export const digestOfLine = (text: string): string => hash('sha256', text, 'base64url');

/** Puts an entry at the end of the chain; its line stays in `pending` until the file has it. */
export function appendLine(head: AuditHead, entry: AuditEntry): AuditHead {
  const { at, by, action, client, from, to, detail } = entry;
  const seq = head.count + 1;
  // JSON.stringify escapes line feeds, so that one entry is always one line.
  const text = JSON.stringify({ seq, at, by, action, client, from, to, detail, prev: head.head });
  return { count: seq, head: digestOfLine(text), pending: [...head.pending, text] };
}

/** Reads a line, and checks its place in the chain alone; undefined: the text is no such line. */
export function parseLine(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as Partial<AuditLine> | null;
    const placed = Number.isSafeInteger(line?.seq) && typeof line?.prev === 'string';
    return placed ? (line as AuditLine) : undefined;
  } catch {
    return undefined;
  }
}

/** The number of the first pending line; where none is pending, of the next line. */
export const firstPending = ({ count, pending }: AuditHead): number => count - pending.length + 1;

/** The first line that is wrong, from 1, and in words what is wrong with it. */
interface AuditFault {
  readonly ok: false;
  readonly line: number;
  /** It quotes nothing of the line. */
  readonly message: string;
}

export type AuditVerdict = { readonly ok: true; readonly count: number } | AuditFault;

/** Lines that follow one another: how many, the digest of the last, and the first fault in them. */
export interface Chain extends Pick<AuditHead, 'count' | 'head'> {
  readonly fault?: AuditFault;
}

/**
 * The chain with one more line. The text of each line is covered by the `prev` of the next one, and
 * that of the last line by the keyring: no line can be changed, removed or added without a fault.
 */
export function follow(chain: Chain, text: string): Chain {
  if (chain.fault !== undefined) return chain;
  const count = chain.count + 1;
  const line = parseLine(text);
  const fault = (at: number, message: string): Chain => ({
    ...chain,
    fault: { ok: false, line: at, message },
  });
  if (line === undefined) return fault(count, `line ${count} cannot be read: it is not JSON`);
  if (line.seq !== count) {
    return fault(count, `line ${count} is missing: line ${line.seq} stands in its place`);
  }
  if (line.prev === chain.head) return { count, head: digestOfLine(text) };
  if (count === 1) return fault(1, 'line 1 was changed: it says that it follows on another one');
  const words = `line ${count} does not follow on line ${count - 1}: one of the two was changed`;
  return fault(count - 1, words);
}

/**
 * Compares the lines of the audit's file, as far as the keyring counts them, with the keyring.
 * Those that are `pending` there may be missing.
 *
 * @param isMore whether something stands behind these lines: a part of a line, or an added one
 */
export function verdictOf(lines: Chain, audit: AuditHead, isMore: boolean): AuditVerdict {
  const { count, head, pending } = audit;
  const fault = (line: number, message: string): AuditVerdict => ({ ok: false, line, message });
  if (lines.fault !== undefined) return lines.fault;
  const next = lines.count + 1;
  if (isMore && next <= count) {
    return fault(next, `line ${next} is incomplete, as a crash leaves it: a start mends that`);
  }
  const first = firstPending(audit);
  const chain = next < first ? lines : pending.slice(next - first).reduce<Chain>(follow, lines);
  if (chain.fault !== undefined) return chain.fault;
  if (chain.count < count) {
    return fault(next, `line ${next} is missing: the keyring counts ${count} lines`);
  }
  if (chain.head !== head) {
    return fault(count, `line ${count} is not the last one that the keyring knows of`);
  }
  if (!isMore) return { ok: true, count };
  const why = 'it was added, or an older keyring was put back';
  return fault(next, `line ${next} is not one that the keyring counts: ${why}`);
}
