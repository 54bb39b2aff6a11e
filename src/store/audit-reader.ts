import { type FileHandle, open } from 'node:fs/promises';
import {
  type AuditLine,
  type AuditVerdict,
  type Chain,
  follow,
  parseLine,
  verdictOf,
} from '../keyring/audit.ts';
import { EMPTY_KEYRING } from '../keyring/keyring.ts';
import { ifThere } from './durable-file.ts';
import { storeFault } from './key-store.ts';
import { auditPath, readKeyringFile } from './keyring-file.ts';

/**
 * Reads lines of the audit in a state folder, the oldest first: those with a number above `after`,
 * at most `limit`. Lines that cannot be read are left out; `verifyAudit` tells of those. `count` is
 * the number of the last line of the whole audit.
 *
 * @throws StoreError
 */
export function readAudit(
  folder: string,
  { after, limit }: { readonly after: number; readonly limit: number },
) {
  return withAuditFile(auditPath(folder), async (file) => {
    const lines: AuditLine[] = [];
    for await (const { line } of linesAfter(file, after)) {
      if (lines.length >= limit) break;
      lines.push(line);
    }
    return { lines, count: (await readTail(file)).last?.line.seq ?? 0 };
  });
}

/**
 * Checks the audit in a state folder against its keyring. A sidecar may write there meanwhile: it
 * saves the keyring first, and appends its lines then. So the lines that are in the file by now are
 * counted by the keyring that is read next, and what comes behind those is not looked at.
 *
 * @throws StoreError where the keyring or the audit cannot be read
 */
export function verifyAudit(folder: string): Promise<AuditVerdict> {
  return withAuditFile(auditPath(folder), async (file) => {
    const size = await sizeOf(file);
    const { audit } = (await readKeyringFile(folder))?.keyring ?? EMPTY_KEYRING;
    let chain: Chain = EMPTY_KEYRING.audit;
    let end = 0;
    for await (const line of readLines(file, 0)) {
      if (chain.count === audit.count || chain.fault !== undefined) break;
      chain = follow(chain, line.text);
      end = line.end;
    }
    const isMore = chain.count < audit.count ? (await readTail(file)).rest.length > 0 : size > end;
    return verdictOf(chain, audit, isMore);
  });
}

/** The audit's file; undefined: there is none, which reads like an empty one. */
export type AuditFile = FileHandle | undefined;

/**
 * Opens the audit's file, and closes it after its use.
 *
 * @throws StoreError where the file cannot be opened or read
 */
export async function withAuditFile<T>(
  path: string,
  use: (file: AuditFile) => Promise<T>,
): Promise<T> {
  let file: AuditFile;
  try {
    file = await ifThere(open(path, 'r'));
    return await use(file);
  } catch (cause) {
    throw storeFault('the audit cannot be read', path, cause);
  } finally {
    await file?.close();
  }
}

const sizeOf = async (file: AuditFile): Promise<number> => (await file?.stat())?.size ?? 0;

interface FileLine {
  readonly text: string;
  /** The byte at which the line begins, and the one behind its line feed. */
  readonly start: number;
  readonly end: number;
}

/**
 * The lines with a number above `after`, the oldest first; what cannot be read is left out. Their
 * place is found by halving, as the numbers rise: to ask again and again for what is new costs the
 * same however long the audit is.
 */
export async function* linesAfter(
  file: AuditFile,
  after: number,
): AsyncGenerator<{ readonly text: string; readonly line: AuditLine }> {
  for await (const { text } of readLines(file, await startBelow(file, after))) {
    const line = parseLine(text);
    if (line !== undefined && line.seq > after) yield { text, line };
  }
}

/** The byte at which a line begins that is not far before the first with a number above `after`. */
async function startBelow(file: AuditFile, after: number): Promise<number> {
  let low = 0;
  let high = await sizeOf(file);
  while (after > 0 && high - low > BLOCK) {
    const middle = Math.floor((low + high) / 2);
    const start = await startOfUpTo(file, middle, after);
    if (start === undefined) high = middle;
    else low = start;
  }
  return low;
}

/** Where the first line behind a byte begins, if its number is at most `after`. */
async function startOfUpTo(
  file: AuditFile,
  from: number,
  after: number,
): Promise<number | undefined> {
  for await (const { text, start } of readLines(file, from)) {
    // What `from` cuts in two is no line that can be read.
    const line = parseLine(text);
    if (line !== undefined) return line.seq <= after ? start : undefined;
  }
  return undefined;
}

const LINE_FEED = 0x0a;
const BLOCK = 64 * 1024;

/**
 * The whole lines of a file from a byte on, read a block at a time; what stands behind the last
 * line feed is left out.
 */
async function* readLines(file: AuditFile, from: number): AsyncGenerator<FileLine> {
  const block = Buffer.alloc(BLOCK);
  let start = from;
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const read = await file?.read(block, 0, BLOCK, start + bytes.length);
    if (!read?.bytesRead) return;
    bytes = Buffer.concat([bytes, block.subarray(0, read.bytesRead)]);
    let at = 0;
    for (let feed = bytes.indexOf(LINE_FEED); feed >= 0; feed = bytes.indexOf(LINE_FEED, at)) {
      const end = start + feed + 1 - at;
      yield { text: bytes.toString('utf8', at, feed), start, end };
      start = end;
      at = feed + 1;
    }
    bytes = bytes.subarray(at);
  }
}

/** The last line of a file that can be read, and what stands behind it. */
export async function readTail(file: AuditFile) {
  const size = await sizeOf(file);
  for (let length = BLOCK; ; length *= 2) {
    const from = Math.max(0, size - length);
    let last: { readonly text: string; readonly line: AuditLine; readonly end: number } | undefined;
    for await (const { text, end } of readLines(file, from)) {
      const line = parseLine(text);
      if (line !== undefined) last = { text, line, end };
    }
    if (last === undefined && from > 0) continue;
    const end = last?.end ?? 0;
    const rest = Buffer.alloc(Math.max(0, size - end));
    await file?.read(rest, 0, rest.length, end);
    return { last, end, rest };
  }
}
