import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import { digestOf, generateKey } from '../keyring/key.ts';
import { activeOf, type KeyOrigin, MASTER } from '../keyring/keyring.ts';
import { Secret } from '../secret.ts';
import { AdminError } from './admin.ts';
import type { DeclaredKeys, DeclaredOutcome } from './declared.ts';
import type { Keeper } from './keeper.ts';
import type { KeyFiles, Rotator } from './rotate.ts';

export interface FirstKeyOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly keyFiles: KeyFiles;
  readonly declared: DeclaredKeys;
  readonly places: DeclaredPlaces;
  readonly graceMs: number;
}

/** Where the key that clients present came from, at this start. */
export type FirstKey = 'declared' | 'made' | 'found';

export interface FirstKeyFound {
  readonly from: FirstKey;
  /** What is declared, and what became of it. */
  readonly reading: DeclaredReading;
  readonly outcome: DeclaredOutcome;
}

/**
 * Sees to it that `master` has a key when requests come: the declared one, the one that a sidecar
 * before the keyring left in its state folder, or a new one.
 *
 * @throws AdminError where a first key cannot be made
 */
export async function firstKey(options: FirstKeyOptions): Promise<FirstKeyFound> {
  const { keeper, rotator, keyFiles, declared, places } = options;
  const reading = await places.read();
  const outcome = await declared.settle(reading);
  const master = keeper.keyring().clients.get(MASTER);
  if (master === undefined) {
    const found = await keyFiles.read(MASTER);
    if (found === undefined && (await keyFiles.isThere(MASTER))) throw emptyFile();
    await makeMaster(options, found ?? new Secret(generateKey()), 'made');
    return { from: found === undefined ? 'made' : 'found', outcome, reading };
  }
  const active = activeOf(master);
  if ('fault' in reading || reading.value === undefined) return { from: 'found', outcome, reading };
  const { key } = reading.value;
  if (digestOf(key.reveal()) !== active?.digest) return { from: 'found', outcome, reading };
  const kept = await keyFiles.read(MASTER);
  // An older sidecar kept no copy of a declared key; after a rollback there is none either.
  if (kept?.reveal() !== key.reveal()) await rotator.publishActive(MASTER, key);
  return { from: 'declared', outcome, reading };
}

/** A new key in its place would lock out who holds the one that stood there. */
const emptyFile = (): AdminError =>
  new AdminError('publish_failed', `the key file of ${MASTER} is empty`, {
    hints: [`put the key back into keys/${MASTER} of the state folder, or delete that file`],
  });

async function makeMaster(
  { rotator, graceMs }: FirstKeyOptions,
  key: Secret,
  origin: KeyOrigin,
): Promise<void> {
  const newClient = { scopes: ['full'], allowFrom: [], expiresAt: undefined } as const;
  await rotator.rotate(
    {
      client: MASTER,
      key,
      origin,
      source: undefined,
      graceMs,
      compromised: false,
      idempotency: undefined,
      newClient,
    },
    'sidecar',
  );
}
