import type { SlotName } from '../litellm/slots.ts';

// What the admin API answers about LiteLLM, as JSON. Instants are ISO 8601 in UTC, spans are
// milliseconds, `null` is "none". `SaltKeyView` alone holds a key, and nothing a digest of one.

/** `rotate`: a new key; `reload`: the configuration as it is now; `dry-run`: that, unswitched. */
export const HANDOVER_KINDS = ['rotate', 'reload', 'dry-run'] as const;
export type HandoverKind = (typeof HANDOVER_KINDS)[number];

/** The steps of a handover in their order; `waiting`: the handover before has not ended yet. */
export const HANDOVER_STEPS = [
  'waiting',
  'staged',
  'starting',
  'verified',
  'switched',
  'draining',
] as const;
/** `done`, of a dry run: the handover would have switched. */
export const HANDOVER_ENDS = ['done', 'rolled_back'] as const;
export type HandoverStep = (typeof HANDOVER_STEPS)[number];

/** Why a handover was rolled back; a metric label, and a word for programs. */
export const HANDOVER_FAULTS = [
  /** LiteLLM did not answer in time. */
  'not_up',
  /** LiteLLM ended, again and again, before it answered. */
  'died',
  /** LiteLLM took over, and died within its probation. */
  'died_after_switch',
  /** LiteLLM listens on another port than the one of its slot. */
  'other_port',
  /** LiteLLM does not take the key of its slot: config.yaml has a master_key of its own. */
  'refuses_key',
  'accepts_any_key',
  'no_models',
  /** Something else than LiteLLM answers at the address of the slot. */
  'not_litellm',
  /** What SIDECAR_LITELLM_CONFIG names cannot be copied. */
  'config_unusable',
  /** The slot or the state folder cannot be written. */
  'disk',
] as const;
export type HandoverFaultCode = (typeof HANDOVER_FAULTS)[number];

export interface HandoverFault {
  readonly code: HandoverFaultCode;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
  /** The last lines that LiteLLM wrote, at most 20; untrusted text. */
  readonly lastWords: readonly string[];
}

export interface HandoverView {
  /** Such as `handover-12`; the number rises by one with each handover. */
  readonly id: string;
  readonly kind: HandoverKind;
  /** Who asked for the handover: `cli:alice`, `api:10.0.0.7`, `schedule`, `config`. */
  readonly by: string;
  readonly state: HandoverStep | (typeof HANDOVER_ENDS)[number];
  readonly from: SlotName;
  readonly to: SlotName;
  readonly startedAt: string;
  readonly stateSince: string;
  readonly endedAt: string | null;
  /** When new requests went to the slot `to`; null: they did not. */
  readonly switchedAt: string | null;
  /** What the handover waits for, such as `LiteLLM in slot b to answer`; null: nothing. */
  readonly waitsFor: string | null;
  readonly fault: HandoverFault | null;
  /** The models, compared with those of the LiteLLM before; null: not known yet. */
  readonly models: {
    readonly listed: number;
    readonly added: readonly string[];
    readonly vanished: readonly string[];
  } | null;
  /** How many exchanges were cut when SIDECAR_DRAIN was over. */
  readonly cut: number;
}

export interface SlotView {
  readonly name: SlotName;
  readonly url: string;
  /**
   * `active`: new requests go there; `candidate`: its LiteLLM is tried; `draining`: its LiteLLM
   * finishes what it has in hand; `empty`: no LiteLLM runs there.
   */
  readonly state: 'active' | 'candidate' | 'draining' | 'empty';
  readonly up: boolean;
  /** Since when it does not answer; null: it does, or nobody has asked yet. */
  readonly downSince?: string | null;
  readonly requests: number;
  readonly websockets: number;
  readonly mcpSessions: number;
}

export interface UpstreamView {
  readonly now: string;
  /**
   * `slots`: a launcher runs LiteLLM in two places; `one-slot`: in one, so that nothing can be
   * handed over; `unmanaged`: somebody else runs it.
   */
  readonly mode: 'slots' | 'one-slot' | 'unmanaged';
  readonly slots: readonly SlotView[];
  /** The handover under way. */
  readonly handover: HandoverView | null;
  /** The handover that waits for the end of the one under way. */
  readonly waiting: HandoverView | null;
  /** The handover that ended last. */
  readonly last: HandoverView | null;
  /** Whether the active LiteLLM was ever verified. */
  readonly verified: boolean;
  readonly keyMadeAt: string | null;
  readonly rotateEveryMs: number | null;
  readonly nextRotationAt: string | null;
  /**
   * How what SIDECAR_LITELLM_CONFIG names stands to what LiteLLM runs with. `current`: both are the
   * same; `changed`: somebody edited it since; `refused`: it was tried as it is now, and LiteLLM
   * did not come up with it; `none`: the setting is not set.
   */
  readonly config: 'current' | 'changed' | 'refused' | 'none';
  readonly autoReload: boolean;
  /** Until when a changed configuration waits, because the try before failed; null: it does not. */
  readonly configWaitsUntil: string | null;
  /** Whether LiteLLM says that it has a database; null: not asked yet. */
  readonly database: boolean | null;
  readonly saltKeySet: boolean;
  /** With `unmanaged`, while LiteLLM changes its key: both keys are live. */
  readonly keyChange: {
    readonly since: string;
    readonly newAcceptedAt: string | null;
    readonly oldAcceptedAt: string | null;
  } | null;
  readonly warnings: readonly UpstreamWarning[];
  /** What an operator should do next, one line each. */
  readonly next: readonly string[];
}

export interface UpstreamWarning {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What `sidecar upstream salt-key` prints. The only answer that holds a secret. */
export interface SaltKeyView {
  readonly saltKey: string;
}
