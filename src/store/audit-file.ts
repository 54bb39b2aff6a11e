import { type FileHandle, open } from 'node:fs/promises';
import {
  type AuditLine,
  type AuditVerdict,
  createChainVerifier,
  parseLine,
} from '../keyring/audit.ts';
import { EMPTY_KEYRING } from '../keyring/keyring.ts';
import { linesAfter, readLines, readTail } from './audit-lines.ts';
import type { StoredKeyring } from './key-store.ts';
import { auditPath, readKeyringFile } from './keyring-file.ts';
import { storeFault } from './store-fault.ts';

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
