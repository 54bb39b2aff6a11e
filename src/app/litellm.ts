import type { DeclaredPlaces } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import {
  HandoverError,
  type HandoverEvents,
  type KeyTraffic,
  type LitellmChecks,
  type SlotTraffic,
  type UpstreamAdmin,
} from '../handover/contracts.ts';
import type { KeyChangeEvents } from '../handover/key-change.ts';
import { openSlots } from '../handover/open-slots.ts';
import type { StoredStep } from '../handover/state.ts';
import { openUnmanaged } from '../handover/unmanaged.ts';
import type { HandoverView } from '../handover/views.ts';
import { masterKeyLine } from '../litellm/config-hints.ts';
import { createConfigWatch } from '../litellm/config-watch.ts';
import { readReport } from '../litellm/report.ts';
import type { SlotName } from '../litellm/slots.ts';
import { askReadiness, verifyLitellm } from '../litellm/verify.ts';
import { type Keys, triggerOf } from '../rotation/keys.ts';
import type { Secret } from '../secret.ts';
import { readKeyFile, readUpstreamKey, slotKeyPath, stateError } from '../store/key-files.ts';
import type { Log } from '../telemetry/log.ts';
import type { AppOptions, Base } from './base.ts';

/** LiteLLM, wherever it runs, as the rest of the sidecar needs it. */
type LitellmService = Omit<Litellm, 'step' | 'onConfigChanged'>;

/**
 * Finds the LiteLLM to which requests go, and hands over from then on.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openLitellmService(
  options: AppOptions,
  { metrics }: Base,
  keys: Keys,
  mayWrite: () => boolean,
): Promise<LitellmService> {
  const { config, log } = options;
  const litellm = await openLitellm({
    ...{ config, log, mayWrite, checks: checksOf(config), now: keys.now },
    places: { upstreamKey: options.upstreamKeyPlaces, declaredKey: options.places },
    events: toMetricsAndAudit(metrics, keys),
  });
  const onConfigChanged: Litellm['onConfigChanged'] = (seen) => {
    if (typeof seen !== 'string') metrics.handoverEvents.onConfigChange('unusable');
    litellm.onConfigChanged(seen);
  };
  const { litellmConfig: source, slots } = config;
  const watched = slots === undefined ? undefined : source;
  let stopWatch = (): void => undefined;
  return {
    ...litellm,
    admin: countRotations(litellm.admin, metrics.keyEvents),
    start(traffic) {
      metrics.handoverEvents.onHandoverState(litellm.step);
      litellm.start(traffic);
      if (watched === undefined) return;
      stopWatch = createConfigWatch({ source: watched, onChanged: onConfigChanged }).stop;
    },
    async close() {
      stopWatch();
      await litellm.close();
    },
  };
}

/** How a handover checks the LiteLLMs of this configuration. */
function checksOf(config: Config): LitellmChecks {
  const { rootPath, keyHeader, publicUrl, reports, state } = config;
  const [a, b = a] = config.upstreams;
  const originOf = (slot: SlotName): URL => (slot === 'a' ? a : b);
  const host = publicUrl && { host: publicUrl.host };
  return {
    verify: (slot, key) =>
      verifyLitellm({ origin: originOf(slot), rootPath, key, keyHeader, ...host }),
    async readReport(slot) {
      if (reports === undefined) return undefined;
      // LiteLLM may write its key into the report, where `readReport` hides that key.
      const key = await readKeyFile(slotKeyPath(state, slot)).catch(() => undefined);
      return await readReport(reports, slot, key);
    },
    readiness: (slot) => askReadiness({ origin: originOf(slot), rootPath }),
    masterKeyLine,
  };
}

export interface LitellmOptions {
  readonly config: Config;
  readonly log: Log;
  readonly checks: LitellmChecks;
  /** Where the key of somebody else's LiteLLM is set, now and later. */
  readonly places: {
    readonly upstreamKey: DeclaredPlaces;
    readonly declaredKey: DeclaredPlaces;
  };
  /** Milliseconds since the epoch; never goes back. */
  readonly now: () => number;
  /** Whether this process may still write the state folder. */
  readonly mayWrite: () => boolean;
  /** For metrics and audit: `openLitellm` tells the log itself. */
  readonly events: LitellmEvents;
}

/** What metrics and audit are told of LiteLLM; none may throw. */
interface LitellmEvents extends Pick<HandoverEvents, 'onStep' | 'onEnd'> {
  /** The key of somebody else's LiteLLM changes: both are in use, or the new one alone. */
  onKeyChange(now: 'both' | 'new'): void;
}

