import { checkInvariants } from '../keyring/invariants.ts';
import type { AcceptedKey, KeyFiles } from './key-files.ts';
import { type KeyStore, type StoredKeyring, StoreError } from './key-store.ts';

/**
 * A store for as long as the process lives, with the versions and checks of any other.
 *
 * @param onAudit told of each line of the audit, as it would stand in the file
 */
export function createPassingStore(onAudit: (line: string) => void): KeyStore {
  let stored: StoredKeyring | undefined;
  const save: KeyStore['save'] = (keyring, expected) => {
    const broken = checkInvariants(keyring);
    if (broken !== undefined) throw new Error(`this keyring cannot be saved: ${broken}`);
    const version = stored?.version ?? 0;
    if (version !== expected) {
      throw new StoreError('the keyring was saved by somebody else', { hint: 'restart it' });
    }
    keyring.audit.pending.forEach(onAudit);
    const audit = { ...keyring.audit, pending: [] };
    stored = { keyring: { ...keyring, audit }, version: version + 1 };
    return Promise.resolve(version + 1);
  };
  return {
    load: () => Promise.resolve(stored),
    save: async (keyring, expected) => await save(keyring, expected),
    loadUsage: () => Promise.resolve(new Map()),
    // Who used which key is in memory anyway.
    saveUsage: () => Promise.resolve(),
    warnings: [],
    close: () => Promise.resolve(),
  };
}

/** In the place of the files with the clients' newest keys: no key stands anywhere. */
export const NO_KEY_FILES: KeyFiles = {
  keeps: false,
  write: () => Promise.resolve(),
  read: () => Promise.resolve(undefined),
  isThere: () => Promise.resolve(false),
  remove: () => Promise.resolve(),
};

/** After a start the key of the settings is the only one that is known. */
export const NO_ACCEPTED_KEY: AcceptedKey = {
  place: 'SIDECAR_UPSTREAM_KEY',
  read: () => Promise.resolve(undefined),
  write: () => Promise.resolve(),
};
