import type { DeclaredPlaces } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import {
  HandoverError,
  type HandoverEvents,
  type KeyTraffic,
  type SlotTraffic,
  type UpstreamAdmin,
  type UpstreamLooks,
} from '../handover/contracts.ts';
import type { KeyChangeEvents } from '../handover/key-change.ts';
import { openSlots, type SlotsConfig } from '../handover/open.ts';
import type { StoredStep } from '../handover/state.ts';
import { openUnmanaged } from '../handover/unmanaged.ts';
import type { HandoverView, SlotLetter } from '../handover/views.ts';

import { masterKeyLine } from '../litellm/config-hints.ts';
import { createConfigWatch } from '../litellm/config-watch.ts';
import { readReport } from '../litellm/report.ts';
import type { SlotName } from '../litellm/slots.ts';
import { askReadiness, verifyLitellm } from '../litellm/verify.ts';
import { triggerOf } from '../rotation/events.ts';
import type { Keys } from '../rotation/keys.ts';
import type { Secret } from '../secret.ts';
import { StartupError } from '../startup-error.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import { readKeyFile, readUpstreamKey, slotKeyPath } from '../store/key-files.ts';
import type { Log } from '../telemetry/log.ts';
import type { AppOptions, Base } from './base.ts';
import type { KeyService } from './keys.ts';

/** How a handover looks at the LiteLLMs of this configuration. */
export function looksOf(config: Config): UpstreamLooks {
  const { rootPath, keyHeader, publicUrl, reports, state } = config;
  const [a, b = a] = config.upstreams;
  const originOf = (slot: SlotName): URL => (slot === 'a' ? a : b);
  const host = publicUrl && { host: publicUrl.host };
  return {
    verify: (slot, key) =>
      verifyLitellm({ origin: originOf(slot), rootPath, key, keyHeader, ...host }),
    async readReport(slot) {
      if (reports === undefined) return undefined;
      // What LiteLLM says may hold its key.
      const key = await readKeyFile(slotKeyPath(state, slot)).catch(() => undefined);
      return await readReport(reports, slot, key);
    },
    readiness: (slot) => askReadiness({ origin: originOf(slot), rootPath }),
    masterKeyLine,
  };
}

export interface UpstreamOptions {
  readonly config: Config;
  readonly log: Log;
  readonly looks: UpstreamLooks;
  /** Where LiteLLM's key may change, with somebody else's LiteLLM. */
  readonly places: {
    readonly upstreamKey: DeclaredPlaces;
    readonly declaredKey: DeclaredPlaces;
  };
  /** Milliseconds since the epoch; never goes back. */
  readonly now: () => number;
  /** Whether this process may still write the state folder. */
  readonly mayWrite: () => boolean;
  /** For the metrics and the audit; the log is told already. */
  readonly events: ToldEvents;
  readonly fault?: FaultPoint;
}

/** What metrics and audit are told; none may throw. */
export interface ToldEvents extends Pick<HandoverEvents, 'onStep' | 'onEnd'> {
  /** The key of somebody else's LiteLLM changes: both are in use, or the new one alone. */
  onKeyChange(now: 'both' | 'new'): void;
}

/** The traffic, as far as LiteLLM's slots and keys go. */
export type UpstreamTraffic = SlotTraffic & KeyTraffic;

/** What is known of LiteLLM's slots, or of the key of somebody else's. */
export interface Upstream {
  readonly admin: UpstreamAdmin;
  /** Where requests go at the start; with one place it is `a`. */
  readonly slot: SlotLetter;
  /** The step of the handover that a process before this one began. */
  readonly step: StoredStep | 'idle';
  /** What they carry at the start. */
  readonly keys: { readonly first: Secret; readonly second: Secret | undefined };
  /** The traffic serves from now on, with `slot` and `keys`; what is under way is gone on with. */
  start(traffic: UpstreamTraffic): void;
  /** LiteLLM answered a request with this one of the keys that `useKeys` named last. */
  onKeyAccepted(which: 'first' | 'second'): void;
  /** The digest of what SIDECAR_LITELLM_CONFIG names, or why it cannot be copied. */
  onConfigChanged(seen: string | Error): void;
  /** Nothing happens by itself any more; the next process goes on with what is under way. */
  close(): Promise<void>;
}

