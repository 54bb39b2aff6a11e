import type { Clock } from '../clock.ts';
import type { PublishTarget } from '../config/kinds.ts';
import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { AuditEntry } from '../keyring/audit.ts';
import type { LimitUse } from '../keyring/client-limits.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import { EMPTY_KEYRING, idOf, type Keyring, readId } from '../keyring/keyring.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import type { KeyFiles } from '../store/key-files.ts';
import type { KeyStore, StoreError } from '../store/key-store.ts';
import { createKeyWatch } from '../store/key-watch.ts';
import {
  type Actor,
  AdminError,
  type RotationOutcome,
  type TargetView,
  type Trigger,
} from './admin.ts';
import {
  createDeclaredKeys,
  type DeclaredKeys,
  type DeclaredOutcome,
  firstKey,
} from './declared.ts';
import {
  type ClientsFileOutcome,
  followClientsFile,
  outsideFile,
  refuseWithoutFile,
} from './file-clients.ts';
import { createKeeper, type Keeper } from './keeper.ts';
import { createKeyAdmin } from './key-admin.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { compromisedIn, createRotator, type Rotator } from './rotate.ts';
import { createKeyTimer } from './schedule.ts';
import { type ClockJump, createSteadyClock } from './steady-clock.ts';
import {
  createFirstUses,
  createTombstoneUses,
  createUsageTracker,
  endedLongAgo,
  notAfter,
  type TombstoneUse,
  type UsageTracker,
} from './use.ts';

/** What is told of keys as it happens, for the log and the metrics; none may throw or wait. */
export interface KeyEvents {
  onChange(event: KeyringEvent, by: Actor): void;
  onRotation(trigger: Trigger, outcome: RotationOutcome): void;
  /** The store failed; undefined: it works again. */
  onStore(error: StoreError | undefined): void;
  onPublishFailure(target: PublishTarget | 'state', error: Error): void;
  /** A fault that was mended at the start, a rotation that was finished there, or of a target. */
  onNote(message: string): void;
  onDeclared(outcome: DeclaredOutcome): void;
  onClientsFile(outcome: ClientsFileOutcome): void;
  onClockJump(jump: ClockJump): void;
  /** A scheduled rotation did not succeed; it is tried again. */
  onScheduleFailure(client: string, error: Error): void;
  /** A retired or revoked key came back, for the first time within an hour or added up. */
  onTombstone(use: TombstoneUse): void;
}

/** Which trigger stands behind an actor's name. */
export function triggerOf(by: Actor): Trigger {
  if (by === 'schedule') return 'schedule';
  if (by.startsWith('declared:')) return 'declared';
  if (by.startsWith('api:')) return 'api';
  return by === 'sidecar' ? 'start' : 'cli';
}

interface KeysOptions {
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
    /** Ends it now; returns how many exchanges and tunnels there were. */
    cut(generation: string): number;
    /** What a client uses of its limits. */
    limitUse(client: string): LimitUse;
    /** Which of these models match nothing that LiteLLM lists. */
    unlisted(models: readonly string[]): readonly string[];
  };
  /** Whether the state folder is still this process's. */
  readonly mayWrite: () => boolean;
}

/** All that a running sidecar knows of keys. */
export type Keys = Awaited<ReturnType<typeof openKeys>>;

/**
 * Loads the keyring, goes on with what a crash left, makes the first key where there is none, and
 * watches for what changes keys from then on.
 *
 * @throws StoreError where the keyring cannot be read
 * @throws AdminError where the first key cannot be made
 * @throws ClientsFileError where the clients file has mistakes, or is not named any more
 */
