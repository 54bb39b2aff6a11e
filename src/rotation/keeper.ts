import { type AuditEntry, appendLine } from '../keyring/audit-chain.ts';
import type { Command, KeyringEvent } from '../keyring/command.ts';
import type { AuditHead, Keyring } from '../keyring/keyring.ts';
import type { KeyringSnapshot } from '../keyring/snapshot.ts';
import { takeSnapshot } from '../keyring/take-snapshot.ts';
import { transition } from '../keyring/transition.ts';
import { type KeyStore, type StoredKeyring, StoreError } from '../store/key-store.ts';
import { type Actor, AdminError } from './admin.ts';
import { auditEntryOf } from './audit-entries.ts';

export interface KeeperOptions {
  readonly store: KeyStore;
  readonly stored: StoredKeyring;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of what happened once it rules; must not throw. */
  readonly onEvents: (events: readonly KeyringEvent[], by: Actor) => void;
  /** The store failed, or works again (undefined). */
  readonly onStore: (error: StoreError | undefined) => void;
  /** Whether this process may still write: another one may have taken the state folder. */
  readonly mayWrite: () => boolean;
}

/**
 * How a change meets a store that fails. `saved`: it is refused, and nothing changed. `at-once`: it
 * rules here before it is saved, and the save is tried until it succeeds: what takes a key away
 * must not wait for a disk.
 */
export type Durability = 'saved' | 'at-once';

/** Holds the keyring that rules, and keeps the store in step with it. */
export interface Keeper {
  keyring(): Keyring;
  snapshot(): KeyringSnapshot;
  /**
   * Carries out commands as one change; either all or none. Resolves to what they did.
   *
   * @throws AdminError with the fault's code, or `store_unavailable`
   */
  change(
    commands: readonly Command[],
    by: Actor,
    durability?: Durability,
  ): Promise<readonly KeyringEvent[]>;
  /** Writes into the audit what is no change of the keyring; never rejects. */
  note(entry: Omit<AuditEntry, 'at'>): Promise<void>;
  /** The store's last error; undefined: what rules is saved. */
  storeError(): StoreError | undefined;
  /** Waits for what is under way. */
  close(): Promise<void>;
}

/** Milliseconds between tries of a save that failed. */
const RETRY_MS = 1000;

export function createKeeper(options: KeeperOptions): Keeper {
  const { store, now } = options;
  let { keyring, version } = options.stored;
  let snapshot = takeSnapshot(keyring);
  let failed: StoreError | undefined;
  let queue: Promise<unknown> = Promise.resolve();
  let retry: NodeJS.Timeout | undefined;
  let closed = false;

  const inTurn = <T>(job: () => Promise<T>): Promise<T> => {
    const turn = queue.then(job);
    queue = turn.catch(() => undefined);
    return turn;
  };
  const rule = (next: Keyring): void => {
    keyring = next;
    snapshot = takeSnapshot(next);
  };
  const setFailed = (error: StoreError | undefined): void => {
    const before = failed;
    failed = error;
    if (before?.message !== error?.message) options.onStore(error);
  };
  const save = async (next: Keyring): Promise<Keyring> => {
    try {
      if (!options.mayWrite()) throw lostFolder();
      version = await store.save(next, version);
    } catch (error) {
      setFailed(asStoreError(error));
      throw error;
    }
    setFailed(undefined);
    return { ...next, audit: { ...next.audit, pending: [] } };
  };
  /** Saves what rules already, now and until it succeeds. */
  const saveRuling = async (): Promise<void> => {
    try {
      keyring = await save(keyring);
    } catch {
      if (!closed) retry ??= setTimeout(again, RETRY_MS).unref();
    }
  };
  const again = (): void => {
    retry = undefined;
    void inTurn(saveRuling);
  };

  return {
    keyring: () => keyring,
    snapshot: () => snapshot,
    storeError: () => failed,
    change: (commands, by, durability = 'saved') =>
      inTurn(async () => {
        const { next, events } = carryOut(keyring, commands, by, now());
        if (next === keyring) return events;
        if (durability === 'saved') {
          rule(await save(next).catch(refuse));
          options.onEvents(events, by);
          return events;
        }
        rule(next);
        options.onEvents(events, by);
        await saveRuling();
        return events;
      }),
    note: (entry) =>
      inTurn(async () => {
        const line = { ...entry, at: new Date(now()).toISOString() };
        keyring = { ...keyring, audit: appendLine(keyring.audit, line) };
        await saveRuling();
      }),
    async close() {
      closed = true;
      clearTimeout(retry);
      await queue;
      if (failed !== undefined) await inTurn(saveRuling);
    },
  };
}

interface CarriedOut {
  readonly next: Keyring;
  readonly events: readonly KeyringEvent[];
}

function carryOut(
  keyring: Keyring,
  commands: readonly Command[],
  by: Actor,
  now: number,
): CarriedOut {
  let next = keyring;
  const events: KeyringEvent[] = [];
  for (const command of commands) {
    const result = transition(next, command, now);
    if (!result.ok) {
      const { code, message, hints } = result.fault;
      throw new AdminError(code, message, { hints });
    }
    next = result.keyring;
    events.push(...result.events);
  }
  const audit = events.reduce<AuditHead>(
    (head, event) => appendLine(head, auditEntryOf(event, by, now)),
    next.audit,
  );
  return { next: audit === next.audit ? next : { ...next, audit }, events };
}

const asStoreError = (cause: unknown): StoreError =>
  cause instanceof StoreError
    ? cause
    : new StoreError('unavailable', (cause as Error).message, { hint: '', cause });

const lostFolder = (): StoreError =>
  new StoreError('conflict', 'another sidecar has taken the state folder', {
    hint: 'stop one of the two, then restart this one',
  });

function refuse(cause: unknown): never {
  const { message, hint } = asStoreError(cause);
  throw new AdminError('store_unavailable', `nothing was changed: ${message}`, {
    hints: hint === '' ? [] : [hint],
    cause,
  });
}
