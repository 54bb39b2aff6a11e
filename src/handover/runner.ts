import type { Secret } from '../secret.ts';
import { createTurns, createWakes } from '../turns.ts';
import { type ConfigSeen, createUnasked, type Unasked, type UnaskedOptions } from './automatic.ts';
import {
  HandoverError,
  type HandoverEvents,
  type SlotLoad,
  type SlotTraffic,
  type Trouble,
  type UpstreamLooks,
} from './contracts.ts';
import { viewOf, viewOfEnded } from './describe.ts';
import { createLedger, type Ledger, type StateFile } from './ledger.ts';
import { createLooks, type Looks } from './looks.ts';
import {
  goodModels,
  idOf,
  isEmpty,
  type Limits,
  type Observation,
  type PlaceFailure,
  type SlotSeen,
} from './observation.ts';
import { type Action, plan } from './plan.ts';
import { createRequests, type Requests } from './requests.ts';
import { placeFailure, type SlotDisk } from './slot-disk.ts';
import { otherSlot, type UpstreamState } from './state.ts';
import type { HandoverKind, HandoverView, SlotLetter } from './views.ts';

/** Carries out what was planned, and remembers what only this process knows of it. */
export interface Acts {
  /** From now on there is traffic; it goes to `slot` already. */
  serve(traffic: SlotTraffic, slot: SlotLetter): void;
  trafficAt(): SlotLetter | undefined;
  load(slot: SlotLetter): SlotLoad;
  isUp(slot: SlotLetter): boolean;
  cut(slot: SlotLetter): number | undefined;
  failure(slot: SlotLetter): PlaceFailure | undefined;
  /** Another handover begins: what became of the slots before does not count. */
  forget(): void;
  /** Resolves to whether to go on at once; else after a while. Never rejects. */
  perform(action: Exclude<Action, { kind: 'wait' }>): Promise<boolean>;
  /** What failed last, and has not succeeded since. */
  trouble(): Trouble | undefined;
}

export interface ActsOptions {
  readonly ledger: Ledger;
  readonly disk: SlotDisk;
  readonly onTrouble: (trouble: Trouble | undefined) => void;
}

const NO_LOAD: SlotLoad = { requests: 0, websockets: 0, mcpSessions: 0 };

export function createActs({ ledger, disk, onTrouble }: ActsOptions): Acts {
  let traffic: SlotTraffic | undefined;
  let at: SlotLetter | undefined;
  const cuts = new Map<SlotLetter, number>();
  const failures = new Map<SlotLetter, PlaceFailure>();
  let trouble: Trouble | undefined;

  const setTrouble = (next: Trouble | undefined): void => {
    if (trouble?.message !== next?.message) onTrouble(next);
    trouble = next;
  };
  /** A candidate that cannot be made is given up; all else is tried again. */
  const write = async (slot: SlotLetter, act: () => Promise<void>): Promise<boolean> => {
    try {
      await act();
      failures.delete(slot);
      setTrouble(undefined);
      return true;
    } catch (cause) {
      const failure = placeFailure(cause);
      const { handover, active } = ledger.state();
      const isCandidate = handover?.to === slot && active !== slot;
      if (isCandidate) failures.set(slot, failure);
      else setTrouble({ message: failure.message, hint: failure.hint });
      return isCandidate;
    }
  };

  return {
    serve(given, slot) {
      traffic = given;
      at = slot;
    },
    trafficAt: () => at,
    load: (slot) => traffic?.load(slot) ?? NO_LOAD,
    isUp: (slot) => traffic?.isUp(slot) ?? false,
    cut: (slot) => cuts.get(slot),
    failure: (slot) => failures.get(slot),
    trouble: () => trouble,
    forget() {
      cuts.clear();
      failures.clear();
    },
    async perform(action) {
      if (action.kind === 'store') return await ledger.store(action.state);
      const { slot } = action;
      if (action.kind === 'makeKey') return write(slot, () => disk.makeKey(slot, action.copyOf));
      if (action.kind === 'place') return write(slot, () => disk.place(slot, action.config));
      if (action.kind === 'clear') return write(slot, () => disk.clear(slot));
      if (action.kind === 'endTraffic') {
        cuts.set(slot, (await traffic?.end(slot)) ?? 0);
        return true;
      }
      traffic?.switchTo(slot, disk.key(slot) as Secret);
      at = slot;
      return true;
    },
  };
}

