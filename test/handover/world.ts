import {
  type Check,
  isEmpty,
  isIntact,
  type Observation,
  type ObservedSlot,
  type PlaceFailure,
  type SlotOnDisk,
} from '../../src/handover/observation.ts';
import { type Action, plan } from '../../src/handover/plan.ts';
import {
  beginHandover,
  firstState,
  otherSlot,
  type UpstreamState,
} from '../../src/handover/state.ts';
import type { HandoverKind } from '../../src/handover/views.ts';
import type { SlotReport } from '../../src/litellm/report.ts';
import type { SlotName } from '../../src/litellm/slots.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import { checked, LIMITS, START } from './scene.ts';

/** What a tick meets: all of it chosen by the property. */
export interface Weather {
  readonly afterMs: number;
  readonly verdict: Verdict['kind'] | 'none';
  readonly attempt: number;
  readonly hasEnded: boolean;
  readonly isUp: boolean;
  readonly load: number;
  readonly diskFails: boolean;
  /** The store rejects; `half`: what it rejected stands on the disk all the same. */
  readonly store: 'works' | 'fails' | 'half';
  /** Ends the process in the middle of this act of the tick, or behind it. */
  readonly kill: { readonly at: number; readonly where: 'before' | 'middle' | 'after' } | undefined;
}

class Killed extends Error {}
type Plan = typeof plan;

interface Process {
  state: UpstreamState;
  readonly startedAt: number;
  trafficAt: SlotName;
  owed: boolean;
  cut: Partial<Record<SlotName, number>>;
  failure: Partial<Record<SlotName, PlaceFailure>>;
  checks: Partial<Record<SlotName, Check & { readonly id: string }>>;
}

type Act = Exclude<Action, { kind: 'wait' }>;
type Where = NonNullable<Weather['kill']>['where'];

const FULL: PlaceFailure = { code: 'disk', message: 'full', hint: 'free some space' };
const fresh = () => ({ cut: {}, failure: {} });
const EMPTY: SlotOnDisk = { folder: 'none', keyDigest: undefined };

