import { MASTER } from '../client-name.ts';
import type { ClientLimits } from './client-limits.ts';
import { digestOf, isWellFormedKey } from './key.ts';
import {
  activeOf,
  type Client,
  endOf,
  type GenerationState,
  idOf,
  type Keyring,
  type Scope,
  type Tombstone,
} from './keyring.ts';

/** A key as the traffic path sees it: everything but its value. */
export interface KnownKey {
  /** `<client>-<n>`, e.g. `master-3`. */
  readonly id: string;
  readonly client: string;
  readonly state: GenerationState;
  readonly scopes: ReadonlySet<Scope>;
  /** CIDR blocks; empty: anywhere. The array is the same object until the blocks change. */
  readonly allowFrom: readonly string[];
  /** What LiteLLM is told as the end user's name; undefined: what the client says. */
  readonly endUser: string | undefined;
  /** Undefined: none. The same object until they change. */
  readonly limits: ClientLimits | undefined;
  /** Undefined: all. The same array until they change. */
  readonly models: readonly string[] | undefined;
  /** Why the key is refused at any time; undefined: it is valid until `validUntil`. */
  readonly fault: 'expired_key' | 'revoked_key' | undefined;
  /** Set where not the key is refused, or will be at `validUntil`, but its client. */
  readonly ofClient?: 'disabled' | 'expires' | undefined;
  /** Milliseconds since the epoch, exclusive; Infinity: no end is set. */
  readonly validUntil: number;
  /** Whether the first use of this key starts the clock of an older key's grace. */
  readonly startsClock: boolean;
}

/** The keyring as it is at one instant: immutable, replaced as a whole, read without a lock. */
export interface KeyringSnapshot {
  /** The keys by their digests. */
  readonly byDigest: { get(digest: string): KnownKey | undefined };
}

/** Why a presented key is refused. */
export type KeyFault = 'malformed_key' | 'unknown_key' | 'expired_key' | 'revoked_key';

interface KeyLookup {
  /** The key as the keyring knows it, valid or not; undefined: the keyring does not know it. */
  readonly generation: KnownKey | undefined;
  /** Undefined: the key is valid. */
  readonly fault: KeyFault | undefined;
}

/**
 * Looks a presented key up: one digest, one look-up. The checksum only tells whether a key that is
 * not found was mistyped or is unknown, so that a declared key needs none.
 *
 * @param now milliseconds since the epoch; asked only where the key has an end
 */
export function findKey(
  snapshot: KeyringSnapshot,
  presented: string,
  now: () => number,
): KeyLookup {
  const generation = snapshot.byDigest.get(digestOf(presented));
  if (generation !== undefined) {
    const isOver = generation.validUntil !== Infinity && now() >= generation.validUntil;
    return { generation, fault: generation.fault ?? (isOver ? 'expired_key' : undefined) };
  }
  return {
    generation: undefined,
    fault: isWellFormedKey(presented) ? 'unknown_key' : 'malformed_key',
  };
}

const NO_SCOPES: ReadonlySet<Scope> = new Set();

/**
 * The keyring for the traffic path to read. It admits a staged key, too, which may be read from a
 * publish target an instant before the rotation is done. Tombstones are many, so the snapshot has
 * the keyring's own map of them, and makes a key of one when it is presented.
 */
export function snapshotOf({ clients, tombstones }: Keyring): KeyringSnapshot {
  const valid = new Map<string, KnownKey>();
  for (const client of clients.values()) {
    for (const [digest, key] of knownOf(client)) valid.set(digest, key);
  }
  const ended = (digest: string): KnownKey | undefined => {
    const tombstone = tombstones.get(digest);
    return tombstone && keyOfTombstone(tombstone);
  };
  return { byDigest: { get: (digest) => valid.get(digest) ?? ended(digest) } };
}

/** A client is immutable, so that of a thousand those that did not change cost nothing. */
const KNOWN = new WeakMap<Client, readonly (readonly [digest: string, key: KnownKey])[]>();

function knownOf(client: Client): readonly (readonly [digest: string, key: KnownKey])[] {
  const before = KNOWN.get(client);
  if (before !== undefined) return before;
  const known = [...validOf(client)];
  KNOWN.set(client, known);
  return known;
}

function* validOf(client: Client): Generator<readonly [digest: string, key: KnownKey]> {
  const { name, disabled, allowFrom, limits, generations, staged } = client;
  const scopes = new Set(client.scopes);
  const expiresAt = client.expiresAt ?? Infinity;
  const waiting = oldestWaiting(client);
  const endUser = name === MASTER || client.namesEndUsers ? undefined : name;
  const models = client.models.length > 0 ? client.models : undefined;
  const common = { client: name, scopes, allowFrom, endUser, limits, models };
  for (const generation of generations) {
    const { number, digest, state } = generation;
    const end = endOf(generation) ?? Infinity;
    const fault = disabled ? ('revoked_key' as const) : undefined;
    const known = {
      id: idOf(name, number),
      state,
      fault,
      startsClock: !disabled && number > waiting,
    };
    const validUntil = Math.min(end, expiresAt);
    yield [digest, { ...common, ...known, validUntil, ...reasonOf(client, expiresAt < end) }];
  }
  if (staged === undefined) return;
  // A client without an active key is let in with its next one; one that was shut is not.
  const fault = client.disabledByHand ? ('revoked_key' as const) : undefined;
  const ends = reasonOf({ ...client, disabled: client.disabledByHand }, expiresAt < Infinity);
  const rest = { fault, validUntil: expiresAt, startsClock: false, ...ends };
  yield [staged.digest, { ...common, id: idOf(name, staged.number), state: 'active', ...rest }];
}

/** Set in any case: keys of one shape are found faster. */
function reasonOf({ disabled }: Client, endsFirst: boolean): Pick<KnownKey, 'ofClient'> {
  return { ofClient: disabled ? 'disabled' : endsFirst ? 'expires' : undefined };
}

/** A retired key is told as expired even where its client is disabled: that says more. */
const keyOfTombstone = ({ client, number, state, endedAt }: Tombstone): KnownKey => ({
  ...{ id: idOf(client, number), client, state, scopes: NO_SCOPES, allowFrom: [] },
  ...{ endUser: client, limits: undefined, models: undefined },
  fault: state === 'retired' ? 'expired_key' : 'revoked_key',
  ...{ validUntil: endedAt, startsClock: false },
});

/** The number of the oldest generation that waits for a newer key's first use; Infinity: none. */
function oldestWaiting(client: Client): number {
  if (activeOf(client)?.publishedAt === undefined) return Infinity;
  const waiting = client.generations.find(
    ({ retirement }) => retirement !== undefined && retirement.deadline === undefined,
  );
  return waiting?.number ?? Infinity;
}
