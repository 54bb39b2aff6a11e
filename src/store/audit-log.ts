import { type FileHandle, open } from 'node:fs/promises';
import {
  type AuditLine,
  type AuditVerdict,
  createChainVerifier,
  digestOfLine,
  firstPending,
  parseLine,
} from '../keyring/audit.ts';
import { type AuditHead, EMPTY_KEYRING } from '../keyring/keyring.ts';
import type { Disk } from './disk.ts';
import { type AppendRequest, type AppendResult, errorOf } from './disk-jobs.ts';
import { type StoredKeyring, storeFault } from './key-store.ts';
import { auditPath, readKeyringFile } from './keyring-format.ts';

const LINE_FEED = 0x0a;
const BLOCK = 64 * 1024;

/** Some whole lines, and the byte behind the last of them. */
export interface Lines {
  readonly texts: readonly string[];
  readonly end: number;
}

/**
 * The whole lines of a file from a byte on, a block at a time; what stands behind the last line
 * feed is left out.
 *
 * @param from where a line begins
 */
export async function* readLines(file: FileHandle, from: number): AsyncGenerator<Lines> {
  const block = Buffer.alloc(BLOCK);
  let end = from;
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    const { bytesRead } = await file.read(block, 0, BLOCK, end + rest.length);
    if (bytesRead === 0) return;
    const bytes = Buffer.concat([rest, block.subarray(0, bytesRead)]);
    const last = bytes.lastIndexOf(LINE_FEED);
    rest = bytes.subarray(last + 1);
    end += last + 1;
    if (last >= 0) yield { texts: bytes.toString('utf8', 0, last).split('\n'), end };
  }
}

/** The end of a file: its last whole line, and what stands behind that one's line feed. */
export interface Tail {
  /** Undefined: there is no whole line. */
  readonly last: string | undefined;
  /** Where the last whole line begins, and where it ends. */
  readonly lastStart: number;
  readonly lastEnd: number;
  readonly rest: string;
}

/** @param upTo as if the file ended there */
export async function readTail(file: FileHandle, upTo?: number): Promise<Tail> {
  const size = upTo ?? (await file.stat()).size;
  for (let length = Math.min(size, BLOCK); ; length = Math.min(size, length * 2)) {
    const bytes = Buffer.alloc(length);
    const from = size - length;
    const { bytesRead } = await file.read(bytes, 0, length, from);
    const ends = bytes.subarray(0, bytesRead).lastIndexOf(LINE_FEED);
    const before = ends > 0 ? bytes.lastIndexOf(LINE_FEED, ends - 1) : -1;
    if (before < 0 && length < size) continue;
    return {
      last: ends < 0 ? undefined : bytes.toString('utf8', before + 1, ends),
      lastStart: from + before + 1,
      lastEnd: from + ends + 1,
      rest: bytes.toString('utf8', ends + 1, bytesRead),
    };
  }
}

/**
 * The lines with a number above `after`, the oldest first. Their place is found by halving, as the
 * numbers rise: to ask again and again for what is new costs the same however long the audit is.
 */
export async function linesAfter(
  file: FileHandle,
  after: number,
  limit: number,
): Promise<AuditLine[]> {
  const found: AuditLine[] = [];
  for await (const { texts } of readLines(file, await startBelow(file, after))) {
    for (const text of texts) {
      if (found.length >= limit) return found;
      const line = parseLine(text);
      if (line !== undefined && line.seq > after) found.push(line);
    }
  }
  return found;
}

/** Where a line begins that is not far before the first one with a number above `after`. */
async function startBelow(file: FileHandle, after: number): Promise<number> {
  let low = 0;
  let high = (await file.stat()).size;
  while (after > 0 && high - low > BLOCK) {
    const middle = Math.floor((low + high) / 2);
    const line = await firstLineFrom(file, middle);
    if (line !== undefined && line.seq <= after) low = line.start;
    else high = middle;
  }
  return low;
}

async function firstLineFrom(
  file: FileHandle,
  from: number,
): Promise<{ readonly seq: number; readonly start: number } | undefined> {
  const begun = readLines(file, from);
  for await (const { texts } of begun) {
    // The first one may be the end of a line only.
    let start = from;
    for (const [at, text] of texts.entries()) {
      const line = at === 0 ? undefined : parseLine(text);
      if (line !== undefined) return { seq: line.seq, start };
      start += Buffer.byteLength(text) + 1;
    }
    return undefined;
  }
  return undefined;
}

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

/** What the audit's file is owed: it stands beside the keyring until it is paid. */
export interface AuditDebt {
  /** Looks at the file and mends it; resolves to where the next line goes. Throws `StoreError`. */
  open(head: AuditHead): Promise<AuditHead>;
  /** What is to be saved as pending: what is owed, and what no save before brought along. */
  dueWith(audit: AuditHead): readonly string[];
  /** What brings it to the file, once that is saved; undefined: there is nothing to bring. */
  bill(due: readonly string[]): AppendRequest | undefined;
  /** After that was saved. Never throws; what failed stays owed. */
  settle(due: readonly string[], count: number, result: AppendResult | undefined): void;
  readonly warnings: readonly string[];
}

