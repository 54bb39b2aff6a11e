import { type FileHandle, open } from 'node:fs/promises';
import {
  type AuditLine,
  type AuditVerdict,
  createChainVerifier,
  parseLine,
} from '../keyring/audit.ts';
import { EMPTY_KEYRING } from '../keyring/keyring.ts';
import { ifThere } from './durable-file.ts';
import { type StoredKeyring, storeFault } from './key-store.ts';
import { auditPath, readKeyringFile } from './keyring-file.ts';

interface AuditPage {
  /** The oldest first. */
  readonly lines: readonly AuditLine[];
  /** The number of the last line of the whole audit. */
  readonly count: number;
}

/**
 * Reads lines of the audit in a state folder: those with a number above `after`, at most `limit`.
 * Lines that cannot be read are left out; `verifyAudit` tells of those.
 *
 * @throws StoreError
 */
export function readAudit(
  folder: string,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<AuditPage> {
  return withAuditFile(auditPath(folder), async (file) => {
    if (file === undefined) return { lines: [], count: 0 };
    const lines = await linesAfter(file, after, limit);
    const { last = '' } = await readTail(file);
    return { lines, count: parseLine(last)?.seq ?? lines.at(-1)?.seq ?? 0 };
  });
}

/**
 * Checks the audit in a state folder against its keyring. A sidecar may write there meanwhile.
 *
 * @throws StoreError where the keyring or the audit cannot be read
 */
export function verifyAudit(folder: string): Promise<AuditVerdict> {
  return withAuditFile(auditPath(folder), (file) => verifyAgainst(folder, file));
}

/** After so many rounds the last keyring decides: a busy sidecar never shows the same one twice. */
const MOST_ROUNDS = 50;

/**
 * A sidecar saves the keyring first and appends its lines then. So each keyring is compared with as
 * many lines as it counts, and the lines beyond those with a keyring that is read after them.
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

/** Each `upTo` reads on where the one before stopped; the verifier gets `count` lines in all. */
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

/**
 * Opens the audit's file, undefined where there is none, and closes it after its use.
 *
 * @throws StoreError where the file cannot be opened or read
 */
export async function withAuditFile<T>(
  path: string,
  use: (file: FileHandle | undefined) => Promise<T>,
): Promise<T> {
  let file: FileHandle | undefined;
  try {
    file = await ifThere(open(path, 'r'));
    return await use(file);
  } catch (cause) {
    throw storeFault('the audit cannot be read', path, cause);
  } finally {
    await file?.close();
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

/** The byte at which a line begins that is not far before the first with a number above `after`. */
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
    // The byte `from` may stand in the middle of a line, so the first text is not trusted.
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

const LINE_FEED = 0x0a;
const BLOCK = 64 * 1024;

/** Some whole lines, and the byte behind the last of them. */
interface Lines {
  readonly texts: readonly string[];
  readonly end: number;
}

/**
 * The whole lines of a file from a byte on, a block at a time; what stands behind the last line
 * feed is left out.
 *
 * @param from where a line begins
 */
async function* readLines(file: FileHandle, from: number): AsyncGenerator<Lines> {
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

/** The end of a file: its last whole line, and what stands behind that line's line feed. */
export interface Tail {
  /** The last whole line; undefined: there is none. */
  readonly last: string | undefined;
  /** The byte at which the last whole line begins, and the one behind its line feed. */
  readonly lastStart: number;
  readonly lastEnd: number;
  readonly rest: string;
}

/** @param upTo the byte that counts as the end of the file; undefined: its real end */
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
