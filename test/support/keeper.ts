import { digestOf } from '../../src/keyring/key.ts';
import { EMPTY_KEYRING } from '../../src/keyring/keyring.ts';
import { createKeeper } from '../../src/rotation/keeper.ts';
import { StoreError } from '../../src/store/key-store.ts';
import { createMemoryStore } from './memory-store.ts';

export const HOUR = 3_600_000;
export const diskFull = (): StoreError =>
  new StoreError('the disk is full', { hint: 'free some space' });

/** A keeper on a store in memory, with one client and one key. */
export async function keeperWith(mayWrite = () => true) {
  const time = { now: 1_000_000 };
  const store = createMemoryStore();
  const told: string[] = [];
  const faults: (string | undefined)[] = [];
  const keeper = createKeeper({
    store,
    stored: { keyring: EMPTY_KEYRING, version: 0 },
    now: () => time.now,
    sure: () => time.now,
    onStore: (error) => faults.push(error?.message),
    mayWrite,
  });
  keeper.subscribe((events, by) => void told.push(...events.map(({ kind }) => `${by} ${kind}`)));
  await keeper.change(
    [
      {
        kind: 'addClient',
        client: 'master',
        scopes: ['full'],
        allowFrom: [],
        namesEndUsers: false,
        limits: undefined,
        models: [],
        expiresAt: undefined,
      },
      stage('first'),
      { kind: 'commit', client: 'master', published: true },
    ],
    'cli:a',
  );
  return { keeper, store, told, faults, time };
}

/** The command that stages a key of `master`, known by its digest. */
export const stage = (key: string) =>
  ({
    kind: 'stage',
    client: 'master',
    digest: digestOf(key),
    origin: 'made',
    source: undefined,
    graceMs: HOUR,
    maxGraceMs: 24 * HOUR,
    compromised: false,
    idempotency: undefined,
  }) as const;
export const commit = { kind: 'commit', client: 'master', published: true } as const;
