import type { DeclaredPlaces } from './config/load.ts';
import type { Config } from './config/settings.ts';
import type {
  HandoverEvents,
  KeyTraffic,
  SlotTraffic,
  UpstreamAdmin,
  UpstreamLooks,
} from './handover/contracts.ts';
import type { KeyChangeEvents } from './handover/key-change.ts';
import { openSlots, type SlotsConfig } from './handover/open.ts';
import type { StoredStep } from './handover/state.ts';
import { openUnmanaged } from './handover/unmanaged.ts';
import type { SlotLetter } from './handover/views.ts';
import type { Secret } from './secret.ts';
import { StartupError } from './startup-error.ts';
import type { FaultPoint } from './store/durable-file.ts';
import { readUpstreamKey } from './store/key-files.ts';
import type { Log } from './telemetry/log.ts';

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
