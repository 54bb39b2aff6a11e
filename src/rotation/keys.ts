import type { Clock } from '../clock.ts';
import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { AuditEntry } from '../keyring/audit.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import { EMPTY_KEYRING, idOf, type Keyring } from '../keyring/keyring.ts';
import type { KeyringSnapshot, KnownKey } from '../keyring/snapshot.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import type { KeyStore } from '../store/key-store.ts';
import { createKeyWatch } from '../store/key-watch.ts';
import { type Actor, AdminError, type KeyAdmin } from './admin.ts';
import { createDeclaredKeys, type DeclaredKeys, type FirstKey, firstKey } from './declared.ts';
import { statusOf, type ViewSources } from './describe.ts';
import { type KeyEvents, triggerOf } from './events.ts';
import { createKeeper, type Keeper } from './keeper.ts';
import { countingAdmin, createKeyAdmin, createRepublish } from './key-admin.ts';
import { createPublisher } from './publisher.ts';
import {
  createRotateRequests,
  createRotator,
  type KeyFiles,
  type RotateRequests,
} from './rotate.ts';
import { dueClients, nextEnd, type Schedule } from './schedule.ts';
import { createSteadyClock, type SteadyClock } from './steady-clock.ts';
import {
  createFirstUses,
  createTombstoneUses,
  createUsageTracker,
  type UsageTracker,
} from './use.ts';

export interface WakesOptions {
  readonly keeper: Keeper;
  readonly clock: SteadyClock;
  readonly schedule: Schedule;
  readonly usage: UsageTracker;
  /** Resolves to whether it was saved; never rejects. */
  readonly saveUsage: () => Promise<boolean>;
  /** Rotates a client because its time has come; never rejects. */
  readonly rotateOnSchedule: (client: string) => Promise<void>;
}

export interface Wakes {
  /** A deadline was set: looks again when the next one is. */
  look(): void;
  /** Nothing happens by itself any more; use that was not saved yet is. */
  close(): Promise<void>;
}

/** The longest wait: the wall clock may jump, and a sleeping machine wakes late. */
const LOOK_EVERY_MS = 1000;
/** What a crash may lose of who used which key. */
const SAVE_USAGE_MS = 30_000;
/** A scheduled rotation that failed is tried again after it. */
const TRY_AGAIN_MS = 60_000;

/** What happens to keys by time alone: they retire, they rotate, and their use is saved. */
export function createWakes(options: WakesOptions): Wakes {
  const { keeper, clock, schedule, usage } = options;
  /** By client: no scheduled rotation is begun before it. */
  const notBefore = new Map<string, number>();
  let usageSavedAt = clock.now();
  let isUsageOwed = false;
  let timer: NodeJS.Timeout | undefined;
  let working: Promise<void> = Promise.resolve();
  let closed = false;

  const saveUsage = async (): Promise<void> => {
    usageSavedAt = clock.now();
    if (isUsageOwed || usage.changed()) isUsageOwed = !(await options.saveUsage());
  };
  const rotateDue = async (): Promise<void> => {
    const now = clock.now();
    for (const client of dueClients(keeper.keyring(), schedule, now)) {
      if ((notBefore.get(client) ?? 0) > now) continue;
      notBefore.set(client, now + TRY_AGAIN_MS);
      const before = activeNumber(client);
      await options.rotateOnSchedule(client);
      if (activeNumber(client) !== before) notBefore.delete(client);
    }
  };
  const activeNumber = (client: string): number | undefined =>
    keeper
      .keyring()
      .clients.get(client)
      ?.generations.findLast(({ state }) => state === 'active')?.number;
  const work = async (): Promise<void> => {
    clock.check();
    if (nextEnd(keeper.keyring()) <= clock.now()) {
      await keeper.change([{ kind: 'pass' }], 'sidecar', 'later');
    }
    await rotateDue();
    if (clock.now() - usageSavedAt >= SAVE_USAGE_MS) await saveUsage();
  };
  const plan = (): void => {
    if (closed) return;
    clearTimeout(timer);
    const wait = Math.min(LOOK_EVERY_MS, Math.max(1, nextEnd(keeper.keyring()) - clock.now()));
    timer = setTimeout(wake, wait).unref();
  };
  const wake = (): void => {
    working = work().then(plan, plan);
  };
  plan();

  return {
    look: plan,
    async close() {
      closed = true;
      clearTimeout(timer);
      await working;
      await saveUsage();
    },
  };
}

/** Ids of generations whose use is not worth keeping: long ended, and not the newest that ended. */
export function forgettable(keeper: Keeper, keep: number): readonly string[] {
  const ids: string[] = [];
  for (const { name, generations } of keeper.keyring().clients.values()) {
    const ended = generations.filter(({ endedAt }) => endedAt !== undefined);
    for (const { number } of ended.slice(0, Math.max(0, ended.length - keep))) {
      ids.push(idOf(name, number));
    }
  }
  return ids;
}