/** LiteLLM in slots, or the one that somebody else runs. */
export interface Litellm {
  readonly admin: UpstreamAdmin;
  /** Where requests go at the start; with one place it is `a`. */
  readonly slot: SlotName;
  /** The step of the handover that a process before this one began. */
  readonly step: StoredStep | 'idle';
  /** The keys that requests carry at the start. */
  readonly keys: { readonly first: Secret; readonly second: Secret | undefined };
  /** From now on the traffic serves, with `slot` and `keys`; a handover under way goes on. */
  start(traffic: SlotTraffic & KeyTraffic): void;
  /** LiteLLM took the first or the second of the keys that `useKeys` named last. */
  onKeyAccepted(which: 'first' | 'second'): void;
  /** The digest of what SIDECAR_LITELLM_CONFIG names by now, or why it cannot be copied. */
  onConfigChanged(seen: string | Error): void;
  /** Stops; the next process goes on with the handover under way. */
  close(): Promise<void>;
}

/**
 * Finds the LiteLLM to which requests go. This process must hold the lock of the state folder.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openLitellm(options: LitellmOptions): Promise<Litellm> {
  const { slots } = options.config;
  return slots === undefined ? await openSomebodyElses(options) : await openInSlots(options, slots);
}

async function openInSlots(options: LitellmOptions, slots: string): Promise<Litellm> {
  const { admin, runner, active, key, start, close } = await openSlots({
    ...options,
    config: { ...options.config, slots },
    events: toLogAnd(options.events, options.log),
  });
  return {
    ...{ admin, start, close },
    slot: active,
    step: runner.state().handover?.step ?? 'idle',
    keys: { first: key, second: undefined },
    onKeyAccepted: () => undefined,
    onConfigChanged: (seen) =>
      runner.onConfigChanged(typeof seen === 'string' ? { digest: seen } : { error: seen.message }),
  };
}

async function openSomebodyElses(options: LitellmOptions): Promise<Litellm> {
  const { config, log, events } = options;
  const { key, warnings } = await readUpstreamKey(config);
  for (const warning of warnings) log.warn({}, warning);
  const { admin, keys, start, onKeyAccepted, close } = await openUnmanaged({
    ...options,
    key,
    isShared: warnings.length > 0,
    events: keyChangeToLogAnd(events, log),
  }).catch((cause: unknown) => {
    throw stateError(config.state, cause);
  });
  return {
    ...{ admin, start, onKeyAccepted, close },
    slot: 'a',
    step: 'idle',
    keys: keys(),
    onConfigChanged: () => undefined,
  };
}

/** Tells the log of handovers, and `events` too. No field holds a key; last words are LiteLLM's. */
function toLogAnd(events: LitellmEvents, log: Log): HandoverEvents {
  return {
    onStep(view) {
      const { id, kind, by, state, from, to } = view;
      log.info({ handover: id, kind, by, from, to }, `LiteLLM's handover: ${state}`);
      events.onStep(view);
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
      events.onEnd(view);
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

function keyChangeToLogAnd({ onKeyChange }: LitellmEvents, log: Log): KeyChangeEvents {
  return {
    onChange() {
      log.info({}, "LiteLLM's key changes: the new and the old one are in use");
      onKeyChange('both');
    },
    onSettled() {
      log.info({}, "LiteLLM's key has changed: the old one is forgotten");
      onKeyChange('new');
    },
    onNotKept: (err) => log.error({ err }, "LiteLLM's accepted key cannot be stored"),
  };
}

function toMetricsAndAudit(
  { handoverEvents, keyEvents }: Base['metrics'],
  keys: Keys,
): LitellmEvents {
  return {
    onStep: ({ state }) => handoverEvents.onHandoverState(state),
    onEnd(view) {
      const { kind, by, state } = view;
      handoverEvents.onHandoverState('idle');
      handoverEvents.onHandoverEnd(view);
      const isDone = state === 'done';
      if (kind === 'rotate') {
        keyEvents.onUpstreamRotation(triggerOf(by), isDone ? 'done' : 'failed');
      }
      if (by === 'config') handoverEvents.onConfigChange(isDone ? 'applied' : 'refused');
      keys.note(auditEntryOf(view));
    },
    onKeyChange: (now) => keys.note({ by: 'sidecar', action: KEY_CHANGE_ACTIONS[now] }),
  };
}

const ACTIONS = {
  rotate: 'upstream-rotated',
  reload: 'upstream-reloaded',
  'dry-run': 'upstream-tried',
} as const satisfies Record<HandoverView['kind'], string>;

/** Audit actions, by which keys of somebody else's LiteLLM are in use from then on. */
const KEY_CHANGE_ACTIONS = { both: 'upstream-key-changes', new: 'upstream-key-changed' } as const;

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
