import type { DeclaredReading } from '../config/load.ts';
import type { AuditEntry } from '../keyring/audit.ts';
import type { Keyring } from '../keyring/keyring.ts';
import type { KeyringSnapshot, KnownKey } from '../keyring/snapshot.ts';
import { createKeyWatch } from '../store/watch.ts';
import { AdminError, type KeyAdmin } from './admin.ts';
import { countingAdmin } from './counting-admin.ts';
import { createDeclaredKeys, type DeclaredKeys } from './declared.ts';
import { type FirstKey, firstKey } from './first-key.ts';
import { createFirstUses } from './first-uses.ts';
import { createKeyAdmin } from './key-admin.ts';
import type { KeyEvents } from './key-events.ts';
import { type KeysOptions, loadParts, type Parts } from './key-parts.ts';
import type { ViewSources } from './key-views.ts';
import { createRepublish } from './republish.ts';
import { createRotateRequests, type RotateRequests } from './rotate-request.ts';
import { statusOf } from './status.ts';
import { createTombstoneUses } from './tombstone-uses.ts';
import { createWakes, forgettable, type Wakes } from './wakes.ts';

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
