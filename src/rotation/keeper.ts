import { type AuditEntry, appendLine } from '../keyring/audit.ts';
import type { Command, KeyringEvent } from '../keyring/command.ts';
import { latestDate } from '../keyring/invariants.ts';
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
  /** What has come for certain, at most `now()`: only what ended by then is stored as ended. */
  readonly sure: () => number;
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
/** At the end the time is stored where what is stored is older than so many milliseconds. */
const OLD_TIME_MS = 10_000;

/** Holds the keyring that rules, and keeps the store in step with it. */
export function createKeeper(options: KeeperOptions) {
  const { now, sure } = options;
  const ruling = createRuling(options);
  const listeners: KeyringListener[] = [];
  const inTurn = createTurns();
  const saves = createRulingSaves(ruling, inTurn);
  const saveAs = (next: Keyring): Promise<void> => {
    ruling.rule(next);
    return saves.now();
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
        const { next, events } = carryOut(ruling.keyring(), commands, by, options);
        if (next === ruling.keyring()) return events;
        ruling.rule(durability === 'saved' ? await ruling.save(next).catch(refuse) : next);
        for (const tell of listeners) tell(events, by);
        if (durability === 'at-once') await saves.now();
        if (durability === 'later') saves.within(LATER_MS);
        return events;
      }),
    /** Calls the listener after each change from now on, after the listeners before it. */
    subscribe: (listener: KeyringListener) => void listeners.push(listener),
    /** Writes into the audit what happened without a change of the keyring; never rejects. */
    note: (entry: Omit<AuditEntry, 'at'>) =>
      inTurn(async () => {
        const line = { ...entry, at: new Date(now()).toISOString() };
        const keyring = ruling.keyring();
        await saveAs({ ...keyring, audit: appendLine(keyring.audit, line) });
      }),
    /** Stores that this instant has come: no later start begins before it. Never rejects. */
    keepTime: () => inTurn(() => saveAs({ ...ruling.keyring(), sureAt: sure() })),
    /** Waits for the changes under way, and saves what is not saved yet. */
    close: saves.close,
  };
}

/** Saves what rules already; a save that fails is tried again until one succeeds. */
function createRulingSaves(
  ruling: ReturnType<typeof createRuling>,
  inTurn: ReturnType<typeof createTurns>,
) {
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** To be called in turn. */
  const now = (): Promise<void> =>
    ruling.save(ruling.keyring()).then(ruling.rule, () => within(RETRY_MS));
  const owed = (isEnd: boolean): Promise<void> => {
    timer = undefined;
    return inTurn(async () => {
      if (ruling.isOwed() || (isEnd && ruling.isTimeOld())) await now();
    });
  };
  const within = (ms: number): void => {
    if (!closed) timer ??= setTimeout(() => void owed(false), ms).unref();
  };
  return {
    now,
    within,
    async close(): Promise<void> {
      closed = true;
      clearTimeout(timer);
      await owed(true);
    },
  };
}

/** The keyring that rules, and what the store has of it. */
function createRuling({ store, stored, onStore, mayWrite, sure }: KeeperOptions) {
  let { keyring, version } = stored;
  let saved = keyring;
  let snapshot = snapshotOf(keyring);
  const saves = createSaves({ mayWrite, onStore });
  return {
    keyring: () => keyring,
    snapshot: () => snapshot,
    failed: saves.failure,
    /** Whether what rules is not saved. */
    isOwed: () => keyring !== saved || keyring.audit.pending.length > 0,
    isTimeOld: () => sure() - keyring.sureAt > OLD_TIME_MS,
    rule(next: Keyring): void {
      // A line of the audit changes nothing for the traffic.
      if (next.clients !== keyring.clients) snapshot = snapshotOf(next);
      keyring = next;
    },
    /** Resolves to the keyring without the audit lines that the store has now. */
    async save(next: Keyring): Promise<Keyring> {
      const timed = { ...next, sureAt: Math.max(next.sureAt, sure()) };
      version = await saves.run(() => store.save(timed, version));
      saved = { ...timed, audit: { ...timed.audit, pending: [] } };
      return saved;
    },
  };
}

function carryOut(
  keyring: Keyring,
  commands: readonly Command[],
  by: Actor,
  clock: Pick<KeeperOptions, 'now' | 'sure'>,
) {
  const [now, sure] = [clock.now(), clock.sure()];
  let next = withoutFuture(keyring, now);
  const events: KeyringEvent[] = [];
  for (const command of commands) {
    const result = transition(next, command, now, sure);
    if (!result.ok) throw adminErrorOf(result.fault);
    next = result.keyring;
    events.push(...result.events);
  }
  const lines = events.map((event) => auditEntryOf(event, by, now));
  if (lines.length > 0) next = { ...next, audit: lines.reduce(appendLine, next.audit) };
  return { next, events };
}

/**
 * The keyring whose last change is not before its time: it was made by a clock that was ahead, and
 * was set right. Dates that were stored by that clock stay.
 */
function withoutFuture(keyring: Keyring, now: number): Keyring {
  if (keyring.changedAt <= now) return keyring;
  const changedAt = Math.max(now, latestDate(keyring));
  return changedAt < keyring.changedAt ? { ...keyring, changedAt } : keyring;
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
    case 'clientChanged':
      return { ...common, detail: event.changes };
    case 'published':
    case 'keyAdded':
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
