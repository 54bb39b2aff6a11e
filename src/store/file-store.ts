import { join } from 'node:path';
import { checkInvariants } from '../keyring/invariants.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { createTurns } from '../turns.ts';
import { type AuditRepair, createAuditLog } from './audit-log.ts';
import { createDisk, type Disk } from './disk.ts';
import { type FaultPoint, sweepLeftovers } from './durable-file.ts';
import type { KeyStore, StoredKeyring } from './key-store.ts';
import { auditPath, createKeyringFile } from './keyring-file.ts';
import { encodeKeyring } from './keyring-format.ts';
import { createUsageFile } from './usage-file.ts';

interface FileStoreOptions {
  /** The state folder; it exists. */
  readonly folder: string;
  readonly fault?: FaultPoint;
  /** The disk by which others write to the folder, too; by default the store opens its own. */
  readonly disk?: Disk;
  /** Called with each repair of the audit: in `load`, or once the audit can be written again. */
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
  const file = createKeyringFile(folder, disk);
  const audit = createAuditLog(auditPath(folder), disk, onRepair);
  const usage = createUsageFile(join(folder, 'usage.json'), disk);
  let loaded = false;

  const load = async (): Promise<StoredKeyring | undefined> => {
    await sweepLeftovers(folder, 'keyring.json');
    await sweepLeftovers(folder, 'usage.json');
    const stored = await file.read();
    const head = stored && (await audit.open(stored.keyring.audit));
    loaded = true;
    return stored && head && { ...stored, keyring: { ...stored.keyring, audit: head } };
  };

  const save = async (keyring: Keyring, expected: number): Promise<number> => {
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    if (!loaded) await load();
    const pending = audit.linesDue(keyring.audit);
    const version = expected + 1;
    const next = { ...keyring, audit: { ...keyring.audit, pending } };
    const data = encodeKeyring({ keyring: next, version });
    const appended = await file.replace(data, expected, audit.appendOf(pending));
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