export function createAuditDebt(
  path: string,
  disk: Disk,
  onRepair: (repair: AuditRepair) => void,
): AuditDebt {
  const writer = createAuditWriter(path);
  const found = new Set<string>();
  let owed: readonly string[] = [];
  /** The number of the last line that is in the audit or owed to it. */
  let settled = 0;
  let repairs: AuditRepair[] = [];
  let failure: string | undefined;

  const fail = (error: unknown): void => {
    const { message } = storeFault('the audit cannot be written', path, error) as Error;
    failure = `${message}; its lines are kept beside the keyring until it can`;
  };
  const settle = (
    due: readonly string[],
    count: number,
    result: AppendResult | undefined,
  ): void => {
    owed = due;
    settled = count;
    try {
      if (result !== undefined) writer.settle(result);
    } catch (error) {
      fail(error);
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
      const state = await writer.inspect(head).catch((error: unknown) => {
        throw storeFault('the audit cannot be read', path, error);
      });
      for (const warning of state.warnings) found.add(warning);
      repairs = [...state.repairs];
      const request = writer.request(state.owed);
      const result = request && (await disk.run('appendLines', request));
      settle(state.owed, state.head.count, result);
      return state.head;
    },
    dueWith: (audit) => [...owed, ...newLines(audit, settled)],
    bill: writer.request,
    settle,
    get warnings() {
      return failure === undefined ? [...found] : [...found, failure];
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

/** Of a sidecar that saves all the time: no two looks at its keyring are alike. */
const MOST_ROUNDS = 50;

export interface AuditPage {
  /** The oldest first. */
  readonly lines: readonly AuditLine[];
  /** The number of the last line of the whole audit. */
  readonly count: number;
}

/**
 * Lines of the audit in a state folder with a number above `after`, at most `limit`. Lines that
 * cannot be read are left out: `verifyAudit` tells of those.
 *
 * @throws StoreError
 */
export function readAudit(
  folder: string,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<AuditPage> {
  return withAudit(folder, async (file) => {
    if (file === undefined) return { lines: [], count: 0 };
    const lines = await linesAfter(file, after, limit);
    const { last = '' } = await readTail(file);
    return { lines, count: parseLine(last)?.seq ?? lines.at(-1)?.seq ?? 0 };
  });
}

/**
 * Checks the audit in a state folder against its keyring, with or without a sidecar that writes
 * there meanwhile.
 *
 * @throws StoreError where the keyring or the audit cannot be read
 */
export function verifyAudit(folder: string): Promise<AuditVerdict> {
  return withAudit(folder, (file) => verifyAgainst(folder, file));
}

/**
 * A sidecar saves the keyring first and appends its lines then. So each keyring is held against as
 * many lines as it counts, and lines beyond those against a keyring that is read after them.
 */
async function verifyAgainst(folder: string, file: FileHandle | undefined): Promise<AuditVerdict> {
  const feed = createFeed(file);
  let before: StoredKeyring | undefined;
  for (let round = 1; ; round++) {
    const stored = await readKeyringFile(folder);
    const { audit } = (stored ?? { keyring: EMPTY_KEYRING }).keyring;
    const settled = before?.version === stored?.version || round === MOST_ROUNDS;
    const beyond = await feed.upTo(settled ? Infinity : audit.count);
    const verdict = feed.verifier.finish(audit, beyond.torn);
    if (settled || (verdict.ok && beyond.lines === 0)) return verdict;
    before = stored;
  }
}

/** Reads on where it stopped, and gives the verifier as many lines as it may see. */
function createFeed(file: FileHandle | undefined) {
  const verifier = createChainVerifier();
  const waiting: string[] = [];
  let end = 0;
  const push = (count: number): void => {
    const room = Math.max(0, count - verifier.count);
    for (const text of waiting.splice(0, room)) verifier.push(text);
  };
  const upTo = async (count: number): Promise<{ lines: number; torn: boolean }> => {
    push(count);
    if (file === undefined) return { lines: 0, torn: false };
    for await (const lines of readLines(file, end)) {
      end = lines.end;
      for (const text of lines.texts) waiting.push(text);
      push(count);
    }
    return { lines: waiting.length, torn: (await file.stat()).size > end };
  };
  return { verifier, upTo };
}

async function withAudit<T>(
  folder: string,
  use: (file: FileHandle | undefined) => Promise<T>,
): Promise<T> {
  const path = auditPath(folder);
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw storeFault('the audit cannot be read', path, cause);
    }
  }
  try {
    return await use(file);
  } finally {
    await file?.close();
  }
}
