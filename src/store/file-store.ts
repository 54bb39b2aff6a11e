import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkInvariants } from '../keyring/invariants.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { createAuditDebt } from './audit-debt.ts';
import type { AuditRepair } from './audit-writer.ts';
import { type FaultPoint, isLeftover, noFaults } from './durable-file.ts';
import type { KeyStore, StoredKeyring } from './key-store.ts';
import { auditPath } from './keyring-file.ts';
import { encodeKeyring } from './keyring-format.ts';
import { createKeyringPlace } from './keyring-place.ts';
import { createUsageFile } from './usage-file.ts';

export interface FileStoreOptions {
  /** The state folder; it exists. */
  readonly folder: string;
  readonly fault?: FaultPoint;
  /** Told of what was mended in the audit, in `load` or as soon as it can be written again. */
  readonly onRepair?: (repair: AuditRepair) => void;
}

/**
 * A keyring in a folder: `keyring.json`, the one before it as `keyring.json.bak`, `usage.json`, and
 * `audit.jsonl`. All of them are for their owner alone.
 */
export function createFileStore(options: FileStoreOptions): KeyStore {
  const { folder, fault = noFaults, onRepair = () => undefined } = options;
  const place = createKeyringPlace(folder, fault);
  const audit = createAuditDebt(auditPath(folder), fault, onRepair);
  const usage = createUsageFile(join(folder, 'usage.json'), fault);
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
    await place.expect(expected);
    const pending = audit.dueWith(keyring.audit);
    const version = expected + 1;
    const next = { ...keyring, audit: { ...keyring.audit, pending } };
    await place.replace(await encodeKeyring({ keyring: next, version }), expected);
    await audit.pay(pending, keyring.audit.count);
    return version;
  };

  const inTurn = createTurns();
  return {
    load: () => inTurn(load),
    save: (keyring, expected) => inTurn(() => save(keyring, expected)),
    loadUsage: () => inTurn(usage.load),
    saveUsage: (uses) => inTurn(() => usage.save(uses)),
    get warnings() {
      return usage.warning === undefined ? audit.warnings : [...audit.warnings, usage.warning];
    },
    close: () => inTurn.close(),
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
