import { diedSince, faultAtEnd, faultOf, faultOfPlace, obviousFault } from './faults.ts';
import {
  countsFrom,
  goodModels,
  idOf,
  isEmpty,
  isIdle,
  isIntact,
  type Limits,
  type Observation,
} from './observation.ts';
import {
  comparedModels,
  ended,
  type Handover,
  otherSlot,
  stepped,
  switched,
  type UpstreamState,
  wentBack,
} from './state.ts';
import type { HandoverFault, SlotLetter } from './views.ts';

/** What to do next. Each can be done twice, and none but `store` is done before it is stored. */
export type Action =
  | { readonly kind: 'store'; readonly state: UpstreamState }
  /** Makes the slot's key where it has none; `copyOf`: the same as that slot's. */
  | {
      readonly kind: 'makeKey';
      readonly slot: SlotLetter;
      readonly copyOf: SlotLetter | undefined;
    }
  /** `config`: of that slot, or what SIDECAR_LITELLM_CONFIG names. */
  | {
      readonly kind: 'place';
      readonly slot: SlotLetter;
      readonly config: SlotLetter | 'setting';
    }
  /** The folder, then the key. */
  | { readonly kind: 'clear'; readonly slot: SlotLetter }
  | { readonly kind: 'switchTraffic'; readonly slot: SlotLetter }
  | { readonly kind: 'endTraffic'; readonly slot: SlotLetter }
  | { readonly kind: 'wait' };

const WAIT: Action = { kind: 'wait' };
const store = (state: UpstreamState): Action => ({ kind: 'store', state });

/** How long the models of the LiteLLM before are waited for, in milliseconds. */
const COMPARE_MS = 5000;

/**
 * The next action. It is computed from what is stored and what is there, never from what this
 * process did before: after a kill at any point the next process goes on by itself.
 */
export function plan(state: UpstreamState, seen: Observation, now: number, limits: Limits): Action {
  const first = mend(state, seen) ?? followState(state, seen);
  if (first !== undefined) return first;
  const { handover } = state;
  if (handover === undefined) return atRest(state, seen, now);
  return STEPS[handover.step]({ state, handover, seen, now, limits });
}

/** The active slot has a key, and a folder that holds it. */
export function mend(
  { active }: UpstreamState,
  { slots }: Pick<Observation, 'slots'>,
): Action | undefined {
  const slot = slots[active];
  if (slot.keyDigest === undefined) return { kind: 'makeKey', slot: active, copyOf: undefined };
  return isIntact(slot) ? undefined : { kind: 'place', slot: active, config: 'setting' };
}

/** New requests go where the state says, and it said so first. */
function followState({ active }: UpstreamState, { trafficAt }: Observation): Action | undefined {
  if (trafficAt === undefined || trafficAt === active) return undefined;
  return { kind: 'switchTraffic', slot: active };
}

function atRest(state: UpstreamState, { slots }: Observation, now: number): Action {
  const { active } = state;
  const idle = otherSlot(active);
  if (!isEmpty(slots[idle])) return endThenClear(idle, slots[idle]) ?? WAIT;
  if (state.verifiedAt === undefined && goodModels(slots[active]) !== undefined) {
    return store({ ...state, verifiedAt: now });
  }
  return WAIT;
}

/** Takes a LiteLLM away that new requests do not reach any more; undefined: it is gone. */
function endThenClear(
  slot: SlotLetter,
  seen: Observation['slots'][SlotLetter],
): Action | undefined {
  if (seen.cut === undefined && !isIdle(seen.load)) return { kind: 'endTraffic', slot };
  return isEmpty(seen) ? undefined : { kind: 'clear', slot };
}

interface Turn {
  readonly state: UpstreamState;
  readonly handover: Handover;
  readonly seen: Observation;
  readonly now: number;
  readonly limits: Limits;
}

const STEPS: Readonly<Record<Handover['step'], (turn: Turn) => Action>> = {
  staged,
  starting,
  verified,
  switched: ({ state, handover, now }) => store(stepped(state, handover, 'draining', now)),
  draining,
};

/** Looks at the LiteLLM that serves, to compare the next one with it. */
function staged(turn: Turn): Action {
  const { state, handover, seen, now } = turn;
  const { to, from } = handover;
  const { failure, keyDigest } = seen.slots[to];
  if (failure !== undefined) return store(rolledBack(turn, faultOfPlace(failure)));
  if (keyDigest === undefined) return keyFor(handover);
  const { look } = seen.slots[from];
  const since = countsFrom(handover.stateSince, seen.startedAt, now);
  if (look === undefined && now - since < COMPARE_MS) return WAIT;
  const modelsBefore = goodModels(seen.slots[from]);
  return store(stepped(state, handover, 'starting', now, { modelsBefore }));
}

const keyFor = ({ kind, from, to }: Handover): Action => ({
  kind: 'makeKey',
  slot: to,
  copyOf: kind === 'rotate' ? undefined : from,
});

