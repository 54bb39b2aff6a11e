import type { SlotName } from '../litellm/slots.ts';
import type { HandoverEnd, HandoverFault, HandoverKind } from './views.ts';

/**
 * What is known of LiteLLM's slots and outlives the process. Instants are milliseconds since the
 * epoch. Neither a key nor a digest of one stands here, because keys have files of their own. A
 * slot is cleared where it is not active and no handover names it.
 */
export interface UpstreamState {
  /** New requests go there. */
  readonly active: SlotName;
  /** When the LiteLLM of the active slot was verified first; undefined: never so far. */
  readonly verifiedAt?: number | undefined;
  readonly keyMadeAt: { readonly [slot in SlotName]?: number | undefined };
  /** The handover under way. */
  readonly handover?: Handover | undefined;
  /**
   * The digest of a configuration with which LiteLLM did not come up: the sidecar does not try that
   * one again by itself.
   */
  readonly refusedConfig?: string | undefined;
  /** The number of the last handover that was asked for. */
  readonly counter: number;
  /** The handovers that ended, the latest last. */
  readonly ended: readonly EndedHandover[];
}

/** The steps that are stored; each is stored before it is acted on. */
export type StoredStep = 'staged' | 'starting' | 'verified' | 'switched' | 'draining';

/** A handover under way. */
export interface Handover {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  readonly step: StoredStep;
  readonly from: SlotName;
  readonly to: SlotName;
  readonly startedAt: number;
  readonly stateSince: number;
  /** Probation and drain count from here. */
  readonly switchedAt?: number | undefined;
  /** The models of the LiteLLM before, sorted; undefined: it did not list them. */
  readonly modelsBefore?: readonly string[] | undefined;
  readonly models?: Models | undefined;
  /** The id of the slot's content that was found good: traffic is switched to nothing else. */
  readonly verifiedId?: string | undefined;
  /** Which start of that content was found good, where the launcher's report said so. */
  readonly attempt?: number | undefined;
  /** `verifiedAt` of the slot before, for the way back. */
  readonly fromVerifiedAt?: number | undefined;
}

export interface EndedHandover {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  readonly end: HandoverEnd;
  readonly from: SlotName;
  readonly to: SlotName;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly switchedAt?: number | undefined;
  readonly models?: Models | undefined;
  readonly cut: number;
  readonly fault?: HandoverFault | undefined;
}

interface Models {
  readonly listed: number;
  readonly added: readonly string[];
  readonly vanished: readonly string[];
}

/** As many as an operator reads. */
const ENDED_KEPT = 20;
/** Names of models that came or went; a LiteLLM with wildcards lists thousands. */
const NAMES_KEPT = 200;

/** Before anything happened. */
export const firstState = (active: SlotName): UpstreamState => ({
  active,
  keyMadeAt: {},
  counter: 0,
  ended: [],
});

export const otherSlot = (slot: SlotName): SlotName => (slot === 'a' ? 'b' : 'a');

/** A handover that somebody asked for. */
export interface HandoverRequest {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  /** When it was asked for, in milliseconds since the epoch. */
  readonly at: number;
}

/** The state with a handover at its first step; the idle slot has its key file already. */
export function beginHandover(
  state: UpstreamState,
  { number, kind, by, at }: HandoverRequest,
  now: number,
) {
  const [from, to] = [state.active, otherSlot(state.active)];
  const keyMadeAt = kind === 'rotate' ? now : state.keyMadeAt[from];
  return {
    ...state,
    counter: Math.max(state.counter, number),
    keyMadeAt: { ...state.keyMadeAt, [to]: keyMadeAt },
    handover: { number, kind, by, step: 'staged', from, to, startedAt: at, stateSince: now },
  } satisfies UpstreamState;
}

/** The state with its handover at this step, and with what was learned on the way there. */
export const advanceHandover = (
  state: UpstreamState,
  handover: Handover,
  step: StoredStep,
  now: number,
  learned: Partial<Handover> = {},
): UpstreamState => ({ ...state, handover: { ...handover, ...learned, step, stateSince: now } });

/** The one move of a handover: the slot that was verified becomes the active one. */
export function switchActive(state: UpstreamState, handover: Handover, now: number): UpstreamState {
  const moved = { ...state, active: handover.to, verifiedAt: now };
  const back = { switchedAt: now, fromVerifiedAt: state.verifiedAt };
  return advanceHandover(moved, handover, 'switched', now, back);
}

export interface Ending {
  readonly end: HandoverEnd;
  readonly fault?: HandoverFault | undefined;
  readonly cut?: number;
}

/** The state after a handover; from now on nobody needs what is left in the idle slot. */
export function endHandover(
  state: UpstreamState,
  handover: Omit<Handover, 'step' | 'stateSince'>,
  { end, fault, cut = 0 }: Ending,
  now: number,
): UpstreamState {
  const { number, kind, by, from, to, startedAt, switchedAt, models } = handover;
  const entry: EndedHandover = {
    ...{ number, kind, by, end, from, to, startedAt, endedAt: now, switchedAt, models },
    ...{ cut, fault },
  };
  return {
    ...state,
    handover: undefined,
    counter: Math.max(state.counter, number),
    ended: [...state.ended, entry].slice(-ENDED_KEPT),
  };
}

/** The end of a handover whose LiteLLM took over and died: the slot before is active again. */
export function switchBack(
  state: UpstreamState,
  handover: Handover,
  fault: HandoverFault,
  now: number,
): UpstreamState {
  const back = { ...state, active: handover.from, verifiedAt: handover.fromVerifiedAt };
  return endHandover(back, handover, { end: 'rolled_back', fault }, now);
}

export function comparedModels(
  listed: readonly string[],
  before: readonly string[] | undefined,
): Models {
  const names = new Set(listed);
  const known = new Set(before ?? names);
  return {
    listed: names.size,
    added: [...names].filter((name) => !known.has(name)).slice(0, NAMES_KEPT),
    vanished: [...known].filter((name) => !names.has(name)).slice(0, NAMES_KEPT),
  };
}
