import type { SlotName } from '../litellm/slots.ts';
import { diedSince, faultAtTimeout, faultOf, faultOfPlace, obviousFault } from './faults.ts';
import {
  contentIdOf,
  countsFrom,
  goodModels,
  isEmpty,
  isIdle,
  isIntact,
  type Limits,
  type Observation,
  type ObservedSlot,
} from './observation.ts';
import {
  advanceHandover,
  comparedModels,
  endHandover,
  type Handover,
  otherSlot,
  switchActive,
  switchBack,
  type UpstreamState,
} from './state.ts';
import type { HandoverFault } from './views.ts';

/**
 * What to do next. Each action can be done twice, because a process before this one may have done
 * it. Each but `store` is done only when the step that asks for it is stored.
 */
export type Action =
  | { readonly kind: 'store'; readonly state: UpstreamState }
  /** Makes the slot's key where there is none: a new one, or the same as the key of `copyOf`. */
  | {
      readonly kind: 'makeKey';
      readonly slot: SlotName;
      readonly copyOf: SlotName | undefined;
    }
  /**
   * Puts the slot's folder in place, with the configuration that the slot `config` holds, or with
   * what SIDECAR_LITELLM_CONFIG names.
   */
  | {
      readonly kind: 'place';
      readonly slot: SlotName;
      readonly config: SlotName | 'setting';
    }
  /** Takes the slot's folder away, then its key. */
  | { readonly kind: 'clear'; readonly slot: SlotName }
  | { readonly kind: 'switchTraffic'; readonly slot: SlotName }
  | { readonly kind: 'endTraffic'; readonly slot: SlotName }
  | { readonly kind: 'wait' };

const WAIT: Action = { kind: 'wait' };
const store = (state: UpstreamState): Action => ({ kind: 'store', state });

/** How long a handover waits for the models of the LiteLLM that serves, in milliseconds. */
const COMPARE_MS = 5000;

/**
 * The next action. This function computes it from what is stored and what is there, never from what
 * this process did before, so that after a kill at any point the next process goes on by itself.
 */
export function plan(state: UpstreamState, seen: Observation, now: number, limits: Limits): Action {
  const first = repairActive(state, seen) ?? followState(state, seen);
  if (first !== undefined) return first;
  const { handover } = state;
  if (handover === undefined) return atRest(state, seen, now);
  return STEPS[handover.step]({ state, handover, seen, now, limits });
}

/** Sees to it that the active slot has a key, and a folder that holds that key. */
function repairActive({ active }: UpstreamState, { slots }: Observation): Action | undefined {
  const slot = slots[active];
  if (slot.keyDigest === undefined) return { kind: 'makeKey', slot: active, copyOf: undefined };
  return isIntact(slot) ? undefined : { kind: 'place', slot: active, config: 'setting' };
}

/** Sends new requests to the slot that the stored state names: the state changes first. */
function followState({ active }: UpstreamState, { trafficAt }: Observation): Action | undefined {
  if (trafficAt === undefined || trafficAt === active) return undefined;
  return { kind: 'switchTraffic', slot: active };
}

function atRest(state: UpstreamState, { slots }: Observation, now: number): Action {
  const { active } = state;
  const idle = otherSlot(active);
  if (!isEmpty(slots[idle])) return takeAway(idle, slots[idle]);
  if (state.verifiedAt === undefined && goodModels(slots[active]) !== undefined) {
    return store({ ...state, verifiedAt: now });
  }
  return WAIT;
}

/** Takes away what a handover left in the idle slot, after what its LiteLLM has in hand. */
function takeAway(slot: SlotName, { cut, load }: ObservedSlot): Action {
  const isBusy = cut === undefined && !isIdle(load);
  return { kind: isBusy ? 'endTraffic' : 'clear', slot };
}

/** What the plan of one step is made from. */
interface StepInput {
  readonly state: UpstreamState;
  readonly handover: Handover;
  readonly seen: Observation;
  readonly now: number;
  readonly limits: Limits;
}

const STEPS: Readonly<Record<Handover['step'], (input: StepInput) => Action>> = {
  staged,
  starting,
  verified,
  switched: ({ state, handover, now }) => store(advanceHandover(state, handover, 'draining', now)),
  draining,
};

/** Waits for the models of the LiteLLM that serves, to compare those of the next one with them. */
function staged(input: StepInput): Action {
  const { state, handover, seen, now } = input;
  const { to, from } = handover;
  const { failure, keyDigest } = seen.slots[to];
  if (failure !== undefined) return store(rollBack(input, faultOfPlace(failure)));
  if (keyDigest === undefined) return keyFor(handover);
  const { check } = seen.slots[from];
  const since = countsFrom(handover.stateSince, seen, now);
  if (check === undefined && now - since < COMPARE_MS) return WAIT;
  const modelsBefore = goodModels(seen.slots[from]);
  return store(advanceHandover(state, handover, 'starting', now, { modelsBefore }));
}

const keyFor = ({ kind, from, to }: Handover): Action => ({
  kind: 'makeKey',
  slot: to,
  copyOf: kind === 'rotate' ? undefined : from,
});

