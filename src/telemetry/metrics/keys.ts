import type { Registry } from 'prom-client';
import type { GenerationState } from '../../keyring/keyring.ts';
import type { KnownKey } from '../../keyring/snapshot.ts';
import { registerFamily, type Sample } from './family.ts';
import type { LabelSet } from './label-set.ts';

// Records, so that a state that is added to the union does not compile until it stands here.
const PLACE_OF: Record<GenerationState, number> = {
  active: 0,
  retiring: 1,
  retired: 2,
  revoked: 3,
};
const STATES = Object.keys(PLACE_OF) as GenerationState[];
/** From here on they are tombstones. */
const FIRST_TOMBSTONE = PLACE_OF.retired;

/**
 * Counts requests by the state of their key. Once a client is met all of its states stand at 0, so
 * that the first use of a revoked key is an increase that `rate()` sees.
 *
 * @param clients at most 63 values
 */
export const createKeyRequests = (
  registry: Registry,
  clients: LabelSet,
): { count(key: KnownKey): void } => {
  const rows: (readonly Sample[] | undefined)[] = [];
  const all = (): Sample[] => rows.flatMap((row) => row ?? []);
  const begin = (client: number): readonly Sample[] => {
    const name = clients.valueAt(client);
    const row = STATES.map((state) => ({ value: 0, sharedLabels: { client: name, state } }));
    rows[client] = row;
    return row;
  };
  registerFamily(
    registry,
    {
      name: 'key_requests_total',
      help: 'Requests with a key that is known, by the state of the key.',
      type: 'counter',
    },
    all,
  );
  registerFamily(
    registry,
    {
      name: 'tombstone_uses_total',
      help: 'Requests with a key that was retired or revoked.',
      type: 'counter',
    },
    () => rows.flatMap((row) => row?.slice(FIRST_TOMBSTONE) ?? []),
  );
  return {
    count: ({ client, state }) => {
      const index = clients.indexOf(client);
      const sample = (rows[index] ?? begin(index))[PLACE_OF[state]];
      if (sample) sample.value += 1;
    },
  };
};
