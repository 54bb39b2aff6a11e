import type { SlotName } from '../litellm/slots.ts';
import { HandoverError } from './contracts.ts';
import { viewOf, viewOfEnded, viewOfWaiting } from './describe.ts';
import { faultOfPlace } from './faults.ts';
import { isEmpty, type Observation } from './observation.ts';
import { placeFailure, type SlotDisk } from './slot-disk.ts';
import {
  beginHandover,
  type EndedHandover,
  type Ending,
  endHandover,
  type Handover,
  type HandoverRequest,
  otherSlot,
} from './state.ts';
import type { StoredState } from './state-file.ts';
import type { HandoverKind, HandoverView } from './views.ts';

interface HandoverRequestsOptions {
  readonly stored: StoredState;
  readonly disk: SlotDisk;
  readonly checks: { forget(slot: SlotName): void };
  readonly now: () => number;
  readonly observeSlots: () => Observation['slots'];
}

/** Takes requests for a handover. One verb at a time: the runner calls each in its turn. */
export function createHandoverRequests(options: HandoverRequestsOptions) {
  const { stored, now, observeSlots } = options;
  let waiting: HandoverRequest | undefined;

  const waitingView = (): HandoverView | undefined => {
    const { active, handover, counter } = stored.state();
    const before = handover?.number ?? counter;
    return waiting && viewOfWaiting(waiting, active, before);
  };
  const letWait = async (request: HandoverRequest): Promise<HandoverView> => {
    const state = stored.state();
    // The number is stored, so that after a restart no other handover gets it: whoever asks for
    // this one then hears that nobody knows it.
    if (!(await stored.store({ ...state, counter: request.number }))) throw notStored(stored);
    waiting = request;
    return waitingView() as HandoverView;
  };

  return {
    waiting: waitingView,
    /**
     * Begins a handover, or lets it wait for the drain of the one before.
     *
     * @throws HandoverError where nothing was begun, and nothing waits
     */
    async ask(kind: HandoverKind, by: string): Promise<HandoverView> {
      const { handover, counter } = stored.state();
      const request = { number: counter + 1, kind, by, startedAt: now() };
      if (handover === undefined) return await begin(options, request);
      if (handover.step !== 'draining') throw underWay(viewOf(handover, observeSlots()));
      const first = waitingView();
      if (first !== undefined) throw underWay(first);
      return await letWait(request);
    },
    /**
     * Begins the handover that waits; to be called where none is under way. Resolves to whether one
     * was begun.
     */
    async beginWaiting(): Promise<boolean> {
      if (waiting === undefined) return false;
      await begin(options, waiting);
      waiting = undefined;
      return true;
    },
  };
}

async function begin(
  options: HandoverRequestsOptions,
  request: HandoverRequest,
): Promise<HandoverView> {
  const { stored, disk, checks, now, observeSlots } = options;
  const state = stored.state();
  // A LiteLLM that never came up serves no request: there is nothing to hand over.
  if (request.kind === 'reload' && state.verifiedAt === undefined) {
    return replaceActive(options, request);
  }
  const { active } = state;
  const idle = otherSlot(active);
  if (!isEmpty(disk.seen(idle))) throw unavailable(`slot ${idle} cannot be cleared`, SLOTS_HINT);
  try {
    // The key comes before the state that names the handover: no crash leaves that without a key.
    await disk.makeKey(idle, request.kind === 'rotate' ? undefined : active);
  } catch (cause) {
    const { message, hint } = placeFailure(cause);
    throw unavailable(message, hint, cause);
  }
  checks.forget(active);
  if (!(await stored.store(beginHandover(state, request, now())))) throw notStored(stored);
  return viewOf(stored.state().handover as Handover, observeSlots());
}

/** Puts the configuration as it is now into the active slot, whose LiteLLM never came up. */
async function replaceActive(
  options: HandoverRequestsOptions,
  request: HandoverRequest,
): Promise<HandoverView> {
  const { stored, disk, now } = options;
  const { active } = stored.state();
  const handover = { ...request, from: active, to: active };
  const ending = await disk.place(active, 'setting').then(
    (): Ending => ({ end: 'done' }),
    (cause: unknown): Ending => ({ end: 'rolled_back', fault: faultOfPlace(placeFailure(cause)) }),
  );
  // The slot is replaced already, and the state only tells of it.
  const next = endHandover(stored.state(), handover, ending, now());
  if (!(await stored.store(next))) throw notStored(stored);
  return viewOfEnded(next.ended.at(-1) as EndedHandover);
}

const SLOTS_HINT = 'see SIDECAR_SLOTS and SIDECAR_STATE: the sidecar must be able to write both';

const unavailable = (message: string, hint: string, cause?: unknown): HandoverError =>
  new HandoverError('state_unavailable', `nothing was changed: ${message}`, {
    hints: [hint],
    cause,
  });

function notStored(stored: StoredState): HandoverError {
  const error = stored.error();
  const message = error?.message ?? 'the state cannot be stored';
  return unavailable(message, error?.hint || SLOTS_HINT, error);
}

function underWay(view: HandoverView): HandoverError {
  const doing = view.state === 'waiting' ? 'waits already' : `is under way (${view.state})`;
  return new HandoverError('handover_under_way', `${view.id} ${doing}: one at a time`, {
    handover: view,
  });
}