function starting(input: StepInput): Action {
  const { state, handover, seen, now } = input;
  const { from, to, kind, modelsBefore } = handover;
  const slot = seen.slots[to];
  const models = goodModels(slot);
  if (isIntact(slot) && models !== undefined) {
    const found = {
      models: comparedModels(models, modelsBefore),
      verifiedId: contentIdOf(slot),
      attempt: slot.report?.attempt,
    };
    return store(advanceHandover(state, handover, 'verified', now, found));
  }
  const fault = faultNow(input);
  if (fault !== undefined) return store(rollBack(input, fault));
  if (slot.keyDigest === undefined) return keyFor(handover);
  // A rotation takes the configuration of the active slot, so that no half-edited file slips in.
  const config = kind === 'rotate' ? from : 'setting';
  return isIntact(slot) ? WAIT : { kind: 'place', slot: to, config };
}

function verified(input: StepInput): Action {
  const { state, handover, seen, now } = input;
  const slot = seen.slots[handover.to];
  if (!isIntact(slot) || contentIdOf(slot) !== handover.verifiedId) {
    return store(advanceHandover(state, handover, 'starting', now));
  }
  if (handover.kind === 'dry-run') return store(endHandover(state, handover, { end: 'done' }, now));
  // The LiteLLM that an earlier process found good may have died since: this process checks again.
  if (goodModels(slot) !== undefined) {
    const { refusedConfig, ...rest } = switchActive(state, handover, now);
    return store(handover.kind === 'rotate' ? { ...rest, refusedConfig } : rest);
  }
  const fault = faultNow(input);
  return fault === undefined ? WAIT : store(rollBack(input, fault));
}

/** Why a LiteLLM that has not taken over is given up; undefined: it still has time. */
function faultNow({ handover, seen, now, limits }: StepInput): HandoverFault | undefined {
  const { to } = handover;
  const slot = seen.slots[to];
  if (slot.failure !== undefined) return faultOfPlace(slot.failure);
  const port = limits.ports[to];
  const obvious = obviousFault(slot, port, now);
  if (obvious !== undefined) return faultOf(obvious, to, slot, port);
  const since = countsFrom(handover.stateSince, seen, now);
  if (now - since < limits.handoverTimeoutMs) return undefined;
  return faultOf(faultAtTimeout(slot), to, slot, port);
}

/**
 * Ends a handover before its switch. The LiteLLM that serves never noticed, and what is left in the
 * other slot is cleared at rest.
 */
function rollBack({ state, handover, seen, now }: StepInput, fault: HandoverFault): UpstreamState {
  const next = endHandover(state, handover, { end: 'rolled_back', fault }, now);
  return rememberRefused(next, handover, seen, fault);
}

/** Remembers that LiteLLM did not come up with a configuration, where a reload tried one. */
function rememberRefused(
  state: UpstreamState,
  { kind, to }: Handover,
  { slots }: Observation,
  { code }: HandoverFault,
): UpstreamState {
  const { folder } = slots[to];
  const isBlamed = kind === 'reload' && code !== 'disk' && typeof folder === 'object';
  return isBlamed ? { ...state, refusedConfig: folder.configDigest } : state;
}

function draining(input: StepInput): Action {
  const { state, handover, seen, now, limits } = input;
  const { from, to } = handover;
  if (isOnProbation(input)) {
    if (!diedSince(seen.slots[to], handover.attempt, now)) return WAIT;
    // Where somebody took the folder of the slot before away, there is no way back.
    if (isIntact(seen.slots[from])) {
      const fault = faultOf('died_after_switch', to, seen.slots[to], limits.ports[to]);
      const back = switchBack(state, handover, fault, now);
      return store(rememberRefused(back, handover, seen, fault));
    }
  }
  const { load, cut } = seen.slots[from];
  const isOver = now - sinceSwitch(input) >= limits.drainMs;
  if (!isIdle(load) && cut === undefined && !isOver) return WAIT;
  if (cut === undefined) return { kind: 'endTraffic', slot: from };
  if (!isEmpty(seen.slots[from])) return { kind: 'clear', slot: from };
  return store(endHandover(state, handover, { end: 'done', cut }, now));
}

const sinceSwitch = ({ handover, seen, now }: StepInput): number =>
  countsFrom(handover.switchedAt ?? handover.stateSince, seen, now);

/**
 * Whether the LiteLLM before is kept in case the new one dies. The probation ends early where
 * another handover needs the slot. In a process that began after the switch one good verdict on the
 * new one is enough, because that process has sent nothing to the LiteLLM before.
 */
function isOnProbation(input: StepInput): boolean {
  const { handover, seen, now, limits } = input;
  const { from, to, switchedAt = 0 } = handover;
  const wasToldToEnd = seen.slots[from].cut !== undefined;
  if (wasToldToEnd || seen.someoneWaits) return false;
  if (switchedAt < seen.startedAt && goodModels(seen.slots[to]) !== undefined) return false;
  return now - sinceSwitch(input) < limits.probationMs;
}
