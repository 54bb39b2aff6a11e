import type { Config } from '../config/settings.ts';
import type { SlotReport } from '../litellm/report.ts';
import type { SlotLoad, SlotName } from '../litellm/slots.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { StoreError } from '../store/key-store.ts';
import type { HandoverView, SaltKeyView, UpstreamView } from './views.ts';

/** The settings of LiteLLM in slots. */
export type SlotsConfig = Pick<
  Config,
  | 'upstreams'
  | 'litellmConfig'
  | 'autoReload'
  | 'upstreamRotateEveryMs'
  | 'handoverTimeoutMs'
  | 'probationMs'
  | 'drainMs'
  | 'saltKeySet'
> & { readonly slots: string; readonly state: string };

/**
 * What an operator may ask about LiteLLM. A verb that rejects with a `HandoverError` did nothing.
 */
export interface UpstreamAdmin {
  /** @param asks whether LiteLLM is asked what is not known yet; it is, where nothing is said */
  status(asks?: boolean): UpstreamView;
  /** The handovers that ended, the latest first, at most 20. */
  history(): readonly HandoverView[];
  /** One handover by its id: the one under way, the waiting one, or one of the history. */
  handover(id: string): HandoverView;
  /**
   * Begins a handover to a new key, or lets it wait for the drain of the one before. Resolves as
   * soon as the handover is stored; `handover` tells how it goes on.
   */
  rotate(by: string): Promise<HandoverView>;
  reload(options: { readonly dryRun: boolean }, by: string): Promise<HandoverView>;
  /** A new LITELLM_SALT_KEY, for an installation in which nothing can be encrypted yet. */
  saltKey(by: string): Promise<SaltKeyView>;
}

export type HandoverErrorCode =
  /** Another handover is under way, or waits already: `handover` says which. */
  | 'handover_under_way'
  | 'unknown_handover'
  /** There is no launcher, or SIDECAR_UPSTREAM names one place only. */
  | 'no_slots'
  /** LiteLLM has a database, and nobody said that it has a salt key. */
  | 'salt_key_unknown'
  /** LiteLLM has a salt key, or may have one: a salt key must never change. */
  | 'salt_key_not_new'
  | 'nothing_to_reload'
  | 'state_unavailable'
  | 'stopping_upstream';

/** Why a verb did nothing. Holds no key. */
export class HandoverError extends Error {
  override readonly name = 'HandoverError';
  readonly code: HandoverErrorCode;
  readonly hints: readonly string[];
  /** With `handover_under_way`: the handover that is in the way. */
  readonly handover: HandoverView | undefined;

  constructor(
    code: HandoverErrorCode,
    message: string,
    options: { hints?: readonly string[]; handover?: HandoverView; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hints = options.hints ?? [];
    this.handover = options.handover;
  }
}

export const unknownHandover = (id: string): HandoverError =>
  new HandoverError('unknown_handover', `no handover is called ${id}`, {
    hints: ['sidecar upstream history'],
  });

export const noSlots = (message: string): HandoverError =>
  new HandoverError('no_slots', message, {
    hints: ['set SIDECAR_SLOTS, and name two places in SIDECAR_UPSTREAM'],
  });

/** What log, metrics and audit are told of LiteLLM's slots as it happens; none may throw. */
export interface HandoverEvents {
  /** The step of a handover was stored, and is about to be acted on. */
  onStep(handover: HandoverView): void;
  /** A handover ended: it took from `startedAt` to `endedAt`, and `fault.code` is a label. */
  onEnd(handover: HandoverView): void;
  /** The LiteLLM of a first start came up. */
  onVerified(slot: SlotName): void;
  /** The state cannot be stored; undefined: the state can be stored again. */
  onStore(error: StoreError | undefined): void;
  /** A slot could not be written, which is tried again; undefined: the slot was written. */
  onTrouble(trouble: Trouble | undefined): void;
  /** The schedule or an edit could not begin a handover; the sidecar tries again later. */
  onNotBegun(by: 'schedule' | 'config', error: HandoverError): void;
}

export interface Trouble {
  readonly message: string;
  readonly hint: string;
}

/** The traffic, as a handover sees it. No verb throws. */
export interface SlotTraffic {
  /**
   * Sends new requests to this slot from now on, with this key; requests that waited for the other
   * slot go there too.
   */
  switchTo(slot: SlotName, key: Secret): void;
  load(slot: SlotName): SlotLoad;
  /**
   * Ends what is left on the slot: first its WebSockets, with 1001, then everything else. Resolves
   * to how many exchanges were cut.
   */
  end(slot: SlotName): Promise<number>;
  /** Whether LiteLLM answers there, as far as traffic and probe know; asked often. */
  isUp(slot: SlotName): boolean;
}

/** The traffic of a LiteLLM that somebody else runs, while the key of that LiteLLM changes. */
export interface KeyTraffic {
  /** Requests carry `first`; what LiteLLM refuses for that is sent again with `second`, if any. */
  useKeys(first: Secret, second: Secret | undefined): void;
}

/** How a handover learns what LiteLLM does. None of these throws. */
export interface LitellmChecks {
  /** Asks the LiteLLM of a slot for its models, with this key; takes up to about 3 s. */
  verify(slot: SlotName, key: Secret): Promise<Verdict>;
  /** The same, without the question whether LiteLLM takes any key. */
  tryKey(slot: SlotName, key: Secret): Promise<Verdict>;
  /** What the launcher reported of the LiteLLM that was started last in the slot. */
  readReport(slot: SlotName): Promise<SlotReport | undefined>;
  /** Whether LiteLLM says that it has a database; undefined: LiteLLM does not say. */
  readiness(slot: SlotName): Promise<{ readonly database: boolean | undefined }>;
}
