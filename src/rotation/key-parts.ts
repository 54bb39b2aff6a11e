import type { Clock } from '../clock.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import { EMPTY_KEYRING, idOf, type Keyring } from '../keyring/keyring.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import type { KeyStore } from '../store/key-store.ts';
import type { Actor } from './admin.ts';
import { createKeeper } from './keeper.ts';
import { type KeyEvents, triggerOf } from './key-events.ts';
import { createPublisher } from './publisher.ts';
import { createRotator, type KeyFiles } from './rotate.ts';
import { createSteadyClock } from './steady-clock.ts';
import { createUsageTracker } from './usage-tracker.ts';
import type { Wakes } from './wakes.ts';

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
