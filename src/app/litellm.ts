import type { Config } from '../config/settings.ts';
import {
  HandoverError,
  type HandoverEvents,
  type KeyTraffic,
  type LitellmChecks,
  type SlotTraffic,
  type UpstreamAdmin,
} from '../handover/contracts.ts';
import { openSlots } from '../handover/open-slots.ts';
import { openUnmanaged } from '../handover/unmanaged.ts';
import type { HandoverView, UpstreamView, UpstreamWarning } from '../handover/views.ts';
import { createConfigWatch } from '../litellm/config-watch.ts';
import { readReport } from '../litellm/report.ts';
import { lookAtShutdown, type Shutdown, shutdownWarning } from '../litellm/shutdown.ts';
import type { SlotName } from '../litellm/slots.ts';
import {
  askReadiness,
  tryKey,
  type Verdict,
  type Verification,
  verifyLitellm,
} from '../litellm/verify.ts';
import { type Keys, triggerOf } from '../rotation/keys.ts';
import type { Secret } from '../secret.ts';
import { readKeyFile, readUpstreamKey, slotKeyPath, stateError } from '../store/key-files.ts';
import type { AppOptions, Base } from './base.ts';
import type { State } from './state.ts';

interface LitellmOptions
  extends Pick<AppOptions, 'config' | 'log' | 'places' | 'upstreamKeyPlaces'> {
  readonly metrics: Pick<Base['metrics'], 'handoverEvents' | 'keyEvents'>;
  readonly keys: Pick<Keys, 'note' | 'onward' | 'sure'>;
  readonly checks: LitellmChecks;
  /** How the LiteLLM of a slot ends; undefined: nobody can know. */
  readonly shutdown?: ((slot: SlotName) => Promise<Shutdown | undefined>) | undefined;
  readonly state: Pick<State, 'mayWrite' | 'acceptedKey'>;
  /** How long this process did not look, in milliseconds in all. */
  readonly missedMs: () => number;
}

/** LiteLLM in slots, or the one that somebody else runs. */
export interface Litellm {
  readonly admin: UpstreamAdmin;
  /** What `admin` says, and whether LiteLLM ends before its requests; takes up to a second. */
  status(): Promise<UpstreamView>;
  /** Where requests go at the start; with one place it is `a`. */
  readonly slot: SlotName;
  /** The key that requests carry at the start. */
  readonly key: Secret;
  /** From now on the traffic serves, with `slot` and `key`; a handover under way goes on. */
  start(traffic: SlotTraffic & KeyTraffic): void;
  /** LiteLLM took the first or the second of the keys that `useKeys` named last. */
  onKeyAccepted(which: 'first' | 'second'): void;
  /** A LiteLLM that was away answers again, maybe with another key. */
  onBack(): void;
  /** Whether LiteLLM took the sidecar's key when it was asked last; undefined: nobody knows. */
  isKeyTaken(): boolean | undefined;
  /** Stops; the next process goes on with the handover under way. */
  close(): Promise<void>;
}

/**
 * Finds the LiteLLM to which requests go, and hands over from then on. This process must hold the
 * lock of the state folder.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openLitellm(options: LitellmOptions): Promise<Litellm> {
  const { slots, state } = options.config;
  const litellm = await (slots === undefined || state === undefined
    ? openSomebodyElses(options)
    : openInSlots(options, { slots, state }));
  const admin = countRotations(litellm.admin, options.metrics.keyEvents);
  return { ...litellm, admin, status: () => statusOf(admin, options) };
}

async function statusOf(admin: UpstreamAdmin, options: LitellmOptions): Promise<UpstreamView> {
  const before = admin.status();
  const active = before.slots.find(({ state, up }) => state === 'active' && up)?.name;
  const shutdown = active && (await options.shutdown?.(active));
  const warning = shutdown && shutdownWarning(shutdown, options.config.drainMs);
  const view = admin.status();
  return warning === undefined ? view : { ...view, warnings: [...view.warnings, warning] };
}

/**
 * How a handover checks the LiteLLMs of this configuration.
 *
 * @param onModels told of the models that one of them lists
 */
