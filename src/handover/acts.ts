import type { Secret } from '../secret.ts';
import type { Trouble } from './events.ts';
import type { Ledger } from './ledger.ts';
import type { PlaceFailure } from './observation.ts';
import type { Action } from './plan.ts';
import type { SlotLoad, SlotTraffic } from './ports.ts';
import { placeFailure, type SlotDisk } from './slot-disk.ts';
import type { SlotLetter } from './views.ts';

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
