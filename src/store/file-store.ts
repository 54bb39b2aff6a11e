import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkInvariants } from '../keyring/invariants.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { createTurns } from '../turns.ts';
import { type AuditRepair, createAuditDebt } from './audit-log.ts';
import { createDisk, type Disk } from './disk.ts';
import type { AppendRequest, AppendResult } from './disk-jobs.ts';
import {
  type FaultPoint,
  type FileData,
  type FileStamp,
  isLeftover,
  readStamp,
} from './durable-file.ts';
import { type KeyStore, type StoredKeyring, StoreError, storeFault } from './key-store.ts';
import {
  auditPath,
  backupPath,
  encodeKeyring,
  keyringPath,
  readKeyringFile,
} from './keyring-format.ts';
import { createUsageFile } from './usage-file.ts';

/** `keyring.json` and its backup, with an eye on who else writes there. */
export interface KeyringPlace {
  /** Throws `StoreError`. */
  read(): Promise<StoredKeyring | undefined>;
  /**
   * Replaces `before` (0: none) with the version after it, and appends to the audit. Throws
   * `StoreError`, and leaves what is there, where that is another version or cannot be replaced.
   *
   * @returns what became of the audit's lines, where there were any
   */
  replace(
    data: FileData,
    before: number,
    audit: AppendRequest | undefined,
  ): Promise<AppendResult | undefined>;
}

export function createKeyringPlace(folder: string, disk: Disk): KeyringPlace {
  const path = keyringPath(folder);
  const backup = backupPath(folder);
  /** What stands on the disk, as long as it has that stamp. */
  let known: { readonly version: number; readonly stamp: FileStamp } | undefined;

  const read = async (): Promise<StoredKeyring | undefined> => {
    known = undefined;
    const stamp = await stampAt(path);
    const stored = await readKeyringFile(folder);
    if (stored === undefined || stamp === undefined) return undefined;
    known = { version: stored.version, stamp };
    return stored;
  };
  const save = async (data: FileData, audit: AppendRequest | undefined) => {
    try {
      return await disk.run('saveKeyring', { path, backup, data, known: known?.stamp, audit });
    } catch (error) {
      const failed = { path, backup, known: known?.stamp };
      const left = await disk.run('takeBackKeyring', failed).catch(() => undefined);
      // The next save goes over it.
      if (left !== undefined) known = { version: known?.version ?? 0, stamp: left };
      throw storeFault(`${path} cannot be saved`, folder, error);
    }
  };

  return {
    read,
    async replace(data, before, audit) {
      for (;;) {
        if ((known?.version ?? 0) !== before) throw conflict(path);
        const result = await save(data, audit);
        if (result.saved) {
          known = { version: before + 1, stamp: result.stamp };
          return result.appended;
        }
        if (result.found === undefined) throw gone(path);
        await read();
      }
    },
  };
}

const conflict = (path: string): StoreError =>
  new StoreError('conflict', `${path} was saved by somebody else`, {
    hint: 'let one sidecar alone use this state folder, and restart it',
  });

const gone = (path: string): StoreError =>
  new StoreError('conflict', `${path} is gone, while the sidecar was running`, {
    hint: `put it back, or its backup: cp ${path}.bak ${path}; then restart the sidecar`,
  });

async function stampAt(path: string): Promise<FileStamp | undefined> {
  try {
    return await readStamp(path);
  } catch (error) {
    throw storeFault(`${path} cannot be read`, path, error);
  }
}

export interface FileStoreOptions {
  /** The state folder; it exists. */
  readonly folder: string;
  readonly fault?: FaultPoint;
  /** Where others write to that folder, too; the default is one of its own, with `fault`. */
  readonly disk?: Disk;
  /** Told of what was mended in the audit, in `load` or as soon as it can be written again. */
  readonly onRepair?: (repair: AuditRepair) => void;
}

/**
 * A keyring in a folder: `keyring.json`, the one before it as `keyring.json.bak`, `usage.json`, and
 * `audit.jsonl`. All of them are for their owner alone.
 */
export function createFileStore(options: FileStoreOptions): KeyStore {
  const { folder, fault, onRepair = () => undefined } = options;
  const own = options.disk === undefined ? createDisk({ ...(fault && { fault }) }) : undefined;
  const disk = options.disk ?? (own as Disk);
  const place = createKeyringPlace(folder, disk);
  const audit = createAuditDebt(auditPath(folder), disk, onRepair);
  const usage = createUsageFile(join(folder, 'usage.json'), disk);
  let loaded = false;

  const load = async (): Promise<StoredKeyring | undefined> => {
    await sweep(folder);
    const stored = await place.read();
    const head = stored && (await audit.open(stored.keyring.audit));
    loaded = true;
    return stored && head && { ...stored, keyring: { ...stored.keyring, audit: head } };
  };

  const save = async (keyring: Keyring, expected: number): Promise<number> => {
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    if (!loaded) await load();
    const pending = audit.dueWith(keyring.audit);
    const version = expected + 1;
    const next = { ...keyring, audit: { ...keyring.audit, pending } };
    const data = await encodeKeyring({ keyring: next, version });
    const appended = await place.replace(data, expected, audit.bill(pending));
    audit.settle(pending, keyring.audit.count, appended);
    return version;
  };

  const inTurn = createTurns();
  let closed = false;
  const whileOpen = <T>(verb: () => Promise<T>): Promise<T> =>
    closed ? Promise.reject(new Error('the store is closed')) : inTurn(verb);
  return {
    load: () => whileOpen(load),
    save: (keyring, expected) => whileOpen(() => save(keyring, expected)),
    loadUsage: () => whileOpen(usage.load),
    saveUsage: (uses) => whileOpen(() => usage.save(uses)),
    get warnings() {
      return usage.warning === undefined ? audit.warnings : [...audit.warnings, usage.warning];
    },
    async close() {
      closed = true;
      await inTurn.settled();
      own?.close();
    },
  };
}

/** What a crash left behind is nobody's. */
async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) =>
    ['keyring.json', 'usage.json'].some((of) => isLeftover(name, of)),
  );
  for (const name of left) await rm(join(folder, name), { force: true }).catch(() => undefined);
}
