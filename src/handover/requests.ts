import { HandoverError, type HandoverErrorCode } from './contracts.ts';
import { viewOf, viewOfEnded, viewOfWaiting } from './describe.ts';
import { faultOfPlace } from './faults.ts';
import type { Ledger } from './ledger.ts';
import type { Looks } from './looks.ts';
import { isEmpty, type Observation } from './observation.ts';
import { placeFailure, type SlotDisk } from './slot-disk.ts';
import { type Asked, begun, ended, otherSlot } from './state.ts';
import type { HandoverKind, HandoverView } from './views.ts';

export interface RequestsOptions {
  readonly ledger: Ledger;
  readonly disk: SlotDisk;
  readonly looks: Looks;
  readonly now: () => number;
  readonly observe: () => Observation;
}

/** Who asks for a handover, one at a time; every verb is to be called in the runner's turn. */
export interface Requests {
  /** Begins one, or lets it wait for the drain of the one before. @throws HandoverError */
  ask(kind: HandoverKind, by: string): Promise<HandoverView>;
  waiting(): HandoverView | undefined;
  /** Begins the one that waits, now that nothing is under way; resolves to whether it did. */
  beginWaiting(): Promise<boolean>;
}

export function createRequests(options: RequestsOptions): Requests {
  const { ledger, now, observe } = options;
  let waiting: Asked | undefined;

  const waitingView = (): HandoverView | undefined => {
    const { active, handover, counter } = ledger.state();
    const before = handover?.number ?? counter;
    return waiting && viewOfWaiting(waiting, active, before);
  };
  const wait = async (asked: Asked): Promise<HandoverView> => {
    const state = ledger.state();
    // The number is taken for good: whoever asks for it after a restart hears of no other one.
    if (!(await ledger.store({ ...state, counter: asked.number }))) throw notStored(ledger);
    waiting = asked;
    return waitingView() as HandoverView;
  };

  return {
    waiting: waitingView,
    ask(kind, by) {
      const state = ledger.state();
      const { handover, counter } = state;
      const asked: Asked = { number: counter + 1, kind, by, at: now() };
      if (handover === undefined) return begin(options, asked);
      if (handover.step !== 'draining') throw underWay(viewOf(handover, observe()));
      const first = waitingView();
      if (first !== undefined) throw underWay(first);
      return wait(asked);
    },
    async beginWaiting() {
      if (waiting === undefined) return false;
      await begin(options, waiting);
      waiting = undefined;
      return true;
    },
  };
}

async function begin(options: RequestsOptions, asked: Asked): Promise<HandoverView> {
  const { ledger, disk, looks, now, observe } = options;
  const state = ledger.state();
  // No request is served by a LiteLLM that never came up: there is nothing to hand over.
  if (asked.kind === 'reload' && state.verifiedAt === undefined) return replace(options, asked);
  const { active } = state;
  const idle = otherSlot(active);
  if (!isEmpty(disk.seen(idle))) throw refusal(`slot ${idle} cannot be cleared`, SLOTS_HINT);
  try {
    // Before the state that names it: no crash leaves a handover without its key.
    await disk.makeKey(idle, asked.kind === 'rotate' ? undefined : active);
  } catch (cause) {
    const { message, hint } = placeFailure(cause);
    throw refusal(message, hint, cause);
  }
  looks.forget(active);
  if (!(await ledger.store(begun(state, asked, now())))) throw notStored(ledger);
  return viewOf(ledger.state().handover as NonNullable<typeof state.handover>, observe());
}

/** Puts the configuration as it is now into the active slot, whose LiteLLM never came up. */
async function replace(options: RequestsOptions, asked: Asked): Promise<HandoverView> {
  const { ledger, disk, now } = options;
  const { active } = ledger.state();
  const { number, kind, by, at } = asked;
  const handover = { number, kind, by, from: active, to: active, startedAt: at } as const;
  const fault = await disk.place(active, 'setting').then(
    () => undefined,
    (cause: unknown) => faultOfPlace(placeFailure(cause)),
  );
  const ending =
    fault === undefined ? { end: 'done' as const } : ({ end: 'rolled_back', fault } as const);
  // What is done is done: this one only tells of it.
  const next = ended(ledger.state(), handover, ending, now());
  if (!(await ledger.store(next))) throw notStored(ledger);
  return viewOfEnded(next.ended.at(-1) as (typeof next.ended)[number]);
}

const SLOTS_HINT = 'see SIDECAR_SLOTS and SIDECAR_STATE: the sidecar must be able to write both';

const refusal = (message: string, hint: string, cause?: unknown): HandoverError =>
  new HandoverError('state_unavailable', `nothing was changed: ${message}`, {
    hints: [hint],
    cause,
  });

function notStored(ledger: Ledger): HandoverError {
  const error = ledger.error();
  return refusal(error?.message ?? 'the state cannot be stored', error?.hint || SLOTS_HINT, error);
}

function underWay(view: HandoverView): HandoverError {
  const code: HandoverErrorCode = 'handover_under_way';
  const doing = view.state === 'waiting' ? 'waits already' : `is under way (${view.state})`;
  return new HandoverError(code, `${view.id} ${doing}: one at a time`, {
    handover: view,
  });
}

export const unknownHandover = (id: string): HandoverError =>
  new HandoverError('unknown_handover', `no handover is called ${id}`, {
    hints: ['sidecar upstream history'],
  });