export async function openKeys(options: KeysOptions) {
  const { store, keyFiles, places, events } = options;
  const { graceMs, maxGraceMs, rotateEveryMs } = options.config;
  const { clock, startedAt, usage, keeper } = await loadKeeper(options);
  const { now, onward, sure } = clock;
  const publisher = openPublisher(options, keeper, now);
  const takeCut = followChanges(options, keeper, publisher);
  const rotator = createRotator({ keeper, keyFiles, publisher, maxGraceMs, now });
  for (const note of await rotator.recover()) events.onNote(note);

  const declared = createDeclaredKeys({ keeper, rotator, graceMs });
  const first = await firstKey({ keeper, rotator, keyFiles, declared, places, graceMs });
  events.onDeclared(first.outcome);
  const file = await openFile(options, keeper, now);
  void publisher.tryAll();
  const watch = watchDeclared(options, keeper, declared, first);
  const schedule = scheduleOf(options.config);
  const timer = createKeyTimer({
    ...{ keeper, clock, schedule, usage },
    saveUsage: () => saveUsage(store, usage, keeper.keyring(), sure()),
    rotate: (client) => rotateOnSchedule(rotator, client, graceMs, events),
  });
  const tombstones = watchTombstones(keeper, now, events);
  const { targets } = publisher;
  const admin = createKeyAdmin({
    ...{ keeper, rotator, keyFiles, places, graceMs, takeCut },
    onNotRotated: (by, outcome) => events.onRotation(triggerOf(by), outcome),
    sources: { ...options.traffic, now, use: usage.of, targets, schedule },
    status: {
      ...{ version: options.version, startedAt, clock, rotateEveryMs },
      ...{ storeError: keeper.storeError, store, kept: keyFiles.keeps },
      warnings: () => [declared, publisher, file].flatMap((part) => part?.warnings() ?? []),
    },
  });
  return {
    /** Where the key came from that `master` presents, at this start. */
    from: first.from,
    /** `now` is the time by which keys end, in milliseconds since the epoch; see the clock. */
    ...{ snapshot: keeper.snapshot, keyring: keeper.keyring, now, onward, sure },
    admin: outsideFile(admin, options.config.clientsFile ?? '', keeper.keyring),
    /** For the traffic path: neither this nor `onFirstAnswer` waits or throws. */
    onKeyUse(key: KnownKey, address: string, userAgent: string): void {
      usage.note(key.id, address, userAgent);
      if (key.state === 'retired' || key.state === 'revoked') tombstones.note(key.id, address);
    },
    onFirstAnswer: createFirstUses(keeper, clock).note,
    lastUsedAt: usage.lastAt,
    /** Writes into the audit what happened without a change of a key; neither waits nor throws. */
    note: (entry: Omit<AuditEntry, 'at'>): void => void keeper.note(entry),
    /** How many publish targets lack the newest key. */
    publishPending: () => countPending([...schedule.clients].flatMap(targets)),
    /** Saves what is not saved yet; nothing happens by itself any more. */
    async close(): Promise<void> {
      for (const part of [watch, publisher, tombstones]) part.close();
      for (const part of [file, timer, keeper, store]) await part?.close();
    },
  };
}

/** The clients file, where there is one. */
async function openFile(
  { config, keyFiles, events }: KeysOptions,
  keeper: Keeper,
  now: () => number,
) {
  const { clientsFile: path } = config;
  if (path === undefined) return refuseWithoutFile(keeper.keyring());
  return await followClientsFile({
    ...{ path, keeper, keyFiles, now, onOutcome: events.onClientsFile },
    published: scheduleOf(config).clients,
  });
}

/** Loads what is stored, and starts a clock that never goes back behind it. */
async function loadKeeper(options: KeysOptions) {
  const { store, events } = options;
  const stored = (await store.load()) ?? { keyring: EMPTY_KEYRING, version: 0 };
  const initial = await store.loadUsage();
  let notBefore = stored.keyring.sureAt;
  for (const { lastAt } of initial.values()) notBefore = Math.max(notBefore, lastAt);
  const clock = createSteadyClock({ clock: options.clock, notBefore, onJump: events.onClockJump });
  const { now, sure } = clock;
  const startedAt = now();
  const usage = createUsageTracker({ now, initial });
  for (const warning of store.warnings) events.onNote(warning);
  const keeper = createKeeper({ ...options, stored, now, sure, onStore: events.onStore });
  return { clock, startedAt, usage, keeper };
}

const countPending = (targets: readonly TargetView[]): number =>
  targets.filter(({ state }) => state === 'pending').length;

/** Those whose keys are published are rotated by themselves, where `everyMs` is not 0. */
const scheduleOf = ({ publish, rotateEveryMs }: KeysOptions['config']) => ({
  everyMs: rotateEveryMs,
  clients: new Set(publish.map(({ client }) => client)) as ReadonlySet<string>,
});

function openPublisher(
  { config, events }: KeysOptions,
  keeper: Keeper,
  now: () => number,
): Publisher {
  return createPublisher({
    targets: config.publish,
    now,
    // By then a newer key may have come, or the client may be gone: the keeper refuses the command.
    onPublished: (client, number) =>
      void keeper
        .change([{ kind: 'published', client, number }], 'sidecar', 'at-once')
        .catch(() => undefined),
    onFailure: events.onPublishFailure,
    onNote: events.onNote,
  });
}

/**
 * Ends what is under way with a key that is revoked as compromised, tells log and metrics of
 * changes, and the publisher of a newest key that is revoked.
 *
 * @returns how many exchanges were cut for a generation; the answer is given once
 */
