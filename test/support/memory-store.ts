import { checkInvariants } from '../../src/keyring/invariants.ts';
import type { GenerationUses, Keyring } from '../../src/keyring/keyring.ts';
import { type KeyStore, type StoredKeyring, StoreError } from '../../src/store/key-store.ts';

export interface MemoryStore extends KeyStore {
  /** What is stored now. */
  readonly stored: StoredKeyring | undefined;
  /** Every line of the audit so far. */
  readonly audit: readonly string[];
  /** The next save of a keyring or of its use is refused with this. */
  failNext(error: Error): void;
}

/** What outlives a store in memory. */
export interface MemoryDisk {
  stored: StoredKeyring | undefined;
  usage: GenerationUses;
  readonly audit: string[];
  /** The number of the audit's last line. */
  count: number;
}

export const createMemoryDisk = (stored?: StoredKeyring): MemoryDisk => ({
  stored,
  usage: new Map(),
  audit: [],
  count: stored?.keyring.audit.count ?? 0,
});

/** A store that forgets: for tests of what stands above a store. */
export function createMemoryStore(
  initial?: StoredKeyring,
  disk: MemoryDisk = createMemoryDisk(initial),
): MemoryStore {
  let failure: Error | undefined;
  let closed = false;

  // Not in the same turn, as no store answers at once.
  const attempt = async <T>(verb: () => T): Promise<T> => {
    if (closed) throw new Error('the store is closed');
    await Promise.resolve();
    return verb();
  };
  const write = <T>(verb: () => T): Promise<T> =>
    attempt(() => {
      const error = failure;
      failure = undefined;
      if (error !== undefined) throw error;
      return verb();
    });
  const save = (keyring: Keyring, expected: number): number => {
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    if ((disk.stored?.version ?? 0) !== expected) {
      throw new StoreError('it was saved by somebody else', { hint: 'restart' });
    }
    const { count, pending } = keyring.audit;
    disk.audit.push(...pending.slice(Math.max(0, pending.length - (count - disk.count))));
    disk.count = count;
    disk.stored = {
      keyring: { ...keyring, audit: { ...keyring.audit, pending: [] } },
      version: expected + 1,
    };
    return expected + 1;
  };

  return {
    get stored() {
      return disk.stored;
    },
    audit: disk.audit,
    warnings: [],
    failNext(error) {
      failure = error;
    },
    load: () => attempt(() => disk.stored),
    save: (keyring, expected) => write(() => save(keyring, expected)),
    loadUsage: () => attempt(() => disk.usage),
    saveUsage: (uses) =>
      write(() => {
        disk.usage = new Map(uses);
      }),
    close() {
      closed = true;
      return Promise.resolve();
    },
  };
}