export function checksOf(
  config: Config,
  onModels: (models: readonly string[]) => void,
): LitellmChecks {
  const { rootPath, keyHeader, publicUrl, reports, state } = config;
  const [a, b = a] = config.upstreams;
  const originOf = (slot: SlotName): URL => (slot === 'a' ? a : b);
  const host = publicUrl && { host: publicUrl.host };
  const verification = (slot: SlotName, key: Secret): Verification => ({
    ...{ origin: originOf(slot), rootPath, key, keyHeader, ...host },
  });
  const told = (verdict: Verdict): Verdict => {
    if (verdict.kind === 'good') onModels(verdict.models);
    return verdict;
  };
  return {
    verify: async (slot, key) => told(await verifyLitellm(verification(slot, key))),
    tryKey: async (slot, key) => told(await tryKey(verification(slot, key))),
    async readReport(slot) {
      if (reports === undefined || state === undefined) return undefined;
      // LiteLLM may write its key into the report, where `readReport` hides that key.
      const key = await readKeyFile(slotKeyPath(state, slot)).catch(() => undefined);
      return await readReport(reports, slot, key);
    },
    readiness: (slot) => askReadiness({ origin: originOf(slot), rootPath }),
  };
}

/** Milliseconds: somebody looks at a screen meanwhile. */
const SHUTDOWN_LOOK_MS = 1000;

/** How LiteLLM ends, where a launcher says what it gives to it; undefined: nobody says. */
export function shutdownCheckOf(config: Config): LitellmOptions['shutdown'] {
  const { rootPath, keyHeader, publicUrl, reports, state, slots } = config;
  if (slots === undefined || reports === undefined || state === undefined) return undefined;
  const [a, b = a] = config.upstreams;
  const host = publicUrl && { host: publicUrl.host };
  return async (slot) => {
    const key = await readKeyFile(slotKeyPath(state, slot)).catch(() => undefined);
    const origin = slot === 'a' ? a : b;
    const asked = { origin, rootPath, keyHeader, ...host, timeoutMs: SHUTDOWN_LOOK_MS };
    return key && (await lookAtShutdown(reports, { ...asked, key }));
  };
}

type Opened = Omit<Litellm, 'status'>;

async function openInSlots(
  options: LitellmOptions,
  folders: { readonly slots: string; readonly state: string },
): Promise<Opened> {
  const { config, checks, keys, missedMs } = options;
  const { onHandoverState, onConfigChange } = options.metrics.handoverEvents;
  const { admin, runner, active, key } = await openSlots({
    ...{ config: { ...config, ...folders }, checks, mayWrite: options.state.mayWrite, missedMs },
    ...{ now: keys.onward, sure: keys.sure },
    events: slotEvents(options),
  });
  const { litellmConfig: source } = config;
  let stopWatch = (): void => undefined;
  return {
    ...{ admin, slot: active, key },
    onKeyAccepted: () => undefined,
    onBack: () => undefined,
    // No traffic goes to a slot before its key was seen to be taken.
    isKeyTaken: () => true,
    start(traffic) {
      // A process before this one may have begun a handover.
      onHandoverState(runner.state().handover?.step ?? 'idle');
      runner.start(traffic);
      if (source === undefined) return;
      const watch = createConfigWatch({
        source,
        onChanged(seen) {
          if (typeof seen !== 'string') onConfigChange('unusable');
          runner.onConfigChanged(seen);
        },
      });
      stopWatch = watch.stop;
    },
    async close() {
      stopWatch();
      await runner.close();
    },
  };
}

async function openSomebodyElses(options: LitellmOptions): Promise<Opened> {
  const { config, log, checks, keys, places, upstreamKeyPlaces, missedMs } = options;
  const { acceptedKey } = options.state;
  const { key, warnings } = await readUpstreamKey(config);
  for (const warning of warnings) log.warn({}, warning);
  const unmanaged = await openUnmanaged({
    ...{ config, acceptedKey, checks, key, now: keys.onward, missedMs },
    isShared: warnings.length > 0,
    places: { upstreamKey: upstreamKeyPlaces, declaredKey: places },
    events: keyChangeEvents(options),
  }).catch((cause: unknown) => {
    throw stateError(acceptedKey.place, cause);
  });
  return { ...unmanaged, slot: 'a', key: unmanaged.keys().first };
}

