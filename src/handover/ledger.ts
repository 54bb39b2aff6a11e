import { asStoreError, lostFolder, type StoreError } from '../store/key-store.ts';
import type { UpstreamState } from './state.ts';
import type { StateFile } from './state-file.ts';

/** Holds the state that rules; it rules only once it is stored. */
export interface Ledger {
  state(): UpstreamState;
  /** Resolves to whether it is stored, and rules. Never rejects. */
  store(next: UpstreamState): Promise<boolean>;
  /**
   * Writes what rules once more where a save failed: the one that failed may stand on the disk all
   * the same. Nothing may be done before. Resolves to whether both agree.
   */
  settle(): Promise<boolean>;
  /** Why the last save failed; undefined: it did not. */
  error(): StoreError | undefined;
}

export interface LedgerOptions {
  readonly file: StateFile;
  readonly state: UpstreamState;
  /** Whether this process may still write: another one may have taken the state folder. */
  readonly mayWrite: () => boolean;
  /** The state file cannot be written, or can again (undefined). */
  readonly onStore: (error: StoreError | undefined) => void;
  readonly onChange: (next: UpstreamState, before: UpstreamState) => void;
}

export function createLedger(options: LedgerOptions): Ledger {
  const { file, mayWrite, onStore, onChange } = options;
  let { state } = options;
  let failed: StoreError | undefined;

  const setFailed = (error: StoreError | undefined): void => {
    const before = failed;
    failed = error;
    if (before?.message !== error?.message) onStore(error);
  };
  const save = async (next: UpstreamState): Promise<boolean> => {
    try {
      if (!mayWrite()) throw lostFolder();
      await file.save(next);
      setFailed(undefined);
      return true;
    } catch (error) {
      setFailed(asStoreError(error));
      return false;
    }
  };

  return {
    state: () => state,
    error: () => failed,
    async store(next) {
      if (!(await save(next))) return false;
      const before = state;
      state = next;
      onChange(next, before);
      return true;
    },
    settle: () => (failed === undefined ? Promise.resolve(true) : save(state)),
  };
}
