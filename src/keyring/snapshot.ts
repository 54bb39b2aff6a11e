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
    const { generations, staged } = client;
    for (const [at, key] of knownOf(client).entries()) {
      valid.set((generations[at] ?? staged)?.digest ?? '', key);
    }
  }
  const ended = (digest: string): KnownKey | undefined => {
    const tombstone = tombstones.get(digest);
    return tombstone && keyOfTombstone(tombstone);
  };
  return { byDigest: { get: (digest) => valid.get(digest) ?? ended(digest) } };
}

/** A client is immutable, so that of a thousand those that did not change cost nothing. */
const KNOWN = new WeakMap<Client, readonly KnownKey[]>();

/** The keys of a client: of its generations in their order, and of the staged one behind them. */
function knownOf(client: Client): readonly KnownKey[] {
  const before = KNOWN.get(client);
  if (before !== undefined) return before;
  // A list that grew has room for more: its copy has none.
  const known = [...validOf(client)].slice();
  KNOWN.set(client, known);
  return known;
}

/** There are few sets of scopes, and thousands of clients. */
const SCOPE_SETS = new Map<string, ReadonlySet<Scope>>();

function scopeSetOf(scopes: readonly Scope[]): ReadonlySet<Scope> {
  const name = scopes.join();
  const known = SCOPE_SETS.get(name) ?? new Set(scopes);
  SCOPE_SETS.set(name, known);
  return known;
}

function* validOf(client: Client): Generator<KnownKey> {
  const { name, disabled, disabledByHand, generations, staged } = client;
  const waiting = oldestWaiting(client);
  for (const generation of generations) {
    const { number, state } = generation;
    const end = endOf(generation) ?? Infinity;
    const startsClock = !disabled && number > waiting;
    yield keyOf(client, idOf(name, number), state, disabled, { end, startsClock });
  }
  if (staged === undefined) return;
  // A client without an active key is let in with its next one; one that was shut is not.
  const until = { end: Infinity, startsClock: false };
  yield keyOf(client, idOf(name, staged.number), 'active', disabledByHand, until);
}

/** Each field in any case, in this order: keys of one shape are found faster, and are smaller. */
function keyOf(
  client: Client,
  id: string,
  state: GenerationState,
  isShut: boolean,
  { end, startsClock }: { readonly end: number; readonly startsClock: boolean },
): KnownKey {
  const { name, expiresAt = Infinity, models } = client;
  return {
    id,
    client: name,
    state,
    scopes: scopeSetOf(client.scopes),
    allowFrom: client.allowFrom,
    endUser: name === MASTER || client.namesEndUsers ? undefined : name,
    limits: client.limits,
    models: models.length > 0 ? models : undefined,
    fault: isShut ? 'revoked_key' : undefined,
    ofClient: isShut ? 'disabled' : expiresAt < end ? 'expires' : undefined,
    validUntil: Math.min(end, expiresAt),
    startsClock,
  };
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