/**
 * Tells log, metrics and audit of handovers. No field holds a key; last words are LiteLLM's.
 */
function slotEvents({ log, metrics, keys }: LitellmOptions): HandoverEvents {
  const { handoverEvents, keyEvents } = metrics;
  return {
    onStep(view) {
      const { id, kind, by, state, from, to } = view;
      log.info({ handover: id, kind, by, from, to }, `LiteLLM's handover: ${state}`);
      handoverEvents.onHandoverState(state);
    },
    onEnd(view) {
      const { id, kind, by, state, from, to, fault, cut, models } = view;
      const fields = { handover: id, kind, by, from, to, ...(cut > 0 && { cut }) };
      const { added = [], vanished = [] } = models ?? {};
      if (fault === null) log.info({ ...fields, added, vanished }, `LiteLLM's handover: ${state}`);
      else {
        const { code, hint, message, lastWords } = fault;
        log.error({ ...fields, code, hint, lastWords }, `LiteLLM was not handed over: ${message}`);
      }
      const isDone = state === 'done';
      handoverEvents.onHandoverState('idle');
      handoverEvents.onHandoverEnd(view);
      if (kind === 'rotate') {
        keyEvents.onUpstreamRotation(triggerOf(by), isDone ? 'done' : 'failed');
      }
      if (by === 'config') handoverEvents.onConfigChange(isDone ? 'applied' : 'refused');
      keys.note(auditEntryOf(view));
    },
    onVerified: (slot) => log.info({ slot }, 'LiteLLM came up: it takes its key, and no other'),
    onStore(error) {
      if (error === undefined) log.info({}, 'the state of the slots can be stored again');
      else
        log.error(
          { hint: error.hint },
          `no handover goes on, as its state is not saved: ${error.message}`,
        );
    },
    onTrouble(trouble) {
      if (trouble === undefined) log.info({}, 'the slots can be written again');
      else log.error({ hint: trouble.hint }, trouble.message);
    },
    onNotBegun: (by, { code, message, hints }) =>
      log.error({ by, code, hint: hints.join('; ') }, `no handover was begun: ${message}`),
  };
}

function keyChangeEvents({ log, keys }: LitellmOptions) {
  return {
    onKeyRefused(refusal: UpstreamWarning | undefined) {
      if (refusal === undefined) log.info({}, "LiteLLM takes the sidecar's key");
      else log.error({ hint: refusal.hint }, refusal.message);
    },
    onChange() {
      log.info({}, "LiteLLM's key changes: the new and the old one are in use");
      keys.note({ by: 'sidecar', action: 'upstream-key-changes' });
    },
    onSettled() {
      log.info({}, "LiteLLM's key has changed: the old one is forgotten");
      keys.note({ by: 'sidecar', action: 'upstream-key-changed' });
    },
    onNotKept: (err: Error) => log.error({ err }, "LiteLLM's accepted key cannot be stored"),
  };
}

const ACTIONS = {
  rotate: 'upstream-rotated',
  reload: 'upstream-reloaded',
  'dry-run': 'upstream-tried',
} as const satisfies Record<HandoverView['kind'], string>;

function auditEntryOf({ id, kind, by, state, from, to, fault }: HandoverView) {
  const detail = { handover: id, fromSlot: from, toSlot: to };
  if (state === 'done') return { by, action: ACTIONS[kind], detail };
  const why = fault?.code ?? 'unknown';
  return { by, action: 'upstream-rolled-back', detail: { ...detail, kind, why } };
}

/** Counts the rotations that did not begin; how the others end is told by `onEnd`. */
function countRotations(
  admin: UpstreamAdmin,
  { onUpstreamRotation }: Base['metrics']['keyEvents'],
): UpstreamAdmin {
  return {
    ...admin,
    async rotate(by) {
      try {
        return await admin.rotate(by);
      } catch (error) {
        const refused = error instanceof HandoverError && error.code !== 'state_unavailable';
        onUpstreamRotation(triggerOf(by), refused ? 'refused' : 'failed');
        throw error;
      }
    },
  };
}
