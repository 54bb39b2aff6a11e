import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { Secret } from '../secret.ts';
import { createDisk } from '../store/disk.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import { acceptedKeyPath } from '../store/key-files.ts';
import { createKeyWatch } from '../store/key-watch.ts';
import type { UpstreamAdmin, UpstreamLooks } from './contracts.ts';
import { type KeyChange, type KeyChangeEvents, openKeyChange } from './key-change.ts';
import { unknownHandover } from './requests.ts';
import { createDatabase, newSaltKey, noSlots, type Warning } from './upstream-admin.ts';
import type { UpstreamView } from './views.ts';

export interface UnmanagedOptions {
  readonly config: Pick<
    Config,
    'state' | 'upstreams' | 'upstreamKey' | 'handoverTimeoutMs' | 'saltKeySet'
  >;
  /** What LiteLLM runs with, by the settings at the start. */
  readonly key: Secret;
  /** Whether clients hold the same key. */
  readonly isShared: boolean;
  readonly places: {
    readonly upstreamKey: DeclaredPlaces;
    readonly declaredKey: DeclaredPlaces;
  };
  readonly looks: Pick<UpstreamLooks, 'verify' | 'readiness'>;
  readonly now: () => number;
  readonly isUp: () => boolean;
  readonly load: () => { readonly requests: number; readonly websockets: number };
  readonly events: KeyChangeEvents;
  readonly fault?: FaultPoint;
}

/** Somebody else's LiteLLM. */
export interface Unmanaged {
  readonly admin: UpstreamAdmin;
  readonly keyChange: KeyChange;
  close(): Promise<void>;
}

/** @throws Error of Node's fs, where the last accepted key cannot be read */
export async function openUnmanaged(options: UnmanagedOptions): Promise<Unmanaged> {
  const { config, key, looks, now, events, fault } = options;
  const disk = createDisk({ ...(fault !== undefined && { fault }) });
  let unreadable: Warning | undefined;
  const keyChange = await openKeyChange({
    ...{ key, now, events, path: acceptedKeyPath(config.state) },
    quietMs: config.handoverTimeoutMs,
    verify: (each) => looks.verify('a', each),
    disk,
  });
  const watch = createKeyWatch({
    places: placesOf(options),
    onSettled(reading) {
      unreadable = warningOf(reading);
      if ('value' in reading && reading.value !== undefined) {
        void keyChange.onNewKey(reading.value.key);
      }
    },
  });
  const warnings = (): readonly Warning[] => [
    ...(unreadable === undefined ? [] : [unreadable]),
    ...notAccepted(keyChange, now(), config.handoverTimeoutMs),
    ...(options.isShared ? [SHARED] : []),
  ];
  return {
    admin: adminOf(options, keyChange, warnings),
    keyChange,
    async close() {
      watch.stop();
      await keyChange.close();
      disk.close();
    },
  };
}

/** SIDECAR_UPSTREAM_KEY's; where it is not set, and was not, the declared client key's. */
function placesOf({ places, config }: UnmanagedOptions): DeclaredPlaces {
  const { upstreamKey, declaredKey } = places;
  if (config.upstreamKey !== undefined) return upstreamKey;
  return {
    get files() {
      return [...new Set([...upstreamKey.files, ...declaredKey.files])];
    },
    async read() {
      const reading = await upstreamKey.read();
      const isNothing = 'value' in reading && reading.value === undefined;
      return isNothing ? await declaredKey.read() : reading;
    },
  };
}

/** An emptied or unreadable place changes nothing: the key before it counts. */
function warningOf(reading: DeclaredReading): Warning | undefined {
  const hint = 'until it can be read, the key before it counts';
  if ('fault' in reading) return { code: 'upstream_key_unreadable', message: reading.fault, hint };
  if (reading.value !== undefined) return undefined;
  const message = 'SIDECAR_UPSTREAM_KEY is not set any more';
  return { code: 'upstream_key_unreadable', message, hint };
}

const SHARED: Warning = {
  code: 'shared_key',
  message: 'LiteLLM runs with the key that clients hold',
  hint: 'give it one of its own, and SIDECAR_UPSTREAM_KEY',
};

function notAccepted(keyChange: KeyChange, now: number, afterMs: number): readonly Warning[] {
  const change = keyChange.view();
  if (change === null || change.newAcceptedAt !== null) return [];
  if (now - Date.parse(change.since) < afterMs) return [];
  return [
    {
      code: 'upstream_key_not_accepted',
      message: 'LiteLLM has not accepted the key that it should run with by now',
      hint: 'restart LiteLLM with it, or put the one before back into SIDECAR_UPSTREAM_KEY',
    },
  ];
}

function adminOf(
  options: UnmanagedOptions,
  keyChange: KeyChange,
  warnings: () => readonly Warning[],
): UpstreamAdmin {
  const { config, looks, now } = options;
  const database = createDatabase(looks.readiness);
  const [{ origin }] = config.upstreams;
  const refuse = () => Promise.reject(noSlots('somebody else runs LiteLLM, and hands it over'));
  return {
    status(): UpstreamView {
      if (database.known() === undefined) void database.ask('a');
      const { requests, websockets } = options.load();
      const load = { requests, websockets, mcpSessions: 0 };
      const slot = {
        name: 'a',
        url: origin,
        state: 'active',
        up: options.isUp(),
        ...load,
      } as const;
      return {
        now: new Date(now()).toISOString(),
        mode: 'unmanaged',
        verified: options.isUp(),
        slots: [slot],
        ...{ handover: null, waiting: null, last: null, keyMadeAt: null },
        ...{ rotateEveryMs: null, nextRotationAt: null, config: 'none', autoReload: false },
        database: database.known() ?? null,
        saltKeySet: config.saltKeySet,
        keyChange: keyChange.view(),
        warnings: warnings(),
        next: [],
      };
    },
    history: () => [],
    handover(id) {
      throw unknownHandover(id);
    },
    rotate: refuse,
    reload: refuse,
    saltKey: () => newSaltKey(config.saltKeySet, () => database.ask('a')),
  };
}
