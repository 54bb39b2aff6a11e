import type { ConfigSeen } from '../litellm/config.ts';
import type { SlotName } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { createTurns, createWakes } from '../turns.ts';
import { type AutomaticOptions, createAutomaticHandovers } from './automatic.ts';
import {
  HandoverError,
  type HandoverEvents,
  type LitellmChecks,
  type SlotTraffic,
  type Trouble,
} from './contracts.ts';
import { viewOf, viewOfEnded } from './describe.ts';
import {
  configDigestOf,
  contentIdOf,
  createSlotChecks,
  goodModels,
  isEmpty,
  type Limits,
  lastingSince,
  NO_LOAD,
  type Observation,
  type ObservedSlot,
  type PlaceFailure,
} from './observation.ts';
import { type Action, plan } from './plan.ts';
import { createHandoverRequests } from './requests.ts';
import { placeFailure, type SlotDisk } from './slot-disk.ts';
import { otherSlot, type UpstreamState } from './state.ts';
import { createStoredState, type StateFile, type StoredState } from './state-file.ts';
import type { HandoverKind, HandoverView } from './views.ts';

interface RunnerOptions extends Omit<AutomaticOptions, 'onNotBegun'> {
  readonly file: StateFile;
  readonly state: UpstreamState;
  readonly disk: SlotDisk;
  readonly checks: Pick<LitellmChecks, 'verify' | 'readReport'>;
  readonly limits: Limits;
  readonly mayWrite: () => boolean;
  /** How long this process did not look, in milliseconds in all; never, where nothing is said. */
  readonly missedMs?: () => number;
  readonly events: HandoverEvents;
  readonly pace?: Pace;
}

/** In milliseconds. */
const PACE = {
  /** Between two ticks while a handover is under way. */
  tickMs: 250,
  /** Between two checks of a candidate. */
  checkMs: 500,
  /** Between two checks of a LiteLLM that serves already. */
  slowCheckMs: 2000,
  /** Until the next tick after something failed. */
  troubleMs: 1000,
  /** The longest time between two ticks: the clock may jump. */
  sleepMs: 60_000,
};
export type Pace = typeof PACE;

/**
 * Moves LiteLLM from slot to slot. Each tick observes the slots, asks `plan` for the next action
 * and carries that action out, until the plan is to wait; then the tick begins the next handover,
 * if one waits or is due.
 */
export function createRunner(options: RunnerOptions) {
  const { pace = PACE } = options;
  const inTurn = createTurns();
  const parts = createParts(options);
  const { stored, executor, requests, automatic, observe } = parts;
  const ticks = createTicks(parts, options, pace);
  const wakes = createWakes(() =>
    inTurn(async () => {
      const succeeded = await ticks.tick(wakeNow);
      // `trouble` tells of what failed, and the next tick tries that again.
      return succeeded ? ticks.sleepMs() : pace.troubleMs;
    }).catch(() => pace.troubleMs),
  );
  const wakeNow = (): void => wakes.wakeIn(0);

  return {
    /** From now on the traffic serves; it goes to the active slot already. */
    start(traffic: SlotTraffic): void {
      executor.serve(traffic, stored.state().active);
      wakes.start();
    },
    state: stored.state,
    observe,
    waiting: requests.waiting,
    automatic,
    /** What cannot be written at present. */
    trouble: (): Trouble | undefined => stored.error() ?? executor.trouble(),
    /** @throws HandoverError */
    ask: (kind: HandoverKind, by: string): Promise<HandoverView> =>
      inTurn(async () => {
        if (wakes.isClosed()) throw stopping();
        // The idle slot may still hold what the handover before left there.
        await ticks.settle();
        const view = await requests.ask(kind, by);
        wakeNow();
        return view;
      }),
    onConfigChanged(seen: ConfigSeen): void {
      automatic.onConfigChanged(seen);
      wakeNow();
    },
    /** Stops; the next process goes on with the handover under way. */
    async close(): Promise<void> {
      wakes.close();
      ticks.close();
      await inTurn.settled();
    },
  };
}

