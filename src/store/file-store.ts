import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { checkInvariants } from '../keyring/invariants.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { createTurns } from '../turns.ts';
import { createAuditLog } from './audit-log.ts';
import { sweepLeftovers } from './durable-file.ts';
import type { KeyStore, StoredKeyring } from './key-store.ts';
import { auditPath, createKeyringFile } from './keyring-file.ts';
import { encodeKeyring } from './keyring-format.ts';
import { createUsageFile } from './usage-file.ts';

interface FileStoreOptions {
  /** The state folder; it exists. */
  readonly folder: string;
  /** Told of each repair of the audit: in `load`, or once the audit can be written again. */
  readonly onRepair?: (message: string) => void;
}

/**
 * A keyring in a folder: `keyring.json`, the one before it as `keyring.json.bak`, `usage.json`, and
 * `audit.jsonl`. All of them are for their owner alone.
 */
export function createFileStore(options: FileStoreOptions): KeyStore {
  const { folder, onRepair = () => undefined } = options;
  const file = createKeyringFile(folder);
  const audit = createAuditLog(auditPath(folder), onRepair);
  const usage = createUsageFile(join(folder, 'usage.json'));
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
    // A thousand clients take the serving thread 5 ms: others have their turn in between.
    const isLarge = keyring.clients.size > 100;
    if (isLarge) await setImmediate();
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    if (!loaded) await load();
    if (isLarge) await setImmediate();
    const pending = audit.linesDue(keyring.audit);
    const version = expected + 1;
    const next = { ...keyring, audit: { ...keyring.audit, pending } };
    await file.replace(encodeKeyring({ keyring: next, version }), expected);
    await audit.append(pending, keyring.audit.count);
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
    },
  };
}
