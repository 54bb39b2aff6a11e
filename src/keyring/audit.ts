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

type AuditProblem = 'edited' | 'removed' | 'reordered' | 'added' | 'cut_off' | 'torn';

export type AuditVerdict =
  | { readonly ok: true; readonly count: number }
  | {
      readonly ok: false;
      /** The line's number, from 1; where the audit is cut off, that of the first missing line. */
      readonly line: number;
      readonly problem: AuditProblem;
      readonly message: string;
    };

/** Reads an audit line by line, in constant memory. */
interface ChainVerifier {
  push(text: string): void;
  /** How many lines were pushed. */
  readonly count: number;
  /**
   * Tells the first thing that is wrong with the lines that were pushed so far.
   *
   * @param head what the keyring counts; the lines that are `pending` there may be missing
   * @param torn whether a part of one more line follows, without a line feed
   */
  finish(head: AuditHead, torn?: boolean): AuditVerdict;
}

/** The first line that does not fit, and what came after it, from which `judge` tells the cause. */
interface Break {
  /** The line's place in the file, from 1. */
  readonly line: number;
  /** The number that the line gives itself; undefined: it cannot be read. */
  readonly seq: number | undefined;
  /** The digest of the line before. */
  readonly before: string;
  readonly digest: string;
  /** The line that follows: its number, and whether its `prev` is the digest of this line. */
  readonly next: { readonly seq: number | undefined; readonly fits: boolean } | undefined;
  /** Whether the line that belongs here stands further down. */
  readonly moved: boolean;
}

/** The lines that were read so far: their count, the last one, and where the chain broke. */
interface Progress {
  readonly count: number;
  readonly text: string;
  readonly digest: string;
  readonly broken: Break | undefined;
}

/**
 * The text of each line is covered by the `prev` of the next one, and that of the last line by the
 * keyring's head: no line can be changed, removed or added without a link that breaks.
 */
export function createChainVerifier(): ChainVerifier {
  let progress: Progress = { count: 0, text: '', digest: '', broken: undefined };
  return {
    push(text) {
      progress = follow(progress, text);
    },
    get count() {
      return progress.count;
    },
    finish(head, torn = false) {
      const all = missing(head, progress).reduce(follow, progress);
      const verdict = judge(head, all);
      const untouched = verdict.ok || verdict.problem === 'cut_off';
      return torn && untouched ? problem(progress.count + 1, 'torn') : verdict;
    },
  };
}

function follow(before: Progress, text: string): Progress {
  const count = before.count + 1;
  const digest = digestOfLine(text);
  return { count, text, digest, broken: breakAt(before, count, digest, parseLine(text)) };
}

function breakAt(
  { broken, digest: before }: Progress,
  count: number,
  digest: string,
  line: AuditLine | undefined,
): Break | undefined {
  if (broken === undefined) {
    if (line?.seq === count && line.prev === before) return undefined;
    return { line: count, seq: line?.seq, before, digest, next: undefined, moved: false };
  }
  const next = broken.next ?? { seq: line?.seq, fits: line?.prev === broken.digest };
  const belongs = line?.seq === broken.line && line.prev === broken.before;
  return { ...broken, next, moved: broken.moved || belongs };
}

/** The pending lines that the file does not have yet. */
function missing(head: AuditHead, { count, text, digest }: Progress): readonly string[] {
  const { pending } = head;
  const first = pending[0];
  if (first === undefined || count >= head.count) return [];
  const at = pending.lastIndexOf(text);
  if (at >= 0) return pending.slice(at + 1);
  if (parseLine(first)?.prev === digest) return pending;
  // The last line was changed, so only the count tells which pending lines follow.
  const there = count - firstPending(head) + 1;
  return there >= 0 ? pending.slice(there) : [];
}

function judge(head: AuditHead, { count, digest, broken }: Progress): AuditVerdict {
  if (broken !== undefined) return judgeBreak(head, count, broken);
  if (count < head.count) return problem(count + 1, 'cut_off');
  if (count > head.count) return problem(head.count + 1, 'added');
  return digest === head.head ? { ok: true, count } : problem(count, 'edited');
}

function judgeBreak(head: AuditHead, count: number, broken: Break): AuditVerdict {
  const { line, seq, next } = broken;
  if (count > head.count) return problem(line, 'added');
  if (seq === line) {
    // This line or the one before was changed. Where the next link fits, it was the one before.
    const intact = next === undefined ? broken.digest === head.head : next.fits;
    return problem(intact && line > 1 ? line - 1 : line, 'edited');
  }
  if (broken.moved) return problem(line, 'reordered');
  const gap = seq !== undefined && seq > line && next?.seq !== line + 1;
  return problem(line, gap && count < head.count ? 'removed' : 'edited');
}

const MESSAGES: Readonly<Record<AuditProblem, (line: number) => string>> = {
  edited: (line) => `line ${line} is not what was written`,
  removed: (line) => `line ${line} is missing: another one stands in its place`,
  reordered: (line) => `line ${line} stands further down: lines were moved`,
  added: (line) => `line ${line} is not the sidecar's: it was added`,
  cut_off: (line) => `the audit ends before line ${line}, which was written`,
  torn: (line) => `line ${line} is incomplete: its end is missing`,
};

const problem = (line: number, kind: AuditProblem): AuditVerdict => ({
  ok: false,
  line,
  problem: kind,
  message: MESSAGES[kind](line),
});
