import { randomUUID } from 'node:crypto';
import { copyFile, link, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { firstPending } from '../keyring/audit-chain.ts';
import { checkInvariants } from '../keyring/invariants.ts';
import type { AuditHead, Keyring } from '../keyring/keyring.ts';
import type { Usage } from '../keyring/usage.ts';
import { type AuditRepair, createAuditWriter } from './audit-writer.ts';
import {
  type FaultPoint,
  type FileStamp,
  isLeftover,
  noFaults,
  readStamp,
  replaceFile,
  syncFolder,
} from './durable-file.ts';
import { type KeyStore, type StoredKeyring, StoreError } from './key-store.ts';
import { auditPath, backupPath, keyringPath, readKeyringFile } from './keyring-file.ts';
import { encodeKeyring } from './keyring-format.ts';
import { storeFault } from './store-fault.ts';
import { createUsageFile } from './usage-file.ts';

export interface FileStoreOptions {
  /** The state folder; it exists. */
  readonly folder: string;
  readonly fault?: FaultPoint;
  /** Told of what `load` mended in the audit, so that the audit tells of it. */
  readonly onRepair?: (repair: AuditRepair) => void;
}

/**
 * A keyring in a folder: `keyring.json`, the one before it as `keyring.json.bak`, `usage.json`, and
 * `audit.jsonl`. All of them are for their owner alone.
 */
export function createFileStore(options: FileStoreOptions): KeyStore {
  const { folder, fault = noFaults, onRepair } = options;
  const path = keyringPath(folder);
  const audit = createAuditWriter(auditPath(folder), fault);
  const usage = createUsageFile(join(folder, 'usage.json'), fault);
  const found = new Set<string>();
  /** Lines that belong at the end of the audit, and why they are not there. */
  let owed: AuditHead['pending'] = [];
  let auditFault: string | undefined;
  /** What stands on the disk, as long as it has that stamp. */
  let known: { readonly version: number; readonly stamp: FileStamp } | undefined;
  /** The number of the last line that is in the audit or owed to it. */
  let settled = 0;
  let repairs: readonly AuditRepair[] = [];
  let loaded = false;

  /** Brings to the audit what is owed; what fails stays owed, as it stands beside the keyring. */
  const payAudit = async (): Promise<void> => {
    try {
      await audit.append(owed);
      owed = [];
      auditFault = undefined;
      for (const repair of repairs) {
        found.add(repair.message);
        onRepair?.(repair);
      }
      repairs = [];
    } catch (error) {
      const { message } = storeFault(
        'the audit cannot be written',
        auditPath(folder),
        error,
      ) as Error;
      auditFault = `${message}; its lines are kept beside the keyring until it can`;
    }
  };

  const load = async (): Promise<StoredKeyring | undefined> => {
    await sweep(folder);
    known = undefined;
    const stamp = await stampOf(path);
    const stored = await readKeyringFile(folder);
    loaded = true;
    if (stored === undefined || stamp === undefined) return undefined;
    known = { version: stored.version, stamp };
    const state = await audit.inspect(stored.keyring.audit).catch((error: unknown) => {
      throw storeFault('the audit cannot be read', auditPath(folder), error);
    });
    for (const warning of state.warnings) found.add(warning);
    ({ owed, repairs } = state);
    settled = state.head.count;
    await payAudit();
    return { version: stored.version, keyring: { ...stored.keyring, audit: state.head } };
  };

  const versionNow = async (): Promise<number> => {
    const stamp = await stampOf(path);
    if (stamp === undefined && known !== undefined) throw gone(path);
    if (stamp === undefined || stamp !== known?.stamp) {
      const stored = await readKeyringFile(folder);
      if (stored === undefined || stamp === undefined) return 0;
      known = { version: stored.version, stamp };
    }
    return known.version;
  };

  const save = async (keyring: Keyring, expected: number): Promise<number> => {
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    if (!loaded) await load();
    const stored = await versionNow();
    if (stored !== expected) throw conflict(path);
    const pending = [...owed, ...newLines(keyring.audit, settled)];
    const version = expected + 1;
    const next = { ...keyring, audit: { ...keyring.audit, pending } };
    const bytes = await encodeKeyring({ keyring: next, version });
    const beforeRename = (): Promise<void> =>
      stored === 0 ? Promise.resolve() : backUp(folder, fault);
    try {
      const stamp = await replaceFile(path, bytes, { beforeRename, fault });
      known = { version, stamp };
    } catch (error) {
      const left = await takeBack(folder, known?.stamp);
      // The next save goes over it.
      if (left !== undefined) known = { version: stored, stamp: left };
      throw storeFault(`${path} cannot be saved`, folder, error);
    }
    owed = pending;
    settled = keyring.audit.count;
    await payAudit();
    return version;
  };

  const inTurn = createTurns();
  return {
    load: () => inTurn(load),
    save: (keyring, expected) => inTurn(() => save(keyring, expected)),
    loadUsage: () => inTurn(usage.load),
    saveUsage: (uses: Usage) => inTurn(() => usage.save(uses)),
    get warnings() {
      return [...found, usage.warning, auditFault].filter((each) => each !== undefined);
    },
    close: () => inTurn.close(),
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

const conflict = (path: string): StoreError =>
  new StoreError('conflict', `${path} was saved by somebody else`, {
    hint: 'let one sidecar alone use this state folder, and restart it',
  });

const gone = (path: string): StoreError =>
  new StoreError('conflict', `${path} is gone, while the sidecar was running`, {
    hint: `put it back, or its backup: cp ${path}.bak ${path}; then restart the sidecar`,
  });

async function stampOf(path: string): Promise<FileStamp | undefined> {
  try {
    return await readStamp(path);
  } catch (error) {
    throw storeFault(`${path} cannot be read`, path, error);
  }
}

async function backUp(folder: string, fault: FaultPoint): Promise<void> {
  fault('link keyring.json.bak');
  await copyOver(keyringPath(folder), backupPath(folder), fault);
}

/** By a link, which costs no copy and leaves no moment without either of the two. */
async function copyOver(from: string, to: string, fault: FaultPoint = noFaults): Promise<void> {
  const next = `${dirname(to)}/.keyring.json.${randomUUID()}`;
  try {
    // Some file systems have no links (SMB, FAT).
    await link(from, next).catch(() => copyFile(from, next));
    fault(`rename ${basename(to)}`);
    await rename(next, to);
  } finally {
    // Where both names are one file already, a rename does nothing at all (rename(2)).
    await rm(next, { force: true }).catch(() => undefined);
  }
}

/**
 * A save that fails after its rename must not be there: what was before takes its place again.
 *
 * @returns the stamp of the failed one where that fails as well
 */
async function takeBack(
  folder: string,
  before: FileStamp | undefined,
): Promise<FileStamp | undefined> {
  const path = keyringPath(folder);
  const stamp = await readStamp(path).catch(() => before);
  if (stamp === before) return undefined;
  try {
    if (before === undefined) await rm(path, { force: true });
    else await copyOver(backupPath(folder), path);
    await syncFolder(folder);
  } catch {
    // It may be back all the same, but for the folder's sync.
  }
  const after = await readStamp(path).catch(() => before);
  return after === stamp ? stamp : undefined;
}

/** What a crash left behind is nobody's. */
async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) =>
    ['keyring.json', 'usage.json'].some((of) => isLeftover(name, of)),
  );
  for (const name of left) await rm(join(folder, name), { force: true }).catch(() => undefined);
}

/** One thing at a time, and nothing after the end. */
function createTurns() {
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;
  const inTurn = <T>(verb: () => Promise<T>): Promise<T> => {
    if (closed) return Promise.reject(new Error('the store is closed'));
    const turn = last.then(verb);
    last = turn.catch(() => undefined);
    return turn;
  };
  const close = async (): Promise<void> => {
    closed = true;
    await last;
  };
  return Object.assign(inTurn, { close });
}
