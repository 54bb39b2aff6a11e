import type { KnownKey } from '../keyring/snapshot.ts';
import type { Keeper } from './keeper.ts';

/** A save that failed is tried again with the first answer after it. */
const TRY_AGAIN_MS = 1000;

/** Starts the clocks of older keys when a newer one is first used, and saves that at once. */
export function createFirstUses(keeper: Keeper, now: () => number): { note(key: KnownKey): void } {
  /** By generation id: no save is begun before it. */
  const notBefore = new Map<string, number>();
  return {
    note({ id, client }) {
      if ((notBefore.get(id) ?? 0) > now()) return;
      // Answers come by the thousand while the first of them is being saved.
      notBefore.set(id, Infinity);
      const number = Number(id.slice(client.length + 1));
      keeper.change([{ kind: 'firstUse', client, number }], 'sidecar').then(
        () => notBefore.delete(id),
        () => notBefore.set(id, now() + TRY_AGAIN_MS),
      );
    },
  };
}
