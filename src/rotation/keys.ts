import type { Clock } from '../clock.ts';
import type { DeclaredPlaces, DeclaredReading } from '../config/declared.ts';
import type { Config } from '../config.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import { EMPTY_KEYRING, type Keyring } from '../keyring/keyring.ts';
import type { KeyringSnapshot, KnownKey } from '../keyring/snapshot.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import type { KeyStore } from '../store/key-store.ts';
import { type Actor, AdminError, type KeyAdmin } from './admin.ts';
import { countingAdmin } from './counting-admin.ts';
import { createDeclaredKeys } from './declared.ts';
import { createDeclaredWatch } from './declared-watch.ts';
import { type FirstKey, firstKey } from './first-key.ts';
import { createFirstUses } from './first-uses.ts';
import { createKeeper } from './keeper.ts';
import { createKeyAdmin } from './key-admin.ts';
import { type KeyEvents, triggerOf } from './key-events.ts';
import type { ViewSources } from './key-views.ts';
import { createPublisher } from './publisher.ts';
import { createRepublish } from './republish.ts';
import { createRotator, type KeyFiles } from './rotate.ts';
import { createRotateRequests, type RotateRequests } from './rotate-request.ts';
import { statusOf } from './status.ts';
import { createSteadyClock } from './steady-clock.ts';
import { createTombstoneUses } from './tombstone-uses.ts';
import { createUsageTracker } from './usage-tracker.ts';
import { createWakes, forgettable, type Wakes } from './wakes.ts';

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
  /** Writes into the audit what was mended in it. */
  noteRepair(message: string): void;
  /** Publish targets that lack the newest key. */
  publishPending(): number;
  /** Saves what is not saved yet; nothing happens by itself any more. */
  close(): Promise<void>;
}

type Parts = Awaited<ReturnType<typeof loadParts>>;

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
  const { from, outcome } = await firstKey({ ...parts, keyFiles, declared, places, graceMs });
  events.onDeclared(outcome);
  const requests = createRotateRequests({ ...parts, keyFiles, graceMs, now: clock.now });
  const settle = async (reading: DeclaredReading): Promise<void> => {
    const happened = await declared.settle(reading);
    if (happened.kind === 'refused') events.onRotation('declared', 'refused');
    events.onDeclared(happened);
  };
  const watch = createDeclaredWatch({ places, onSettled: (reading) => void settle(reading) });
  const wakes = createWakes({
    ...parts,
    saveUsage: async () => {
      usage.forget(forgettable(keeper, ENDED_KEPT));
      await store.saveUsage(usage.usage()).catch(events.onStore);
    },
    rotateOnSchedule: (client) => rotateOnSchedule(requests, client, events),
  });
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

/** What everything else is made of. */
async function loadParts(options: KeysOptions) {
  const { config, store, keyFiles, events, traffic, mayWrite, fault } = options;
  const stored = (await store.load()) ?? { keyring: EMPTY_KEYRING, version: 0 };
  for (const warning of store.warnings) events.onNote(warning);
  const { changedAt: notBefore } = stored.keyring;
  const clock = createSteadyClock({ clock: options.clock, notBefore, onJump: events.onClockJump });
  const { now } = clock;
  const startedAt = now();
  const usage = createUsageTracker({ now, initial: await store.loadUsage() });
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

function adminOf(
  { config, version, traffic, events, keyFiles, places }: KeysOptions,
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
  const about = { version, startedAt, clock, storeError, rotateEveryMs, warnings };
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