export interface KeysOptions {
  readonly config: Config;
  readonly store: KeyStore;
  readonly keyFiles: KeyFiles;
  readonly places: DeclaredPlaces;
  readonly clock: Clock;
  readonly version: string;
  readonly events: KeyEvents;
  /** What is under way with a generation, by its id. */
  readonly traffic: {
    inFlight(generation: string): number;
    /** Ends it now; returns how many there were. */
    cut(generation: string): number;
  };
  /** Whether the state folder is still this process's. */
  readonly mayWrite: () => boolean;
  readonly fault?: FaultPoint;
}

export type Parts = Awaited<ReturnType<typeof loadParts>>;
type RevokedEvent = Extract<KeyringEvent, { kind: 'revoked' }>;

/** What everything else is made of. */
export async function loadParts(options: KeysOptions) {
  const { config, store, keyFiles, events, traffic, mayWrite, fault } = options;
  const stored = (await store.load()) ?? { keyring: EMPTY_KEYRING, version: 0 };
  const { changedAt: notBefore } = stored.keyring;
  const clock = createSteadyClock({ clock: options.clock, notBefore, onJump: events.onClockJump });
  const { now } = clock;
  const startedAt = now();
  const usage = createUsageTracker({ now, initial: await store.loadUsage() });
  for (const warning of store.warnings) events.onNote(warning);
  const cuts = new Map<string, number>();
  let wakes: Wakes | undefined;
  const onEvents = (happened: readonly KeyringEvent[], by: Actor): void => {
    for (const event of happened) {
      if (event.kind === 'revoked' && event.compromised) {
        cuts.set(event.generation, traffic.cut(event.generation));
      }
      // A client's first key is no rotation.
      if (event.kind === 'rotated' && event.from !== undefined) {
        events.onRotation(triggerOf(by), 'done');
      }
      // Of the newest key nothing is published any more, where it was pending.
      if (event.kind === 'revoked' && isNewest(keeper.keyring(), event)) {
        publisher.forget(event.client);
      }
      events.onChange(event, by);
    }
    wakes?.look();
  };
  const { onStore } = events;
  const keeper = createKeeper({ store, stored, now, onEvents, onStore, mayWrite });
  const publisher = createPublisher({
    targets: config.publish,
    now,
    onPublished: (client, number) => {
      const published = { kind: 'published', client, number } as const;
      // A newer key may have come since, or the client may be gone.
      keeper.change([published], 'sidecar', 'at-once').catch(() => undefined);
    },
    onFailure: events.onPublishFailure,
    ...(fault !== undefined && { fault }),
  });
  const { maxGraceMs, rotateEveryMs: everyMs } = config;
  const rotator = createRotator({ keeper, keyFiles, publisher, maxGraceMs });
  const clients = new Set(config.publish.map(({ client }) => client));
  return {
    ...{ clock, startedAt, usage, keeper, publisher, rotator, schedule: { everyMs, clients } },
    publishPending: () =>
      [...clients].flatMap(publisher.targets).filter(({ state }) => state === 'pending').length,
    /** How many were cut for a generation; each answer is given once. */
    takeCut(generation: string): number {
      const count = cuts.get(generation) ?? 0;
      cuts.delete(generation);
      return count;
    },
    onDeadline(told: Wakes): void {
      wakes = told;
    },
  };
}

function isNewest(keyring: Keyring, { client, generation }: RevokedEvent): boolean {
  const number = keyring.clients.get(client)?.generations.at(-1)?.number;
  return number !== undefined && idOf(client, number) === generation;
}

/** All that a running sidecar knows of keys. */
export interface Keys {
  /** Where the key came from that `master` presents, at this start. */
  readonly from: FirstKey;
  snapshot(): KeyringSnapshot;
  keyring(): Keyring;
  /** Milliseconds since the epoch, by which keys end. */
  now(): number;
  readonly admin: KeyAdmin;
  /** For the traffic path: neither waits, and neither throws. */
  onKeyUse(key: KnownKey, address: string, userAgent: string): void;
  onFirstAnswer(key: KnownKey): void;
  lastUsedAt(generation: string): number | undefined;
  /** Writes into the audit what is no change of a key; neither waits nor throws. */
  note(entry: Omit<AuditEntry, 'at'>): void;
  /** Writes into the audit what was mended in it. */
  noteRepair(message: string): void;
  /** Publish targets that lack the newest key. */
  publishPending(): number;
  /** Saves what is not saved yet; nothing happens by itself any more. */
  close(): Promise<void>;
}

/** Generations that ended, of each client, whose use is kept. */
const ENDED_KEPT = 8;

/**
 * Loads the keyring, goes on with what a crash left, makes the first key where there is none, and
 * watches for what changes keys from then on.
 *
 * @throws StoreError where the keyring cannot be read
 * @throws AdminError where the first key cannot be made
 */
