import type { GenerationUses, Keyring } from '../keyring/keyring.ts';

/** A keyring as it was stored, and the number of that save. */
export interface StoredKeyring {
  readonly keyring: Keyring;
  /** Rises by one with each save. */
  readonly version: number;
}

/**
 * Where a keyring is kept.
 *
 * A store keeps whole keyrings: what `save` resolved for is there after any crash, all of it; what
 * it rejected for is not there, none of it, though a crash in the middle of a save may leave
 * either. A store never answers with an empty keyring in place of one that it cannot read, never
 * repairs a keyring by leaving something out, and checks the invariants of each keyring before it
 * saves it and after it has loaded it. It holds digests, and must be given no plaintext key. It
 * decides nothing: time, deadlines and schedules are the caller's.
 *
 * The use of keys is worth less than keys: a store may lose the last minute of it in a crash, and
 * takes a use that it cannot read for none, with a sentence in `warnings`.
 *
 * A keyring that is saved holds in `audit.pending` the audit's lines that are new since the save
 * before. When `save` resolves they are on the disk: in the audit, or, where that fails, beside the
 * keyring, from where the next save or load moves them to the audit.
 *
 * One process works with a store at a time. Where another one saved meanwhile, the version tells:
 * the other's save stays, and this store's next `save` rejects.
 */
export interface KeyStore {
  /** Resolves to undefined where nothing was ever saved. Throws `StoreError`. */
  load(): Promise<StoredKeyring | undefined>;
  /**
   * Saves where the stored version is `expected` (0: nothing is stored), and resolves to the new
   * one. Throws `StoreError`; calls may overlap and are carried out in their order.
   */
  save(keyring: Keyring, expected: number): Promise<number>;
  loadUsage(): Promise<GenerationUses>;
  /** Throws `StoreError`. */
  saveUsage(usage: GenerationUses): Promise<void>;
  /** The faults that were found and mended while loading, in words for the operator. */
  readonly warnings: readonly string[];
  /** Resolves once what is under way has ended; nothing may be called afterwards. */
  close(): Promise<void>;
}

/** A store that could not do its work, in words for the operator. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  /** What the operator can do. */
  readonly hint: string;

  constructor(message: string, options: { hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.hint = options.hint;
  }
}

/** What the operator can do, by the `code` of the system's error. */
const HINTS: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: (path) => `free some space on the disk of ${path}`,
  EDQUOT: (path) => `free some space on the disk of ${path}, or raise the quota`,
  EROFS: (path) => `mount the disk of ${path} so that it can be written`,
  EACCES: (path) => `let the user that the sidecar runs as read and write ${path}`,
  EPERM: (path) => `let the user that the sidecar runs as read and write ${path}`,
  EIO: (path) => `look at the disk of ${path}: it fails`,
  ENOENT: (path) => `put ${path} back: it is gone`,
};

/** The system's error in words for the operator; any other error as it is. */
export function storeFault(doing: string, path: string, cause: unknown): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (cause instanceof StoreError || code === undefined || syscall === undefined) return cause;
  const hint = HINTS[code]?.(path) ?? `look at ${path}, and let the sidecar read and write it`;
  return new StoreError(`${doing}: ${(cause as Error).message}`, { hint, cause });
}

/** Whatever a store threw, as one of its own errors. */
export const asStoreError = (cause: unknown): StoreError =>
  cause instanceof StoreError
    ? cause
    : new StoreError((cause as Error).message, { hint: '', cause });

export interface SavesOptions {
  /** Whether this process may still write: another one may have taken the state folder. */
  readonly mayWrite: () => boolean;
  /** Told why a save failed, once for all failures alike; undefined: saves succeed again. */
  readonly onStore: (error: StoreError | undefined) => void;
}

/** Saves to the state folder, and remembers whether the last one failed. */
export function createSaves({ mayWrite, onStore }: SavesOptions) {
  let failure: StoreError | undefined;
  const setFailure = (error: StoreError | undefined): void => {
    const before = failure;
    failure = error;
    if (before?.message !== error?.message) onStore(error);
  };
  return {
    /** Why the last save failed; undefined: it did not. */
    failure: () => failure,
    /** Does the save, if this process may; rejects with the save's own error. */
    async run<T>(save: () => Promise<T>): Promise<T> {
      try {
        if (!mayWrite()) {
          throw new StoreError('another sidecar has taken the state folder', {
            hint: 'stop one of the two, then restart this one',
          });
        }
        const saved = await save();
        setFailure(undefined);
        return saved;
      } catch (error) {
        setFailure(asStoreError(error));
        throw error;
      }
    },
  };
}