function starting(turn: Turn): Action {
  const { state, handover, seen, now } = turn;
  const { from, to, kind, modelsBefore } = handover;
  const slot = seen.slots[to];
  const models = goodModels(slot);
  if (isIntact(slot) && models !== undefined) {
    const found = {
      models: comparedModels(models, modelsBefore),
      verifiedId: idOf(slot),
      attempt: slot.report?.attempt,
    };
    return store(stepped(state, handover, 'verified', now, found));
  }
  const fault = faultNow(turn);
  if (fault !== undefined) return store(rolledBack(turn, fault));
  if (slot.keyDigest === undefined) return keyFor(handover);
  // A rotation runs with what the active slot runs with: a half-edited file never slips in.
  const config = kind === 'rotate' ? from : 'setting';
  return isIntact(slot) ? WAIT : { kind: 'place', slot: to, config };
}

function verified(turn: Turn): Action {
  const { state, handover, seen, now } = turn;
  const slot = seen.slots[handover.to];
  if (!isIntact(slot) || idOf(slot) !== handover.verifiedId) {
    return store(stepped(state, handover, 'starting', now));
  }
  if (handover.kind === 'dry-run') return store(ended(state, handover, { end: 'done' }, now));
  // What a process before this one saw may have died with it.
  if (goodModels(slot) !== undefined) {
    const { refusedConfig, ...rest } = switched(state, handover, now);
    return store(handover.kind === 'rotate' ? { ...rest, refusedConfig } : rest);
  }
  const fault = faultNow(turn);
  return fault === undefined ? WAIT : store(rolledBack(turn, fault));
}

/** Why a LiteLLM that has not taken over is given up, if it is. */
function faultNow({ handover, seen, now, limits }: Turn): HandoverFault | undefined {
  const { to } = handover;
  const slot = seen.slots[to];
  if (slot.failure !== undefined) return faultOfPlace(slot.failure);
  const port = limits.ports[to];
  const obvious = obviousFault(slot, port, now);
  if (obvious !== undefined) return faultOf(obvious, to, slot, port);
  const since = countsFrom(handover.stateSince, seen.startedAt, now);
  if (now - since < limits.handoverTimeoutMs) return undefined;
  return faultOf(faultAtEnd(slot), to, slot, port);
}

/** The one before never noticed; what this one leaves is cleared at rest. */
function rolledBack({ state, handover, seen, now }: Turn, fault: HandoverFault): UpstreamState {
  const next = ended(state, handover, { end: 'rolled_back', fault }, now);
  return refusing(next, handover, seen, fault);
}

/** With a word that this configuration did not come up, where it was one that somebody tried. */
function refusing(
  state: UpstreamState,
  { kind, to }: Handover,
  { slots }: Observation,
  { code }: HandoverFault,
): UpstreamState {
  const { folder } = slots[to];
  const isBlamed = kind === 'reload' && code !== 'disk' && typeof folder === 'object';
  return isBlamed ? { ...state, refusedConfig: folder.configDigest } : state;
}

function draining(turn: Turn): Action {
  const { state, handover, seen, now, limits } = turn;
  const { from, to } = handover;
  if (isOnProbation(turn)) {
    if (!diedSince(seen.slots[to], handover.attempt, now)) return WAIT;
    // Where the one before is gone by somebody's hand there is no way back.
    if (isIntact(seen.slots[from])) {
      const fault = faultOf('died_after_switch', to, seen.slots[to], limits.ports[to]);
      return store(refusing(wentBack(state, handover, fault, now), handover, seen, fault));
    }
  }
  const { load, cut } = seen.slots[from];
  const isOver = now - sinceSwitch(turn) >= limits.drainMs;
  if (!isIdle(load) && cut === undefined && !isOver) return WAIT;
  if (cut === undefined) return { kind: 'endTraffic', slot: from };
  if (!isEmpty(seen.slots[from])) return { kind: 'clear', slot: from };
  return store(ended(state, handover, { end: 'done', cut }, now));
}

const sinceSwitch = ({ handover, seen, now }: Turn): number =>
  countsFrom(handover.switchedAt ?? handover.stateSince, seen.startedAt, now);

/**
 * Whether the LiteLLM before is kept, come what may. Another handover needs its place; and in a
 * process that began since the switch nothing is in hand there, so one good look at the new one
 * is enough.
 */
function isOnProbation(turn: Turn): boolean {
  const { handover, seen, now, limits } = turn;
  const { from, to, switchedAt = 0 } = handover;
  const wasToldToEnd = seen.slots[from].cut !== undefined;
  if (wasToldToEnd || seen.someoneWaits) return false;
  if (switchedAt < seen.startedAt && goodModels(seen.slots[to]) !== undefined) return false;
  return now - sinceSwitch(turn) < limits.probationMs;
}
