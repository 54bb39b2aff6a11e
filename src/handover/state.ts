import * as z from 'zod';
import type { SlotName } from '../litellm/slots.ts';
import { HANDOVER_ENDS, HANDOVER_FAULTS, HANDOVER_KINDS, type HandoverFault } from './views.ts';

/** In milliseconds since the epoch. */
const instant = z.number();
const slot = z.enum(['a', 'b']);
const names = z.array(z.string()).readonly();

const models = z.strictObject({ listed: z.int(), added: names, vanished: names }).readonly();
const common = {
  number: z.int().positive(),
  kind: z.enum(HANDOVER_KINDS),
  by: z.string(),
  from: slot,
  to: slot,
  startedAt: instant,
  /** Probation and drain count from here. */
  switchedAt: instant.optional(),
  models: models.optional(),
};

const handover = z
  .strictObject({
    ...common,
    /** Each is stored before it is acted on. */
    step: z.enum(['staged', 'starting', 'verified', 'switched', 'draining']),
    stateSince: instant,
    /** The models of the LiteLLM before, sorted; undefined: it did not list them. */
    modelsBefore: names.optional(),
    /** The id of the slot's content that was found good: traffic is switched to nothing else. */
    verifiedId: z.string().optional(),
    /** Which start of that content was found good, where the launcher's report said so. */
    attempt: z.int().optional(),
    /** `verifiedAt` of the slot before, for the way back. */
    fromVerifiedAt: instant.optional(),
  })
  .readonly()
  .refine(({ from, to }) => to === otherSlot(from), 'it goes from a slot to itself');

const fault = z.strictObject({
  code: z.enum(HANDOVER_FAULTS),
  message: z.string(),
  hint: z.string(),
  lastWords: names,
});
const ended = z
  .strictObject({
    ...common,
    end: z.enum(HANDOVER_ENDS),
    endedAt: instant,
    cut: z.int().nonnegative(),
    fault: fault.readonly().optional(),
  })
  .readonly();

/** The schema of {@link UpstreamState}. */
export const upstreamState = z
  .strictObject({
    /** New requests go there. */
    active: slot,
    /** When the LiteLLM of the active slot was verified first; undefined: never so far. */
    verifiedAt: instant.optional(),
    keyMadeAt: z.strictObject({ a: instant.optional(), b: instant.optional() }).readonly(),
    handover: handover.optional(),
    /**
     * The digest of a configuration with which LiteLLM did not come up: the sidecar does not try
     * that one again by itself.
     */
    refusedConfig: z.string().optional(),
    /** The number of the last handover that was asked for. */
    counter: z.int().nonnegative(),
    /** The handovers that ended, the latest last. */
    ended: z.array(ended).readonly(),
  })
  .readonly()
  .refine(({ active, handover: each }) => {
    if (each === undefined) return true;
    const isOver = each.step === 'switched' || each.step === 'draining';
    return active === (isOver ? each.to : each.from);
  }, 'its active slot and its handover do not agree');

/**
 * What is known of LiteLLM's slots and outlives the process. Neither a key nor a digest of one
 * stands here, because keys have files of their own. A slot is cleared where it is not active and
 * no handover names it.
 */
export type UpstreamState = z.infer<typeof upstreamState>;
/** A handover under way. */
export type Handover = z.infer<typeof handover>;
export type EndedHandover = z.infer<typeof ended>;
type Models = z.infer<typeof models>;

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

/** A handover that somebody asked for at `startedAt`. */
export type HandoverRequest = Pick<Handover, 'number' | 'kind' | 'by' | 'startedAt'>;

/** The state with a handover at its first step; the idle slot has its key file already. */
export function beginHandover(state: UpstreamState, request: HandoverRequest, now: number) {
  const [from, to] = [state.active, otherSlot(state.active)];
  const keyMadeAt = request.kind === 'rotate' ? now : state.keyMadeAt[from];
  return {
    ...state,
    counter: Math.max(state.counter, request.number),
    keyMadeAt: { ...state.keyMadeAt, [to]: keyMadeAt },
    handover: { ...request, step: 'staged', from, to, stateSince: now },
  } satisfies UpstreamState;
}

/** The state with its handover at this step, and with what was learned on the way there. */
export const advanceHandover = (
  state: UpstreamState,
  handover: Handover,
  step: Handover['step'],
  now: number,
  learned: Partial<Handover> = {},
): UpstreamState => ({ ...state, handover: { ...handover, ...learned, step, stateSince: now } });

/** The one move of a handover: the slot that was verified becomes the active one. */
export function switchActive(state: UpstreamState, handover: Handover, now: number): UpstreamState {
  const moved = { ...state, active: handover.to, verifiedAt: now };
  const back = { switchedAt: now, fromVerifiedAt: state.verifiedAt };
  return advanceHandover(moved, handover, 'switched', now, back);
}

export type Ending = Pick<EndedHandover, 'end' | 'fault'> & { readonly cut?: number };

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
