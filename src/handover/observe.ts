import type { Acts } from './acts.ts';
import type { Looks } from './looks.ts';
import type { Observation, SlotSeen } from './observation.ts';
import type { SlotDisk } from './slot-disk.ts';
import type { SlotLetter } from './views.ts';

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
