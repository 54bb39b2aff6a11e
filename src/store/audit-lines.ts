import type { FileHandle } from 'node:fs/promises';
import { type AuditLine, parseLine } from '../keyring/audit.ts';

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
