import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkInvariants } from '../keyring/invariants.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { createTurns } from '../turns.ts';
import { createAuditDebt } from './audit-debt.ts';
import type { AuditRepair } from './audit-writer.ts';
import { createDisk, type Disk } from './disk.ts';
import { type FaultPoint, isLeftover } from './durable-file.ts';
import type { KeyStore, StoredKeyring } from './key-store.ts';
import { auditPath } from './keyring-file.ts';
import { encodeKeyring } from './keyring-format.ts';
import { createKeyringPlace } from './keyring-place.ts';
import { createUsageFile } from './usage-file.ts';

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