function followChanges(
  { events: told, traffic }: KeysOptions,
  keeper: Keeper,
  publisher: Publisher,
) {
  const counts = new Map<string, number>();
  keeper.subscribe((events, by) => {
    for (const id of compromisedIn(events)) counts.set(id, traffic.cut(id));
    for (const event of events) {
      // A client's first key is no rotation.
      if (event.kind === 'rotated' && event.from !== undefined) {
        told.onRotation(triggerOf(by), 'done');
      }
      if (event.kind === 'revoked' && isNewest(keeper.keyring(), event)) {
        publisher.forget(event.client);
      }
      told.onChange(event, by);
    }
  });
  return (generation: string): number => {
    const count = counts.get(generation) ?? 0;
    counts.delete(generation);
    return count;
  };
}

function isNewest(
  keyring: Keyring,
  { client, generation }: Extract<KeyringEvent, { kind: 'revoked' }>,
): boolean {
  const number = keyring.clients.get(client)?.lastNumber;
  return number !== undefined && idOf(client, number) === generation;
}

/** A declared key that waits for a disk is tried again after so many milliseconds. */
const TRY_DECLARED_MS = 10_000;

/**
 * Acts from now on whenever the declared key changes, and again where it had to wait: else the next
 * restart would take it, when nobody expects a rotation.
 */
function watchDeclared(
  { places, events }: KeysOptions,
  keeper: Keeper,
  declared: DeclaredKeys,
  first: { readonly reading: DeclaredReading; readonly outcome: DeclaredOutcome },
) {
  let { reading, outcome } = first;
  let retry: NodeJS.Timeout | undefined;
  let stopped = false;
  const isWaiting = (): boolean => outcome.kind === 'refused' && outcome.waits;
  const act = async (next: DeclaredReading, again = false): Promise<void> => {
    reading = next;
    outcome = await declared.settle(next);
    if (isWaiting()) tryIn(TRY_DECLARED_MS);
    if (again && isWaiting()) return;
    if (outcome.kind === 'refused') events.onRotation('declared', 'refused');
    events.onDeclared(outcome);
    if (outcome.kind !== 'rotated') return;
    for (const { message, hint } of declared.warnings()) events.onNote(`${message} (${hint})`);
  };
  const tryIn = (ms: number): void => {
    clearTimeout(retry);
    if (!stopped) retry = setTimeout(() => void act(reading, true), ms).unref();
  };
  if (isWaiting()) tryIn(TRY_DECLARED_MS);
  keeper.subscribe((changes) => {
    if (isWaiting() && changes.some(({ kind }) => ROOM.has(kind))) tryIn(0);
  });
  const watch = createKeyWatch({ places, settled: reading, onSettled: (each) => void act(each) });
  return {
    close(): void {
      stopped = true;
      clearTimeout(retry);
      watch.stop();
    },
  };
}

/** What makes room for one more key. */
const ROOM: ReadonlySet<KeyringEvent['kind']> = new Set(['retired', 'revoked', 'rotated']);

/** For how many ended generations of each client the record of their use is kept. */
const ENDED_KEPT = 8;

/** Resolves to whether the usage was saved. */
async function saveUsage(
  store: KeyStore,
  usage: UsageTracker,
  keyring: Keyring,
  sure: number,
): Promise<boolean> {
  usage.forget(endedLongAgo(keyring, ENDED_KEPT));
  try {
    await store.saveUsage(notAfter(sure, usage.usage()));
    return true;
  } catch {
    return false;
  }
}

async function rotateOnSchedule(
  rotator: Rotator,
  client: string,
  graceMs: number,
  events: KeyEvents,
): Promise<void> {
  const rotation = { client, graceMs, compromised: false, idempotency: undefined };
  try {
    await rotator.rotate({ ...rotation, newClient: undefined }, 'schedule');
  } catch (error) {
    events.onRotation('schedule', error instanceof AdminError ? 'refused' : 'failed');
    events.onScheduleFailure(client, error as Error);
  }
}

/** Tells the log and the audit of retired and revoked keys that come back. */
function watchTombstones(keeper: Keeper, now: () => number, { onTombstone }: KeyEvents) {
  const tell = (use: TombstoneUse): void => {
    onTombstone(use);
    const { generation: from, address, count, since } = use;
    const detail = { address, count, since: new Date(since).toISOString() };
    const client = readId(from)?.client ?? '';
    void keeper.note({ by: 'sidecar', action: 'tombstone-used', client, from, detail });
  };
  return createTombstoneUses({ now, onFirst: tell, onHour: tell });
}