/**
 * Finds the LiteLLM to which requests go. The state folder is this process's own already.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openUpstream(options: UpstreamOptions): Promise<Upstream> {
  const { slots } = options.config;
  return slots === undefined ? await ofSomebodyElse(options) : await inSlots(options, slots);
}

async function inSlots(options: UpstreamOptions, slots: string): Promise<Upstream> {
  const config: SlotsConfig = { ...options.config, slots };
  const { admin, runner, active, key, start, close } = await openSlots({
    ...options,
    config,
    events: { ...logHandovers(options.log), ...telling(options) },
  });
  return {
    admin,
    slot: active,
    step: runner.state().handover?.step ?? 'idle',
    keys: { first: key, second: undefined },
    start,
    onKeyAccepted: () => undefined,
    onConfigChanged: (seen) =>
      runner.onConfigChanged(typeof seen === 'string' ? { digest: seen } : { error: seen.message }),
    close,
  };
}

function telling({ log, events }: UpstreamOptions): Pick<HandoverEvents, 'onStep' | 'onEnd'> {
  const told = logHandovers(log);
  return {
    onStep(view) {
      told.onStep(view);
      events.onStep(view);
    },
    onEnd(view) {
      told.onEnd(view);
      events.onEnd(view);
    },
  };
}

async function ofSomebodyElse(options: UpstreamOptions): Promise<Upstream> {
  const { config, log, events } = options;
  const { key, warnings } = await readUpstreamKey(config);
  for (const warning of warnings) log.warn({}, warning);
  let traffic: UpstreamTraffic | undefined;
  const { admin, keyChange, close } = await openUnmanaged({
    ...options,
    key,
    isShared: warnings.length > 0,
    isUp: () => traffic?.isUp('a') ?? false,
    load: () => traffic?.load('a') ?? { requests: 0, websockets: 0 },
    events: keyChangeEvents(log, events),
  }).catch((cause: unknown) => {
    const message = `the state folder cannot be used: ${(cause as Error).message}`;
    const hint = `let the user that the sidecar runs as read and write ${config.state}`;
    throw new StartupError('state', message, { hint, cause });
  });
  return {
    admin,
    slot: 'a',
    step: 'idle',
    keys: keyChange.keys(),
    start(given) {
      traffic = given;
      keyChange.start(given);
    },
    onKeyAccepted: keyChange.onKeyAccepted,
    onConfigChanged: () => undefined,
    close,
  };
}

/** What the log says of handovers; no field holds a key. LiteLLM's last words are its own text. */
export function logHandovers(log: Log): HandoverEvents {
  return {
    onStep({ id, kind, by, state, from, to }) {
      log.info({ handover: id, kind, by, from, to }, `LiteLLM's handover: ${state}`);
    },
    onEnd({ id, kind, by, state, from, to, fault, cut, models }) {
      const fields = { handover: id, kind, by, from, to, ...(cut > 0 && { cut }) };
      const { added = [], vanished = [] } = models ?? {};
      if (fault === null) log.info({ ...fields, added, vanished }, `LiteLLM's handover: ${state}`);
      else {
        const { code, hint, message, lastWords } = fault;
        log.error({ ...fields, code, hint, lastWords }, `LiteLLM was not handed over: ${message}`);
      }
    },
    onVerified: (slot) => log.info({ slot }, 'LiteLLM came up: it takes its key, and no other'),
    onStore(error) {
      if (error === undefined) log.info({}, 'the state of the slots can be stored again');
      else log.error({ hint: error.hint }, `the slots stay as they are: ${error.message}`);
    },
    onTrouble(trouble) {
      if (trouble === undefined) log.info({}, 'the slots can be written again');
      else log.error({ hint: trouble.hint }, trouble.message);
    },
    onNotBegun: (by, { code, message, hints }) =>
      log.error({ by, code, hint: hints.join('; ') }, `no handover was begun: ${message}`),
  };
}

function keyChangeEvents(log: Log, { onKeyChange }: ToldEvents): KeyChangeEvents {
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

/** LiteLLM, wherever it runs, with all that is told of it. */
export type Handover = Pick<Upstream, 'admin' | 'slot' | 'keys' | 'onKeyAccepted' | 'close'> & {
  /** The traffic serves from now on. */
  start(traffic: UpstreamTraffic): void;
};

/**
 * Finds the LiteLLM to which requests go, and hands over from then on.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openHandover(
  options: AppOptions,
  { metrics }: Base,
  { keys, mayWrite }: KeyService,
): Promise<Handover> {
  const { config, log, fault } = options;
  const upstream = await openUpstream({
    ...{ config, log, mayWrite, looks: looksOf(config), now: keys.now },
    places: { upstreamKey: options.upstreamKeyPlaces, declaredKey: options.places },
    events: tellOf(metrics, keys),
    ...(fault !== undefined && { fault }),
  });
  const onConfigChanged: Upstream['onConfigChanged'] = (seen) => {
    if (typeof seen !== 'string') metrics.handoverEvents.onConfigChange('unusable');
    upstream.onConfigChanged(seen);
  };
  const { litellmConfig: source, slots } = config;
  const watched = slots === undefined ? undefined : source;
  let stopWatch = (): void => undefined;
  const { slot, onKeyAccepted } = upstream;
  return {
    admin: counting(upstream.admin, metrics.keyEvents),
    ...{ slot, keys: upstream.keys, onKeyAccepted },
    start(traffic) {
      metrics.handoverEvents.onHandoverState(upstream.step);
      upstream.start(traffic);
      if (watched === undefined) return;
      stopWatch = createConfigWatch({ source: watched, onChanged: onConfigChanged }).stop;
    },
    async close() {
      stopWatch();
      await upstream.close();
    },
  };
}

/** What metrics and audit are told. */
function tellOf({ handoverEvents, keyEvents }: Base['metrics'], keys: Keys): ToldEvents {
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
    onKeyChange: (now) => keys.note({ by: 'sidecar', action: KEY_CHANGES[now] }),
  };
}

const ACTIONS = {
  rotate: 'upstream-rotated',
  reload: 'upstream-reloaded',
  'dry-run': 'upstream-tried',
} as const satisfies Record<HandoverView['kind'], string>;

/** By which keys of somebody else's LiteLLM are in use from then on. */
const KEY_CHANGES = { both: 'upstream-key-changes', new: 'upstream-key-changed' } as const;

function auditEntryOf({ id, kind, by, state, from, to, fault }: HandoverView) {
  const detail = { handover: id, fromSlot: from, toSlot: to };
  if (state === 'done') return { by, action: ACTIONS[kind], detail };
  const why = fault?.code ?? 'unknown';
  return { by, action: 'upstream-rolled-back', detail: { ...detail, kind, why } };
}

/** Counts the rotations that were asked for and refused; the others tell how they ended. */
function counting(
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
