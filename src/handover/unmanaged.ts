import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { Secret } from '../secret.ts';
import { type AcceptedKey, SHARED_KEY } from '../store/key-files.ts';
import { createKeyWatch } from '../store/key-watch.ts';
import {
  type KeyTraffic,
  type LitellmChecks,
  noSlots,
  type SlotTraffic,
  type UpstreamAdmin,
  unknownHandover,
} from './contracts.ts';
import { type KeyChange, type KeyChangeEvents, openKeyChange } from './key-change.ts';
import { createKeyCheck } from './key-check.ts';
import { NO_LOAD } from './observation.ts';
import { createSaltKeyGuard } from './salt-key.ts';
import type { UpstreamView, UpstreamWarning } from './views.ts';

interface UnmanagedOptions {
  readonly config: Pick<Config, 'upstreams' | 'upstreamKey' | 'handoverTimeoutMs' | 'saltKeySet'>;
  /** Keeps the key that LiteLLM accepted last. */
  readonly acceptedKey: AcceptedKey;
  /** The key that LiteLLM runs with, by the settings at the start. */
  readonly key: Secret;
  /** Whether clients hold the same key. */
  readonly isShared: boolean;
  readonly places: {
    readonly upstreamKey: DeclaredPlaces;
    readonly declaredKey: DeclaredPlaces;
  };
  readonly checks: Pick<LitellmChecks, 'verify' | 'tryKey' | 'readiness'>;
  readonly now: () => number;
  /** How long this process did not look, in milliseconds in all. */
  readonly missedMs?: () => number;
  readonly events: KeyChangeEvents & {
    /** LiteLLM takes the sidecar's key again, or does not. */
    onKeyRefused(refusal: UpstreamWarning | undefined): void;
  };
}

/** The traffic of somebody else's LiteLLM, which counts as slot a. */
type UnmanagedTraffic = KeyTraffic & Pick<SlotTraffic, 'isUp' | 'load'>;

/**
 * Somebody else's LiteLLM.
 *
 * @throws Error of Node's fs, where the last accepted key cannot be read
 */
export async function openUnmanaged(options: UnmanagedOptions) {
  const { config, key, checks, now, events } = options;
  let traffic: UnmanagedTraffic | undefined;
  let unreadable: UpstreamWarning | undefined;
  const keyChange = await openKeyChange({
    ...{ key, now, events, kept: options.acceptedKey },
    quietMs: config.handoverTimeoutMs,
    ...(options.missedMs && { missedMs: options.missedMs }),
    verify: (each) => checks.verify('a', each),
  });
  let refusal: UpstreamWarning | undefined;
  const keyCheck = createKeyCheck({
    keys: keyChange.keys,
    ask: (each) => checks.tryKey('a', each),
    onChange(isTaken, status) {
      refusal = isTaken ? undefined : keyRefused(status, options);
      events.onKeyRefused(refusal);
    },
  });
  const watch = createKeyWatch({
    places: placesOf(options),
    onSettled(reading) {
      unreadable = warningOf(reading);
      if ('value' in reading && reading.value !== undefined) {
        void keyChange.onNewKey(reading.value.key).then(keyCheck.look);
      }
    },
  });
  const warnings = (): readonly UpstreamWarning[] => [
    ...(refusal === undefined ? [] : [refusal]),
    ...(unreadable === undefined ? [] : [unreadable]),
    ...notAccepted(keyChange, now(), config.handoverTimeoutMs),
    ...(options.isShared ? [SHARED] : []),
  ];
  const { keys, onKeyAccepted } = keyChange;
  return {
    ...{ keys, onKeyAccepted, onBack: keyCheck.look, isKeyTaken: keyCheck.isTaken },
    admin: adminOf(options, { keyChange, warnings, traffic: () => traffic }),
    /** From now on the traffic serves, with `keys`. */
    start(given: UnmanagedTraffic): void {
      traffic = given;
      keyChange.start(given);
      keyCheck.start();
    },
    async close(): Promise<void> {
      watch.stop();
      keyCheck.close();
      await keyChange.close();
    },
  };
}

export type Unmanaged = Awaited<ReturnType<typeof openUnmanaged>>;

/**
 * Where the key of LiteLLM is read: in SIDECAR_UPSTREAM_KEY. Where that was not set at the start,
 * the declared client key counts for as long as it is not set.
 */
function placesOf({ places, config }: UnmanagedOptions): DeclaredPlaces {
  const { upstreamKey, declaredKey } = places;
  if (config.upstreamKey !== undefined) return upstreamKey;
  return {
    async read() {
      const reading = await upstreamKey.read();
      const isNothing = 'value' in reading && reading.value === undefined;
      return isNothing ? await declaredKey.read() : reading;
    },
  };
}

/** A setting that was emptied or cannot be read changes nothing: the previous key is used on. */
function warningOf(reading: DeclaredReading): UpstreamWarning | undefined {
  const hint = 'mend the setting; until then the previous key stays in use';
  if ('fault' in reading) return { code: 'upstream_key_unreadable', message: reading.fault, hint };
  if (reading.value !== undefined) return undefined;
  const message = 'SIDECAR_UPSTREAM_KEY is not set any more';
  return { code: 'upstream_key_unreadable', message, hint };
}

const keyRefused = (
  status: number,
  { config }: Pick<UnmanagedOptions, 'config'>,
): UpstreamWarning => ({
  code: 'upstream_key_refused',
  message: `LiteLLM refuses the sidecar's key (${status}), and so every request`,
  hint:
    config.upstreamKey === undefined
      ? 'it is the declared client key: put what LiteLLM runs with into SIDECAR_UPSTREAM_KEY'
      : 'it is that of SIDECAR_UPSTREAM_KEY, or its file: put there what LiteLLM runs with',
});

const SHARED: UpstreamWarning = { code: 'shared_key', ...SHARED_KEY };

function notAccepted(
  keyChange: KeyChange,
  now: number,
  afterMs: number,
): readonly UpstreamWarning[] {
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

interface UnmanagedParts {
  readonly keyChange: KeyChange;
  readonly warnings: () => readonly UpstreamWarning[];
  readonly traffic: () => UnmanagedTraffic | undefined;
}

function adminOf(
  { config, acceptedKey, checks, now }: UnmanagedOptions,
  { keyChange, warnings, traffic }: UnmanagedParts,
): UpstreamAdmin {
  const saltKey = createSaltKeyGuard({
    isSet: config.saltKeySet,
    readiness: checks.readiness,
    keyFile: () => acceptedKey.place,
  });
  const [{ origin }] = config.upstreams;
  const refuse = () =>
    Promise.reject(noSlots('somebody else runs LiteLLM, so only they can restart it'));
  return {
    status(asks = true): UpstreamView {
      if (asks && saltKey.database() === undefined) void saltKey.askDatabase('a');
      const isUp = traffic()?.isUp('a') ?? false;
      // An MCP session needs no count here: no handover ever waits for its end.
      const load = { ...(traffic()?.load('a') ?? NO_LOAD), mcpSessions: 0 };
      return {
        now: new Date(now()).toISOString(),
        mode: 'unmanaged',
        verified: isUp,
        slots: [{ name: 'a', url: origin, state: 'active', up: isUp, ...load }],
        ...{ handover: null, waiting: null, last: null, keyMadeAt: null },
        ...{ rotateEveryMs: null, nextRotationAt: null, config: 'none', autoReload: false },
        configWaitsUntil: null,
        database: saltKey.database() ?? null,
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
    saltKey: () => saltKey.newSaltKey('a'),
  };
}
