import { type AuditEntry, appendLine } from '../keyring/audit.ts';
import type { Command, KeyringEvent } from '../keyring/command.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { snapshotOf } from '../keyring/snapshot.ts';
import { transition } from '../keyring/transition.ts';
import {
  asStoreError,
  createSaves,
  type KeyStore,
  type SavesOptions,
  type StoredKeyring,
} from '../store/key-store.ts';
import { createTurns } from '../turns.ts';
import { type Actor, AdminError, adminErrorOf } from './admin.ts';

/** Told of the events of a change once it rules, in the order of the changes; must not throw. */
type KeyringListener = (events: readonly KeyringEvent[], by: Actor) => void;

interface KeeperOptions extends SavesOptions {
  readonly store: KeyStore;
  readonly stored: StoredKeyring;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * How a change meets a store that fails. `saved`: the change is refused, and nothing changed.
 * `at-once`: the change rules before it is saved, and the save is tried until it succeeds, because
 * what takes a key away must not wait for a disk. `later`: the change rules, and is saved with the
 * next one or within seconds; for what every start finds out again by itself.
 */
type Durability = 'saved' | 'at-once' | 'later';

export type Keeper = ReturnType<typeof createKeeper>;

/** Milliseconds between tries of a save that failed. */
const RETRY_MS = 1000;
/** Milliseconds after which a change of durability `later` is saved at the latest. */
const LATER_MS = 5000;

/** Holds the keyring that rules, and keeps the store in step with it. */
export function createKeeper(options: KeeperOptions) {
  const { now } = options;
  const ruling = createRuling(options);
  const listeners: KeyringListener[] = [];
  const inTurn = createTurns();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  /** Saves what rules already; a save that fails is tried again until one succeeds. */
  const saveRuling = (): Promise<void> =>
    ruling.save(ruling.keyring()).then(ruling.rule, () => saveIn(RETRY_MS));
  const saveOwed = (): Promise<void> => {
    timer = undefined;
    return inTurn(async () => {
      if (ruling.isOwed()) await saveRuling();
    });
  };
  const saveIn = (ms: number): void => {
    if (!closed) timer ??= setTimeout(() => void saveOwed(), ms).unref();
  };

  return {
    keyring: ruling.keyring,
    snapshot: ruling.snapshot,
    /** The store's last error; undefined: what rules is saved. */
    storeError: ruling.failed,
    /**
     * Carries out commands as one change: either all of them or none. Resolves to what they did.
     *
     * @throws AdminError with the fault's code, or `store_unavailable`
     */
    change: (commands: readonly Command[], by: Actor, durability: Durability = 'saved') =>
      inTurn(async () => {
        const { next, events } = carryOut(ruling.keyring(), commands, by, now());
        if (next === ruling.keyring()) return events;
        ruling.rule(durability === 'saved' ? await ruling.save(next).catch(refuse) : next);
        for (const tell of listeners) tell(events, by);
        if (durability === 'at-once') await saveRuling();
        if (durability === 'later') saveIn(LATER_MS);
        return events;
      }),
    /** Calls the listener after each change from now on, after the listeners before it. */
    subscribe: (listener: KeyringListener) => void listeners.push(listener),
    /** Writes into the audit what happened without a change of the keyring; never rejects. */
    note: (entry: Omit<AuditEntry, 'at'>) =>
      inTurn(async () => {
        const line = { ...entry, at: new Date(now()).toISOString() };
        const keyring = ruling.keyring();
        ruling.rule({ ...keyring, audit: appendLine(keyring.audit, line) });
        await saveRuling();
      }),
    /** Waits for the changes under way, and saves what is not saved yet. */
    async close() {
      closed = true;
      clearTimeout(timer);
      await saveOwed();
    },
  };
}

/** The keyring that rules, and what the store has of it. */
function createRuling({ store, stored, onStore, mayWrite }: KeeperOptions) {
  let { keyring, version } = stored;
  let snapshot = snapshotOf(keyring);
  const saves = createSaves({ mayWrite, onStore });
  return {
    keyring: () => keyring,
    snapshot: () => snapshot,
    failed: saves.failure,
    /** Whether a change that rules is not saved: its line of the audit is pending until then. */
    isOwed: () => keyring.audit.pending.length > 0,
    rule(next: Keyring): void {
      // A line of the audit changes nothing for the traffic.
      if (next.clients !== keyring.clients) snapshot = snapshotOf(next);
      keyring = next;
    },
    /** Resolves to the keyring without the audit lines that the store has now. */
    async save(next: Keyring): Promise<Keyring> {
      version = await saves.run(() => store.save(next, version));
      return { ...next, audit: { ...next.audit, pending: [] } };
    },
  };
}

function carryOut(keyring: Keyring, commands: readonly Command[], by: Actor, now: number) {
  let next = keyring;
  const events: KeyringEvent[] = [];
  for (const command of commands) {
    const result = transition(next, command, now);
    if (!result.ok) throw adminErrorOf(result.fault);
    next = result.keyring;
    events.push(...result.events);
  }
  const lines = events.map((event) => auditEntryOf(event, by, now));
  if (lines.length > 0) next = { ...next, audit: lines.reduce(appendLine, next.audit) };
  return { next, events };
}

/**
 * Events that come of time, traffic and disks. A transition may find them due during anybody's
 * change, and the audit does not name that person for them.
 */
const BY_ITSELF: ReadonlySet<KeyringEvent['kind']> = new Set([
  'retired',
  'clockStarted',
  'published',
]);

/** What the audit says of one event. `at` is milliseconds since the epoch. */
function auditEntryOf(event: KeyringEvent, by: string, at: number): AuditEntry {
  const action = event.kind.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const doer = BY_ITSELF.has(event.kind) ? 'sidecar' : by;
  const common = { at: new Date(at).toISOString(), by: doer, action, client: event.client };
  switch (event.kind) {
    case 'rotated': {
      const { from, to, origin, graceMs, compromised } = event;
      return { ...common, from, to, detail: { origin, graceMs, compromised } };
    }
    case 'rolledBack':
      return { ...common, from: event.from, to: event.to };
    case 'clockStarted': {
      const deadline = new Date(event.deadline).toISOString();
      return { ...common, from: event.generation, to: event.by, detail: { deadline } };
    }
    case 'revoked':
      return { ...common, from: event.generation, detail: { compromised: event.compromised } };
    case 'published':
    case 'retired':
      return { ...common, from: event.generation };
    default:
      return common;
  }
}

function refuse(cause: unknown): never {
  const { message, hint } = asStoreError(cause);
  throw new AdminError('store_unavailable', `nothing was changed: ${message}`, {
    hints: hint === '' ? [] : [hint],
    cause,
  });
}