const stopping = (): HandoverError =>
  new HandoverError('stopping_upstream', 'nothing was changed: the sidecar stops', {
    hints: ['ask again when it runs'],
  });

function createParts(options: RunnerOptions) {
  const { disk, now, events } = options;
  const startedAt = now();
  const stored = createStoredState({ ...options, onStore: events.onStore });
  const executor = createExecutor({ stored, disk, onTrouble: events.onTrouble });
  const checks = createSlotChecks({
    ...options.checks,
    ...{ masterKeyLine: disk.masterKeyLine, now, keyOf: disk.key },
    contentIdOf: (slot) => contentIdOf(disk.seen(slot)),
  });
  const resumedAt = watchPauses(options);
  const observeSlot = (slot: SlotName): ObservedSlot => ({
    ...disk.seen(slot),
    ...lastingSince(checks.of(slot), resumedAt()),
    ...executor.seen(slot),
  });
  const observeSlots = () => ({ a: observeSlot('a'), b: observeSlot('b') });
  const requests = createHandoverRequests({ stored, disk, checks, now, observeSlots });
  const observe = (): Observation => ({
    slots: observeSlots(),
    trafficAt: executor.trafficAt(),
    someoneWaits: requests.waiting() !== undefined,
    startedAt,
    resumedAt: resumedAt(),
  });
  const automatic = createAutomaticHandovers({ ...options, onNotBegun: events.onNotBegun });
  stored.onChange((next, before) => {
    const { handover } = next;
    if (handover?.number !== before.handover?.number) executor.forget();
    if (handover !== undefined && handover.step !== before.handover?.step) {
      events.onStep(viewOf(handover, observeSlots()));
    }
    const ended = next.ended.at(-1);
    if (ended !== undefined && ended.number !== before.ended.at(-1)?.number) {
      automatic.onEnd(ended);
      events.onEnd(viewOfEnded(ended));
    } else if (handover === undefined && before.verifiedAt !== next.verifiedAt) {
      events.onVerified(next.active);
    }
  });
  return { stored, executor, checks, requests, automatic, observe };
}

export type Runner = ReturnType<typeof createRunner>;

/** Says when this process looked again after a pause. */
function watchPauses({ now, missedMs = () => 0 }: RunnerOptions): () => number | undefined {
  let resumedAt: number | undefined;
  let known = missedMs();
  return () => {
    const missed = missedMs();
    if (missed > known) [resumedAt, known] = [now(), missed];
    return resumedAt;
  };
}

/** More actions than any handover has in a row. */
const MOST_ACTIONS = 50;

function createTicks(
  parts: ReturnType<typeof createParts>,
  { disk, now, limits }: RunnerOptions,
  pace: Pace,
) {
  const { stored, executor, checks, requests, automatic, observe } = parts;
  let closed = false;

  /** Carries out what is planned until the plan is to wait; resolves to whether all succeeded. */
  const settle = async (): Promise<boolean> => {
    for (let count = 0; count < MOST_ACTIONS && !closed; count++) {
      if (!(await stored.settle())) return false;
      const action = plan(stored.state(), observe(), now(), limits);
      if (action.kind === 'wait') return true;
      if (!(await executor.perform(action))) return false;
    }
    return !closed;
  };
  /** Begins the handover that waits, else what is due by itself, once nothing is under way. */
  const beginNext = async (): Promise<void> => {
    const { active, handover } = stored.state();
    if (handover !== undefined || !isEmpty(disk.seen(otherSlot(active)))) return;
    if (await requests.beginWaiting()) return;
    await automatic.begin(stored.state(), configDigestOf(disk.seen(active)), requests.ask);
  };

  return {
    settle,
    /** Resolves to whether all that was planned succeeded. */
    async tick(onChecked: () => void): Promise<boolean> {
      const { slot, everyMs } = dueCheck(stored.state(), observe(), pace);
      if (slot !== undefined) await checks.refresh(slot, everyMs, onChecked);
      if (!(await settle())) return false;
      await beginNext();
      return true;
    },
    /** How long to sleep until the next tick. */
    sleepMs(): number {
      const state = stored.state();
      const isBusy = state.handover !== undefined || state.verifiedAt === undefined;
      if (isBusy || requests.waiting() !== undefined) return pace.tickMs;
      const wait = automatic.nextAt(state) - now();
      return Math.min(Math.max(wait, pace.tickMs), pace.sleepMs);
    },
    close() {
      closed = true;
    },
  };
}