/** Puts together what is known at this moment; waits for nothing. */
export function createObserve(options: {
  readonly disk: SlotDisk;
  readonly acts: Acts;
  readonly looks: Looks;
  readonly now: () => number;
  readonly someoneWaits: () => boolean;
}): () => Observation {
  const { disk, acts, looks, now, someoneWaits } = options;
  const startedAt = now();
  const slot = (name: SlotLetter): SlotSeen => ({
    ...disk.seen(name),
    ...looks.of(name),
    failure: acts.failure(name),
    load: acts.load(name),
    isUp: acts.isUp(name),
    cut: acts.cut(name),
  });
  return () => ({
    slots: { a: slot('a'), b: slot('b') },
    trafficAt: acts.trafficAt(),
    someoneWaits: someoneWaits(),
    startedAt,
  });
}

export interface RunnerOptions extends Omit<UnaskedOptions, 'onNotBegun'> {
  readonly file: StateFile;
  readonly state: UpstreamState;
  readonly disk: SlotDisk;
  readonly looks: Pick<UpstreamLooks, 'verify' | 'readReport'>;
  /** Where the slot's config.yaml sets a master_key of its own. */
  readonly masterKeyLine: (slot: SlotLetter) => Promise<number | undefined>;
  readonly limits: Limits;
  readonly mayWrite: () => boolean;
  readonly events: HandoverEvents;
  readonly pace?: Pace;
}

/** Milliseconds. */
export interface Pace {
  /** Between two ticks while something is under way. */
  readonly tickMs: number;
  /** Between two looks at a candidate. */
  readonly lookMs: number;
  /** Between two looks at what serves already. */
  readonly slowLookMs: number;
  /** After something failed. */
  readonly troubleMs: number;
  /** The longest sleep: the clock may jump. */
  readonly sleepMs: number;
}

const PACE: Pace = {
  tickMs: 250,
  lookMs: 500,
  slowLookMs: 2000,
  troubleMs: 1000,
  sleepMs: 60_000,
};
/** More acts than any handover has in a row. */
const MOST_ACTS = 50;

/** Moves LiteLLM from slot to slot, as `plan` says. */
export interface Runner {
  /** The traffic serves from now on, and goes to the active slot already. */
  start(traffic: SlotTraffic): void;
  state(): UpstreamState;
  observe(): Observation;
  /** @throws HandoverError */
  ask(kind: HandoverKind, by: string): Promise<HandoverView>;
  waiting(): HandoverView | undefined;
  onConfigChanged(seen: ConfigSeen): void;
  readonly unasked: Pick<Unasked, 'config' | 'notBegun' | 'nextRotationAt'>;
  /** What cannot be written at present. */
  trouble(): Trouble | undefined;
  /** Ends what this process does; the next one goes on with it. */
  close(): Promise<void>;
}

export function createRunner(options: RunnerOptions): Runner {
  const { pace = PACE } = options;
  const inTurn = createTurns();
  const parts = buildParts(options, () => wakes.wakeIn(0));
  const { ledger, acts, requests, unasked, observe } = parts;
  const work = createWork(parts, options, pace);
  const wakes = createWakes(() =>
    inTurn(async () => ((await work.tick()) ? work.sleepMs() : pace.troubleMs)).catch(
      // A verb that failed says so in `trouble`.
      () => pace.troubleMs,
    ),
  );

  return {
    start(traffic) {
      acts.serve(traffic, ledger.state().active);
      wakes.start();
    },
    state: ledger.state,
    observe,
    waiting: requests.waiting,
    unasked,
    trouble: () => ledger.error() ?? acts.trouble(),
    ask: (kind, by) =>
      inTurn(async () => {
        if (wakes.isClosed()) throw stopping();
        // What the one before left may still lie in the idle slot.
        await work.settle();
        const view = await requests.ask(kind, by);
        wakes.wakeIn(0);
        return view;
      }),
    onConfigChanged(seen) {
      unasked.onConfigChanged(seen);
      wakes.wakeIn(0);
    },
    async close() {
      wakes.close();
      work.close();
      await inTurn(() => Promise.resolve());
    },
  };
}

const stopping = (): HandoverError =>
  new HandoverError('stopping_upstream', 'nothing was changed: the sidecar stops', {
    hints: ['ask again when it runs'],
  });

interface Parts {
  readonly ledger: Ledger;
  readonly acts: Acts;
  readonly looks: Looks;
  readonly requests: Requests;
  readonly unasked: Unasked;
  readonly observe: () => Observation;
}

