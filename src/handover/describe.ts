import { isoOrNull } from '../config/units.ts';
import type { SlotLoad, SlotName } from '../litellm/slots.ts';
import type { Verdict } from '../litellm/verify.ts';
import { isIdle, type Observation } from './observation.ts';
import { type EndedHandover, type Handover, type HandoverRequest, otherSlot } from './state.ts';
import type { HandoverView } from './views.ts';

/** What LiteLLM has to do yet, by the last verdict on it. */
const UNTIL: Readonly<Record<Verdict['kind'], string>> = {
  good: 'to list its models',
  silent: 'to answer',
  refuses_key: 'to take the key of its slot',
  accepts_any_key: 'to refuse a key that was made up',
  no_models: 'to list a model',
  not_litellm: 'to answer as LiteLLM does',
};

const counted = (count: number, noun: string): string[] =>
  count === 0 ? [] : [`${count} ${noun}${count === 1 ? '' : 's'}`];

/** Such as `2 requests, 1 WebSocket and 1 MCP session`; in en-US a comma precedes the "and". */
const loadWords = ({ requests, websockets, mcpSessions }: SlotLoad): string =>
  new Intl.ListFormat('en-GB').format([
    ...counted(requests, 'request'),
    ...counted(websockets, 'WebSocket'),
    ...counted(mcpSessions, 'MCP session'),
  ]);

/** What a handover waits for; null: nothing. */
function waitsFor({ step, from, to }: Handover, slots: Observation['slots']): string | null {
  if (step === 'staged') return `LiteLLM in slot ${from} to list its models`;
  if (step === 'starting') {
    const kind = slots[to].check?.verdict.kind ?? 'silent';
    return `LiteLLM in slot ${to} ${UNTIL[kind]}`;
  }
  if (step !== 'draining') return null;
  const { load } = slots[from];
  if (isIdle(load)) return `LiteLLM in slot ${to} to show that it lives on`;
  return `${loadWords(load)} in slot ${from} to end`;
}

const iso = (at: number): string => new Date(at).toISOString();

export const handoverId = (number: number): string => `handover-${number}`;

type Described = HandoverRequest & Pick<Handover, 'from' | 'to' | 'switchedAt' | 'models'>;

/** A view with what every handover has, and with what is different in this one. */
function describe(
  handover: Described,
  state: HandoverView['state'],
  since: number,
  more: Partial<HandoverView>,
): HandoverView {
  const { number, kind, by, from, to, startedAt, switchedAt, models = null } = handover;
  return {
    ...{ id: handoverId(number), kind, by, from, to, state },
    ...{ startedAt: iso(startedAt), stateSince: iso(since), endedAt: null },
    ...{ switchedAt: isoOrNull(switchedAt), waitsFor: null, fault: null, models, cut: 0 },
    ...more,
  };
}

/** The handover under way, as it is now. */
export const viewOf = (handover: Handover, slots: Observation['slots']): HandoverView =>
  describe(handover, handover.step, handover.stateSince, { waitsFor: waitsFor(handover, slots) });

/**
 * The handover that waits for the end of the one with the number `before`, which moves to the slot
 * `active`.
 */
export function viewOfWaiting(
  request: HandoverRequest,
  active: SlotName,
  before: number,
): HandoverView {
  const handover = { ...request, from: active, to: otherSlot(active) };
  const ends = { waitsFor: `${handoverId(before)} to end` };
  return describe(handover, 'waiting', request.startedAt, ends);
}

export function viewOfEnded(handover: EndedHandover): HandoverView {
  const { end, endedAt, cut, fault = null } = handover;
  return describe(handover, end, endedAt, { endedAt: iso(endedAt), cut, fault });
}
