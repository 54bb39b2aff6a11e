import type { HandoverEnd, HandoverFault, HandoverKind, SlotLetter } from './views.ts';

/**
 * What outlives the process of LiteLLM's slots. Instants are milliseconds since the epoch. Neither
 * a key nor a digest of one stands here: keys have files of their own, and a slot whose file or
 * folder belongs to no handover is nobody's and is cleared.
 */
export interface UpstreamState {
  /** New requests go there. */
  readonly active: SlotLetter;
  /** When the LiteLLM of the active slot was verified first; undefined: it never was. */
  readonly verifiedAt?: number | undefined;
  readonly keyMadeAt: { readonly [slot in SlotLetter]?: number | undefined };
  /** The one under way. */
  readonly handover?: Handover | undefined;
  /** A configuration that did not come up: it is not tried again until somebody asks. */
  readonly refusedConfig?: string | undefined;
  /** The number of the last handover that was asked for. */
  readonly counter: number;
  /** The latest last. */
  readonly ended: readonly EndedHandover[];
}

/** The steps that are stored; each is stored before it is acted on. */
export type StoredStep = 'staged' | 'starting' | 'verified' | 'switched' | 'draining';

export interface Handover {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  readonly step: StoredStep;
  readonly from: SlotLetter;
  readonly to: SlotLetter;
  readonly startedAt: number;
  readonly stateSince: number;
  /** Probation and drain count from it. */
  readonly switchedAt?: number | undefined;
  /** Of the LiteLLM before, sorted; undefined: it did not say. */
  readonly modelsBefore?: readonly string[] | undefined;
  readonly models?: Models | undefined;
  /** The id of the slot's content that was found good: nothing else is switched to. */
  readonly verifiedId?: string | undefined;
  /** Which start of that content was found good, where its report said so. */
  readonly attempt?: number | undefined;
  /** For the way back: `verifiedAt` of the slot before. */
  readonly fromVerifiedAt?: number | undefined;
}

export interface EndedHandover {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  readonly end: HandoverEnd;
  readonly from: SlotLetter;
  readonly to: SlotLetter;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly switchedAt?: number | undefined;
  readonly models?: Models | undefined;
  readonly cut: number;
  readonly fault?: HandoverFault | undefined;
}

export interface Models {
  readonly listed: number;
  readonly added: readonly string[];
  readonly vanished: readonly string[];
}

/** As many as an operator reads. */
const ENDED_KEPT = 20;
/** Names of models that came or went; a LiteLLM with wildcards lists thousands. */
const NAMES_KEPT = 200;

/** Before anything happened. */
export const firstState = (active: SlotLetter): UpstreamState => ({
  active,
  keyMadeAt: {},
  counter: 0,
  ended: [],
});

export const otherSlot = (slot: SlotLetter): SlotLetter => (slot === 'a' ? 'b' : 'a');

export interface Asked {
  readonly number: number;
  readonly kind: HandoverKind;
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** With a handover at its first step; the key of the idle slot stands in its file already. */
export function begun(state: UpstreamState, { number, kind, by, at }: Asked, now: number) {
  const [from, to] = [state.active, otherSlot(state.active)];
  const keyMadeAt = kind === 'rotate' ? now : state.keyMadeAt[from];
  return {
    ...state,
    counter: Math.max(state.counter, number),
    keyMadeAt: { ...state.keyMadeAt, [to]: keyMadeAt },
    handover: { number, kind, by, step: 'staged', from, to, startedAt: at, stateSince: now },
  } satisfies UpstreamState;
}

/** With the handover a step further. */
export const stepped = (
  state: UpstreamState,
  handover: Handover,
  step: StoredStep,
  now: number,
  more: Partial<Handover> = {},
): UpstreamState => ({ ...state, handover: { ...handover, ...more, step, stateSince: now } });

/** The one move: the slot that was verified is the active one. */
export function switched(state: UpstreamState, handover: Handover, now: number): UpstreamState {
  const next = { switchedAt: now, fromVerifiedAt: state.verifiedAt };
  const moved = { ...state, active: handover.to, verifiedAt: now };
  return stepped(moved, handover, 'switched', now, next);
}

export interface Ending {
  readonly end: HandoverEnd;
  readonly fault?: HandoverFault | undefined;
  readonly cut?: number;
}

/** Without the handover; what it leaves in the idle slot is nobody's from now on. */
export function ended(
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

/** New requests go back to the slot before; the one that took over is idle. */
export function wentBack(
  state: UpstreamState,
  handover: Handover,
  fault: HandoverFault,
  now: number,
): UpstreamState {
  const back = { ...state, active: handover.from, verifiedAt: handover.fromVerifiedAt };
  return ended(back, handover, { end: 'rolled_back', fault }, now);
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