/** A disk, a LiteLLM that does what it likes, and a process that may be killed at any point. */
export function createWorld(planner: Plan = plan) {
  let now = START;
  let names = 0;
  const name = (what: string): string => `${what}-${++names}`;
  const disk: { state: UpstreamState; slots: Record<SlotName, SlotOnDisk> } = {
    state: { ...firstState('a'), verifiedAt: START },
    slots: {
      a: { folder: { id: 'first', keyDigest: 'key-0', configDigest: 'c' }, keyDigest: 'key-0' },
      b: EMPTY,
    },
  };
  const born = (): Process => ({
    state: disk.state,
    startedAt: now,
    trafficAt: disk.state.active,
    owed: false,
    ...fresh(),
    checks: {},
  });
  let life = born();
  const broken: string[] = [];
  const ends: Record<string, true> = {};
  const hold = (rule: string, isHeld: boolean): void => {
    if (!isHeld) broken.push(rule);
  };

  const slotSeen = (slot: SlotName, weather: Weather): ObservedSlot => {
    const { folder, keyDigest } = disk.slots[slot];
    const id = typeof folder === 'object' ? folder.id : undefined;
    const check = life.checks[slot];
    const slotReport: SlotReport | undefined =
      id === undefined
        ? undefined
        : {
            ...{ slotId: id, attempt: weather.attempt, lines: [], port: undefined },
            endedWith: weather.hasEnded ? 1 : undefined,
          };
    const isLoaded = slot !== life.state.active;
    return {
      ...{ folder, keyDigest, report: slotReport, isUp: weather.isUp },
      ...{ portSince: undefined, masterKeyLine: undefined },
      check: check !== undefined && check.id === id ? check : undefined,
      load: { requests: isLoaded ? weather.load : 0, websockets: 0, mcpSessions: 0 },
      cut: life.cut[slot],
      failure: life.failure[slot],
    };
  };
  const observe = (weather: Weather): Observation => ({
    slots: { a: slotSeen('a', weather), b: slotSeen('b', weather) },
    trafficAt: life.trafficAt,
    someoneWaits: false,
    startedAt: life.startedAt,
  });
  /** Checks the LiteLLM that decides how the handover goes on; the runner checks no other. */
  const checkOne = ({ verdict: kind }: Weather): void => {
    const { handover, active } = life.state;
    const slot =
      handover === undefined ? active : handover[handover.step === 'staged' ? 'from' : 'to'];
    const { folder } = disk.slots[slot];
    if (kind === 'none' || typeof folder !== 'object') return;
    const verdict = { kind, status: 401, models: ['mock'] } as unknown as Verdict;
    const before = life.checks[slot];
    const isSame = before?.id === folder.id && before.verdict.kind === kind;
    const next = isSame ? checked(verdict, before.since, before.count + 1) : checked(verdict, now);
    life.checks[slot] = { id: folder.id, ...next };
  };

  const checkStore = (next: UpstreamState, seen: Observation): void => {
    const before = life.state;
    const last = next.ended.at(-1);
    if (before.handover !== undefined && next.handover === undefined) {
      const { from, to, kind } = before.handover;
      const isOver = last?.end === 'done' && kind !== 'dry-run';
      hold('it ends where its end says', next.active === (isOver ? to : from));
      ends[`${last?.end} ${last?.fault?.code ?? kind}`] = true;
    } else if (next.active !== before.active) {
      const { check: latest } = seen.slots[next.active];
      hold('a switch follows a good verdict on that content', latest?.verdict.kind === 'good');
    }
    hold('what serves is a whole slot', isIntact(seen.slots[next.active]));
  };
  const store = (next: UpstreamState, weather: Weather): void => {
    checkStore(next, observe(weather));
    if (weather.store !== 'fails') disk.state = next;
    life.owed = weather.store !== 'works';
    if (life.owed) return;
    if (next.handover?.number !== life.state.handover?.number) Object.assign(life, fresh());
    life.state = next;
  };
  const makeKey = (slot: SlotName, copyOf: SlotName | undefined): void => {
    const there = disk.slots[slot];
    const copied = copyOf && disk.slots[copyOf].keyDigest;
    disk.slots[slot] = { ...there, keyDigest: there.keyDigest ?? copied ?? name('key') };
  };
  const place = (slot: SlotName, whole: boolean): void => {
    const there = disk.slots[slot];
    hold('a slot that serves is not placed anew', slot !== life.state.active);
    hold('a slot is placed with a key', there.keyDigest !== undefined);
    if (isIntact(there)) return;
    const folder = { id: name('id'), keyDigest: there.keyDigest ?? '', configDigest: 'c' };
    disk.slots[slot] = { ...there, folder: whole ? folder : 'none' };
  };
  const clear = (slot: SlotName, whole: boolean): void => {
    hold('a slot that serves is not cleared', ![disk.state.active, life.trafficAt].includes(slot));
    const { handover } = life.state;
    const isLeft = handover?.step === 'draining' && handover.from === slot;
    hold('a slot goes after its drain, or when nobody needs it', handover === undefined || isLeft);
    if (isLeft) hold('what is in hand was ended', life.cut[slot] !== undefined);
    disk.slots[slot] = whole ? EMPTY : { ...disk.slots[slot], folder: 'none' };
  };
  const moveTraffic = (slot: SlotName): void => {
    hold('traffic moves after it is stored', disk.state.active === slot);
    life.trafficAt = slot;
  };
  const write = (action: Exclude<Act, { kind: 'store' }>, whole: boolean): void => {
    const { kind, slot } = action;
    if (kind === 'makeKey' && whole) makeKey(slot, action.copyOf);
    if (kind === 'place') place(slot, whole);
    if (kind === 'clear') clear(slot, whole);
  };
  /** `whole` is false where the process ends in the middle of it. */
  const act = (action: Act, weather: Weather, whole: boolean): void => {
    if (action.kind === 'store') {
      if (whole) store(action.state, weather);
    } else if (action.kind === 'switchTraffic') moveTraffic(action.slot);
    else if (action.kind === 'endTraffic') life.cut[action.slot] ??= weather.load;
    else if (weather.diskFails) life.failure[action.slot] = FULL;
    else write(action, whole);
  };
  const checkAlways = (): void => {
    const { active } = disk.state;
    hold('the active slot has its key and its folder', isIntact(disk.slots[active]));
    hold('traffic goes where a LiteLLM is', disk.slots[life.trafficAt].folder !== 'none');
  };

  /** Writes again what a save that failed may have left; whether both agree now. */
  const settleStore = (weather: Weather): boolean => {
    if (life.owed && weather.store !== 'fails') {
      disk.state = life.state;
      life.owed = weather.store !== 'works';
    }
    return !life.owed;
  };
  const actOrDie = (action: Act, weather: Weather, dies: Where | undefined): void => {
    if (dies === 'before') throw new Killed();
    act(action, weather, dies !== 'middle');
    // Twice: a process before this one may have done it.
    if (dies === undefined && action.kind !== 'store') act(action, weather, true);
    checkAlways();
    if (dies !== undefined) throw new Killed();
  };
  /** One tick of the runner: acts until there is nothing to do. */
  const settle = (weather: Weather): void => {
    const { kill } = weather;
    for (let count = 0; count < 30; count++) {
      if (!settleStore(weather)) return;
      const action = planner(life.state, observe(weather), now, LIMITS);
      if (action.kind === 'wait') return;
      actOrDie(action, weather, kill?.at === count ? kill.where : undefined);
      if (weather.diskFails && action.kind !== 'store') return;
    }
    broken.push('a tick comes to its end');
  };
  const mortally = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      life = born();
      checkAlways();
    }
  };

  return {
    broken,
    /** How handovers ended. */
    ends,
    state: (): UpstreamState => life.state,
    slots: (): Readonly<Record<SlotName, SlotOnDisk>> => disk.slots,
    tick(weather: Weather): void {
      now += weather.afterMs;
      checkOne(weather);
      mortally(() => settle(weather));
    },
    /** As `requests.ts` does it: the key, then the state that names it. */
    ask(kind: HandoverKind, weather: Weather): void {
      mortally(() => {
        settle({ ...weather, kill: undefined });
        const { state } = life;
        const idle = otherSlot(state.active);
        if (life.owed || state.handover !== undefined || !isEmpty(disk.slots[idle])) return;
        const copyOf = kind === 'rotate' ? undefined : state.active;
        act({ kind: 'makeKey', slot: idle, copyOf }, { ...weather, diskFails: false }, true);
        if (weather.kill?.where === 'before') throw new Killed();
        const asked = { number: state.counter + 1, kind, by: 'cli', startedAt: now } as const;
        delete life.checks[state.active];
        act({ kind: 'store', state: beginHandover(state, asked, now) }, weather, true);
        if (weather.kill !== undefined) throw new Killed();
      });
    },
    /** Nothing but time passes, until nothing is under way any more, or too much time is over. */
    rest(weather: Weather): void {
      const { handoverTimeoutMs, probationMs, drainMs } = LIMITS;
      // Twice for a way back from `verified`; the steps between take a tick each.
      const end = now + 2 * handoverTimeoutMs + Math.max(probationMs, drainMs) + 60_000;
      let quietTicks = 0;
      while (now < end && quietTicks < 3) {
        this.tick({ ...weather, afterMs: 5000, diskFails: false, store: 'works', kill: undefined });
        quietTicks = life.state.handover === undefined ? quietTicks + 1 : 0;
      }
    },
  };
}