/** Which LiteLLM decides how the handover goes on, and how often that one is checked. */
function dueCheck(
  { handover, verifiedAt, active }: UpstreamState,
  { slots }: Observation,
  { checkMs, slowCheckMs }: Pace,
) {
  if (handover === undefined) {
    return { slot: verifiedAt === undefined ? active : undefined, everyMs: slowCheckMs };
  }
  const { step, from, to } = handover;
  if (step === 'staged') return { slot: from, everyMs: checkMs };
  if (step !== 'draining') return { slot: to, everyMs: checkMs };
  // A LiteLLM that serves is not checked: each check leaves a refusal of a made-up key in its log.
  const isFine = slots[to].isUp && goodModels(slots[to]) !== undefined;
  return { slot: to, everyMs: isFine ? Infinity : slowCheckMs };
}

interface ExecutorOptions {
  readonly stored: StoredState;
  readonly disk: SlotDisk;
  readonly onTrouble: (trouble: Trouble | undefined) => void;
}

/**
 * Carries out what was planned, and remembers what only this process knows of it; `trouble` is what
 * failed last, and has not succeeded since.
 */
function createExecutor({ stored, disk, onTrouble }: ExecutorOptions) {
  let traffic: SlotTraffic | undefined;
  let trafficAt: SlotName | undefined;
  const cuts = new Map<SlotName, number>();
  const failures = new Map<SlotName, PlaceFailure>();
  let trouble: Trouble | undefined;

  const setTrouble = (next: Trouble | undefined): void => {
    if (trouble?.message !== next?.message) onTrouble(next);
    trouble = next;
  };
  /** A candidate that cannot be written is given up; every other write is tried again. */
  const write = async (slot: SlotName, writes: () => Promise<void>): Promise<boolean> => {
    try {
      await writes();
      failures.delete(slot);
      setTrouble(undefined);
      return true;
    } catch (cause) {
      const failure = placeFailure(cause);
      const { handover, active } = stored.state();
      const isCandidate = handover?.to === slot && active !== slot;
      if (isCandidate) failures.set(slot, failure);
      else setTrouble({ message: failure.message, hint: failure.hint });
      return isCandidate;
    }
  };

  return {
    /** From now on the traffic serves; it goes to `slot` already. */
    serve(given: SlotTraffic, slot: SlotName): void {
      [traffic, trafficAt] = [given, slot];
    },
    trafficAt: () => trafficAt,
    seen: (slot: SlotName) => ({
      failure: failures.get(slot),
      load: traffic?.load(slot) ?? NO_LOAD,
      isUp: traffic?.isUp(slot) ?? false,
      cut: cuts.get(slot),
    }),
    trouble: () => trouble,
    /** Another handover begins: what was cut and what failed in the one before does not count. */
    forget(): void {
      cuts.clear();
      failures.clear();
    },
    /** Resolves to whether the tick may go on at once, or after a while only. Never rejects. */
    async perform(action: Exclude<Action, { kind: 'wait' }>): Promise<boolean> {
      if (action.kind === 'store') return await stored.store(action.state);
      const { slot } = action;
      if (action.kind === 'endTraffic') {
        cuts.set(slot, (await traffic?.end(slot)) ?? 0);
      } else if (action.kind === 'switchTraffic') {
        traffic?.switchTo(slot, disk.key(slot) as Secret);
        trafficAt = slot;
      } else return await write(slot, () => change(disk, action));
      return true;
    },
  };
}

function change(
  disk: SlotDisk,
  action: Extract<Action, { kind: 'makeKey' | 'place' | 'clear' }>,
): Promise<void> {
  if (action.kind === 'makeKey') return disk.makeKey(action.slot, action.copyOf);
  if (action.kind === 'place') return disk.place(action.slot, action.config);
  return disk.clear(action.slot);
}
