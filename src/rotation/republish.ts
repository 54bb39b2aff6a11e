import type { DeclaredPlaces } from '../config/load.ts';
import { digestOf } from '../keyring/key.ts';
import { activeOf, idOf, MASTER } from '../keyring/keyring.ts';
import type { Keeper } from './keeper.ts';
import type { Publisher } from './publisher.ts';
import type { KeyFiles, Rotator } from './rotate.ts';

export interface RepublishOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly keyFiles: KeyFiles;
  readonly places: DeclaredPlaces;
  readonly targets: Publisher['targets'];
}

/**
 * After a rollback the published key is a revoked one, and the sidecar keeps the plaintext of no
 * older key: where it is declared it is read from there, else the key file goes, and whoever rolled
 * back is told what still holds the revoked key.
 */
export function createRepublish(
  options: RepublishOptions,
): (client: string) => Promise<readonly string[]> {
  const { keeper, rotator, keyFiles, places, targets } = options;
  return async (client) => {
    const entry = keeper.keyring().clients.get(client);
    const active = entry && activeOf(entry);
    if (active === undefined) return [];
    const reading = client === MASTER ? await places.read() : { value: undefined };
    const key = 'value' in reading ? reading.value?.key : undefined;
    if (key !== undefined && digestOf(key.reveal()) === active.digest) {
      await rotator.publishActive(client, key).catch(() => undefined);
      return [];
    }
    await keyFiles.remove(client).catch(() => undefined);
    const id = idOf(client, active.number);
    const lost = `the sidecar does not keep the key of ${id}: only those who hold it have it`;
    const stale = targets(client).map(
      ({ target }) => `${target} holds the key that was revoked: put that of ${id} there`,
    );
    return [lost, ...stale];
  };
}
