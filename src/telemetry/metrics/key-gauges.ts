import type { Registry } from 'prom-client';
import { endOf, type Generation, idOf, type Keyring } from '../../keyring/keyring.ts';
import { registerFamily, type Sample } from './family.ts';
import type { LabelSet } from './label-set.ts';

/** What is shown of one generation. Instants are milliseconds since the epoch. */
export interface KeyGauges {
  readonly client: string;
  /** Its id, such as `master-3`. */
  readonly generation: string;
  readonly createdAt: number;
  /** Undefined: it was never used. */
  readonly lastUsedAt: number | undefined;
  /** Of a retiring one: until when it is good at the latest. */
  readonly deadline: number | undefined;
}

/** Generations of one client that are shown. */
const SHOWN = 2;

/**
 * The newest generations of each client, newest first.
 *
 * @param lastUsedAt of a generation, by its id
 */
export function* keyGauges(
  keyring: Keyring,
  lastUsedAt: (generation: string) => number | undefined,
): Generator<KeyGauges> {
  for (const { name, removed, generations } of keyring.clients.values()) {
    if (removed) continue;
    for (const generation of generations.slice(-SHOWN).reverse()) {
      const id = idOf(name, generation.number);
      yield {
        client: name,
        generation: id,
        createdAt: generation.createdAt,
        lastUsedAt: lastUsedAt(id),
        deadline: deadlineOf(generation),
      };
    }
  }
}

/** When another one ended is in the audit: an alert on a deadline is about what still works. */
const deadlineOf = (generation: Generation): number | undefined =>
  generation.state === 'retiring' ? endOf(generation) : undefined;

/**
 * Reads at each scrape when keys were made and used, and until when they are good.
 *
 * @param clients those that are named; of the others nothing is shown
 */
export const registerKeyGauges = (
  registry: Registry,
  clients: LabelSet,
  keys: () => Iterable<KeyGauges>,
): void => {
  const named = function* (read: (key: KeyGauges) => number | undefined): Generator<Sample> {
    const shown = new Map<number, number>();
    for (const key of keys()) {
      const index = clients.indexOf(key.client);
      const before = shown.get(index) ?? 0;
      if (index === 0 || before === SHOWN) continue;
      shown.set(index, before + 1);
      const ms = read(key);
      if (ms === undefined) continue;
      const { client, generation } = key;
      yield { value: ms / 1000, sharedLabels: { client, generation } };
    }
  };
  const gauge = (name: string, help: string, read: (key: KeyGauges) => number | undefined): void =>
    registerFamily(registry, { name, help, type: 'gauge' }, () => named(read));
  gauge('key_created_timestamp_seconds', 'When a key was made.', (key) => key.createdAt);
  gauge('key_last_used_timestamp_seconds', 'When a key was last used.', (key) => key.lastUsedAt);
  gauge(
    'key_deadline_timestamp_seconds',
    'Until when a retiring key is good at the latest.',
    (key) => key.deadline,
  );
};
