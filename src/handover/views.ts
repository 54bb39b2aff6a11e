/**
 * What the admin API answers about LiteLLM, as JSON. Instants are ISO 8601 in UTC, spans
 * milliseconds, `null` is "none". Nothing here is a key or a digest of one.
 */
export type SlotLetter = 'a' | 'b';

/** `rotate`: a new key; `reload`: the configuration as it is now; `dry-run`: that, unswitched. */
export type HandoverKind = 'rotate' | 'reload' | 'dry-run';

/** The steps in their order; `waiting`: the one before has not ended yet. */
export const HANDOVER_STEPS = [
  'waiting',
  'staged',
  'starting',
  'verified',
  'switched',
  'draining',
] as const;
/** `done`: of a dry run, that it would have switched. */
export const HANDOVER_ENDS = ['done', 'rolled_back'] as const;
export type HandoverStep = (typeof HANDOVER_STEPS)[number];
export type HandoverEnd = (typeof HANDOVER_ENDS)[number];

/** Why a handover was rolled back; a metric label, and a word for programs. */
export const HANDOVER_FAULTS = [
  /** It did not answer in time. */
  'not_up',
  /** It ended, again and again, before it answered. */
  'died',
  /** It took over, and died within its probation. */
  'died_after_switch',
  /** It listens on another port than its slot's. */
  'other_port',
  /** It does not take the key of its slot: config.yaml has a master_key of its own. */
  'refuses_key',
  'accepts_any_key',
  'no_models',
  /** Something else answers at its address. */
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
  /** LiteLLM's own, at most 20 lines; untrusted text. */
  readonly lastWords: readonly string[];
}

export interface HandoverView {
  /** `handover-12`; the number rises by one each. */
  readonly id: string;
  readonly kind: HandoverKind;
  /** Who asked: `cli:alice`, `api:10.0.0.7`, `schedule`, `config`. */
  readonly by: string;
  readonly state: HandoverStep | HandoverEnd;
  readonly from: SlotLetter;
  readonly to: SlotLetter;
  readonly startedAt: string;
  readonly stateSince: string;
  readonly endedAt: string | null;
  /** When new requests went over; null: they did not. */
  readonly switchedAt: string | null;
  /** What it waits for, in words: `LiteLLM in slot b to answer`; null: nothing. */
  readonly waitsFor: string | null;
  readonly fault: HandoverFault | null;
  /** Compared with the LiteLLM before; null: not known yet. */
  readonly models: {
    readonly listed: number;
    readonly added: readonly string[];
    readonly vanished: readonly string[];
  } | null;
  /** What had to be cut when SIDECAR_DRAIN was over. */
  readonly cut: number;
}

export interface SlotView {
  readonly name: SlotLetter;
  readonly url: string;
  /**
   * `active`: new requests go there; `candidate`: it is tried; `draining`: it finishes what it has
   * in hand; `empty`: no LiteLLM runs there.
   */
  readonly state: 'active' | 'candidate' | 'draining' | 'empty';
  readonly up: boolean;
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
  /** The one under way. */
  readonly handover: HandoverView | null;
  /** The one that waits for its turn. */
  readonly waiting: HandoverView | null;
  readonly last: HandoverView | null;
  /** Whether the active LiteLLM was ever verified. */
  readonly verified: boolean;
  readonly keyMadeAt: string | null;
  readonly rotateEveryMs: number | null;
  readonly nextRotationAt: string | null;
  /**
   * `current`: LiteLLM runs with it; `changed`: it was edited since; `refused`: what stands there
   * now was tried and did not come up; `none`: SIDECAR_LITELLM_CONFIG is not set.
   */
  readonly config: 'current' | 'changed' | 'refused' | 'none';
  readonly autoReload: boolean;
  /** Whether LiteLLM says that it has a database; null: not asked yet. */
  readonly database: boolean | null;
  readonly saltKeySet: boolean;
  /** Of `unmanaged`: both keys are live until the new one was accepted everywhere. */
  readonly keyChange: {
    readonly since: string;
    readonly newAcceptedAt: string | null;
    readonly oldAcceptedAt: string | null;
  } | null;
  readonly warnings: readonly {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
  }[];
  /** What an operator should do next, each a line. */
  readonly next: readonly string[];
}

/** What `sidecar upstream salt-key` prints. The only answer that holds a secret. */
export interface SaltKeyView {
  readonly saltKey: string;
}