function buildParts(options: RunnerOptions, onLook: () => void): Parts {
  const { disk, now, events, masterKeyLine } = options;
  const unasked = createUnasked({ ...options, onNotBegun: events.onNotBegun });
  const onChange = (next: UpstreamState, before: UpstreamState): void => {
    if (next.handover?.number !== before.handover?.number) acts.forget();
    const last = next.ended.at(-1);
    if (last !== undefined && last.number !== before.ended.at(-1)?.number) unasked.onEnd(last);
    tell(events, next, before, observe);
  };
  const ledger = createLedger({ ...options, onStore: events.onStore, onChange });
  const acts = createActs({ ledger, disk, onTrouble: events.onTrouble });
  const looks = createLooks({
    ...options.looks,
    ...{ masterKeyLine, now, onLook },
    idOf: (slot) => idOf(disk.seen(slot)),
    keyOf: disk.key,
  });
  const requests = createRequests({ ledger, disk, looks, now, observe: () => observe() });
  const someoneWaits = (): boolean => requests.waiting() !== undefined;
  const observe = createObserve({ disk, acts, looks, now, someoneWaits });
  return { ledger, acts, looks, requests, unasked, observe };
}

/** Says what changed between two states that were stored one after the other. */
function tell(
  events: HandoverEvents,
  next: UpstreamState,
  before: UpstreamState,
  observe: () => Observation,
): void {
  const { handover } = next;
  const isStep = handover?.step !== before.handover?.step;
  if (handover !== undefined && isStep) events.onStep(viewOf(handover, observe()));
  const last = next.ended.at(-1);
  if (last !== undefined && last.number !== before.ended.at(-1)?.number) {
    events.onEnd(viewOfEnded(last));
  } else if (handover === undefined && before.verifiedAt !== next.verifiedAt) {
    events.onVerified(next.active);
  }
}

/** What one tick does. */
function createWork(parts: Parts, { disk, now, limits }: RunnerOptions, pace: Pace) {
  const { ledger, acts, looks, requests, unasked, observe } = parts;
  let closed = false;

  /** Does what there is to do; resolves to whether all of it succeeded. */
  const settle = async (): Promise<boolean> => {
    for (let count = 0; count < MOST_ACTS && !closed; count++) {
      if (!(await ledger.settle())) return false;
      const action = plan(ledger.state(), observe(), now(), limits);
      if (action.kind === 'wait') return true;
      if (!(await acts.perform(action))) return false;
    }
    return !closed;
  };
  const begin = async (): Promise<void> => {
    const { active, handover } = ledger.state();
    if (handover !== undefined || !isEmpty(disk.seen(otherSlot(active)))) return;
    if (await requests.beginWaiting()) return;
    const { folder } = disk.seen(active);
    const running = typeof folder === 'object' ? folder.configDigest : undefined;
    await unasked.begin(ledger.state(), running, requests.ask);
  };

  return {
    settle,
    async tick(): Promise<boolean> {
      const { slot, everyMs } = lookedAt(ledger.state(), observe(), pace);
      if (slot !== undefined) await looks.tend(slot, everyMs);
      if (!(await settle())) return false;
      await begin();
      return true;
    },
    sleepMs(): number {
      const state = ledger.state();
      const isBusy = state.handover !== undefined || state.verifiedAt === undefined;
      if (isBusy || requests.waiting() !== undefined) return pace.tickMs;
      const wait = unasked.nextAt(state) - now();
      return Math.min(Math.max(wait, pace.tickMs), pace.sleepMs);
    },
    close() {
      closed = true;
    },
  };
}

/** The LiteLLM on which it depends how things go on, and how often it is looked at. */
function lookedAt(
  { handover, verifiedAt, active }: UpstreamState,
  { slots }: Observation,
  { lookMs, slowLookMs }: Pace,
) {
  if (handover === undefined) {
    return { slot: verifiedAt === undefined ? active : undefined, everyMs: slowLookMs };
  }
  const { step, from, to } = handover;
  if (step === 'staged') return { slot: from, everyMs: lookMs };
  if (step !== 'draining') return { slot: to, everyMs: lookMs };
  // Each look leaves a refusal of a made-up key in LiteLLM's log: while it serves, none is needed.
  const isFine = slots[to].isUp && goodModels(slots[to]) !== undefined;
  return { slot: to, everyMs: isFine ? Infinity : slowLookMs };
}
