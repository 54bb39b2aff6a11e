import type { Observation } from './observation.ts';
import type { Asked, EndedHandover, Handover } from './state.ts';
import type { HandoverView, SlotLetter } from './views.ts';
import { waitsFor } from './words.ts';

const iso = (at: number): string => new Date(at).toISOString();
const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : iso(at));

export const handoverId = (number: number): string => `handover-${number}`;

/** One under way, as it is now. */
export function viewOf(handover: Handover, seen: Observation): HandoverView {
  const { number, kind, by, step, from, to, startedAt, stateSince, switchedAt, models } = handover;
  return {
    id: handoverId(number),
    ...{ kind, by, from, to },
    state: step,
    startedAt: iso(startedAt),
    stateSince: iso(stateSince),
    endedAt: null,
    switchedAt: isoOrNull(switchedAt),
    waitsFor: waitsFor(handover, seen) ?? null,
    fault: null,
    models: models ?? null,
    cut: 0,
  };
}

/** One that waits for the end of the one before, which moves to `active`. */
export function viewOfWaiting(
  { number, kind, by, at }: Asked,
  active: SlotLetter,
  before: number,
): HandoverView {
  return {
    id: handoverId(number),
    ...{ kind, by },
    from: active,
    to: active === 'a' ? 'b' : 'a',
    state: 'waiting',
    startedAt: iso(at),
    stateSince: iso(at),
    endedAt: null,
    switchedAt: null,
    waitsFor: `${handoverId(before)} to end`,
    fault: null,
    models: null,
    cut: 0,
  };
}

export function viewOfEnded(handover: EndedHandover): HandoverView {
  const { number, kind, by, end, from, to, startedAt, endedAt, switchedAt, models, cut, fault } =
    handover;
  return {
    id: handoverId(number),
    ...{ kind, by, from, to, cut },
    state: end,
    startedAt: iso(startedAt),
    stateSince: iso(endedAt),
    endedAt: iso(endedAt),
    switchedAt: isoOrNull(switchedAt),
    waitsFor: null,
    fault: fault ?? null,
    models: models ?? null,
  };
}