export async function openKeys(options: KeysOptions): Promise<Keys> {
  const { config, events } = options;
  const parts = await loadParts(options);
  const { keeper, rotator, usage, clock } = parts;
  const { graceMs } = config;
  const { keyFiles, places, store } = options;
  for (const note of await rotator.recover()) events.onNote(note);
  const declared = createDeclaredKeys({ keeper, rotator, graceMs });
  const { from, outcome, reading } = await firstKey({
    ...parts,
    keyFiles,
    declared,
    places,
    graceMs,
  });
  events.onDeclared(outcome);
  const requests = createRotateRequests({ ...parts, keyFiles, graceMs, now: clock.now });
  const watch = watchDeclared(options, declared, reading);
  const wakes = wakesOf(options, parts, requests);
  parts.onDeadline(wakes);
  const tombstones = createTombstones(options, parts);
  const firstUses = createFirstUses(keeper, clock.now);
  return {
    from,
    snapshot: keeper.snapshot,
    keyring: keeper.keyring,
    now: clock.now,
    admin: adminOf(options, parts, requests, declared.warnings),
    onKeyUse(key, address, userAgent) {
      usage.note(key.id, address, userAgent);
      if (key.state === 'retired' || key.state === 'revoked') tombstones.note(key.id, address);
    },
    onFirstAnswer: firstUses.note,
    lastUsedAt: usage.lastAt,
    note: (entry) => void keeper.note(entry),
    noteRepair(message) {
      void keeper.note({ by: 'sidecar', action: 'audit-repaired', detail: { message } });
    },
    publishPending: parts.publishPending,
    async close() {
      watch.stop();
      parts.publisher.close();
      tombstones.close();
      await wakes.close();
      await keeper.close();
      await store.close();
    },
  };
}

/** Acts on what is declared from now on. */
function watchDeclared(
  { places, events }: KeysOptions,
  declared: DeclaredKeys,
  settled: DeclaredReading,
) {
  const act = async (reading: DeclaredReading): Promise<void> => {
    const outcome = await declared.settle(reading);
    if (outcome.kind === 'refused') events.onRotation('declared', 'refused');
    events.onDeclared(outcome);
  };
  return createKeyWatch({ places, settled, onSettled: (reading) => void act(reading) });
}

function wakesOf({ store, events }: KeysOptions, parts: Parts, requests: RotateRequests): Wakes {
  const { keeper, usage } = parts;
  const saveUsage = async (): Promise<boolean> => {
    usage.forget(forgettable(keeper, ENDED_KEPT));
    try {
      await store.saveUsage(usage.usage());
      return true;
    } catch {
      return false;
    }
  };
  const rotate = (client: string) => rotateOnSchedule(requests, client, events);
  return createWakes({ ...parts, saveUsage, rotateOnSchedule: rotate });
}

function adminOf(
  { config, version, store, traffic, events, keyFiles, places }: KeysOptions,
  parts: Parts,
  requests: RotateRequests,
  warnings: Parameters<typeof statusOf>[1]['warnings'],
): KeyAdmin {
  const { keeper, publisher, usage, clock, schedule, startedAt, takeCut, rotator } = parts;
  const { graceMs, rotateEveryMs } = config;
  const { inFlight } = traffic;
  const { targets } = publisher;
  const sources: ViewSources = { now: clock.now, use: usage.of, inFlight, targets, schedule };
  const { storeError } = keeper;
  const storeWarnings = () => store.warnings;
  const about = { version, startedAt, clock, storeError, storeWarnings, rotateEveryMs, warnings };
  const admin = createKeyAdmin({
    ...{ keeper, requests, sources, graceMs, takeCut },
    republish: createRepublish({ keeper, rotator, keyFiles, places, targets }),
    forget: keyFiles.remove,
    status: (clients) => statusOf(clients, about),
  });
  return countingAdmin(admin, events.onRotation);
}

function createTombstones({ events }: KeysOptions, { keeper, clock }: Parts) {
  const tell = (use: Parameters<KeyEvents['onTombstone']>[0]): void => {
    events.onTombstone(use);
    const { generation: from, address, count, since } = use;
    const client = from.replace(/-\d+$/, '');
    const entry = { by: 'sidecar', action: 'tombstone-used', client, from };
    void keeper.note({
      ...entry,
      detail: { address, count, since: new Date(since).toISOString() },
    });
  };
  return createTombstoneUses({ now: clock.now, onFirst: tell, onHour: tell });
}

async function rotateOnSchedule(
  requests: RotateRequests,
  client: string,
  events: KeyEvents,
): Promise<void> {
  const asked = { client, graceMs: undefined, compromised: false, force: true };
  try {
    await requests.rotate({ ...asked, idempotencyKey: undefined }, 'schedule');
  } catch (error) {
    events.onRotation('schedule', error instanceof AdminError ? 'refused' : 'failed');
    events.onScheduleFailure(client, error as Error);
  }
}
