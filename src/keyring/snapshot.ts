import { digestOf, isWellFormedKey } from './key.ts';
import {
  activeOf,
  type Client,
  createTombstones,
  endOf,
  type Generation,
  type GenerationState,
  idOf,
  isValid,
  type Keyring,
  type Scope,
  type Tombstones,
  validIn,
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
  /** Why the key is refused at any time; undefined: it is valid until `validUntil`. */
  readonly fault: 'expired_key' | 'revoked_key' | undefined;
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

type Entry = readonly [digest: string, key: KnownKey];

/** Clients with the same scopes share one set: a thousand sets would miss the processor's cache. */
const scopeSets = new Map<string, ReadonlySet<Scope>>();
/** For the same reason all clients that may come from anywhere share one array. */
const ANYWHERE: readonly string[] = [];

function scopeSet(scopes: readonly Scope[]): ReadonlySet<Scope> {
  const name = scopes.join(' ');
  const known = scopeSets.get(name) ?? new Set(scopes);
  scopeSets.set(name, known);
  return known;
}

/**
 * Makes a snapshot of each new keyring, for the traffic path to read. It admits a staged key, too,
 * which may be read from a publish target an instant before the rotation is done.
 *
 * Tombstones are many and final, so all snapshots share them. Valid keys are taken anew for each
 * snapshot, but of a client that did not change they are taken from the snapshot before.
 */
export function createSnapshots(): (keyring: Keyring) => KeyringSnapshot {
  const keys = new Map<string, KnownKey>();
  const ended: Ended = { keys, rows: createTombstones() };
  const entries = new WeakMap<Client, readonly Entry[]>();
  return ({ clients }) => {
    const valid = new Map<string, KnownKey>();
    for (const client of clients.values()) {
      const known = entries.get(client) ?? validOf(client, ended);
      entries.set(client, known);
      for (const [digest, key] of known) valid.set(digest, key);
    }
    return { byDigest: { get: (digest) => valid.get(digest) ?? keys.get(digest) } };
  };
}

interface Ended {
  readonly keys: Map<string, KnownKey>;
  /** The beginnings of rows whose tombstones are among the keys already. */
  readonly rows: Tombstones;
}

/** The valid keys of a client; its new tombstones are added to those that have ended. */
function validOf(client: Client, ended: Ended): Entry[] {
  const { name, generations, staged } = client;
  const scopes = scopeSet(client.scopes);
  const allowFrom = client.allowFrom.length === 0 ? ANYWHERE : client.allowFrom;
  const expiresAt = client.expiresAt ?? Infinity;
  const waiting = oldestWaiting(client);
  const known: Entry[] = [];
  for (const generation of generations.slice(ended.rows.countIn(generations))) {
    const { number, digest, state } = generation;
    const isEnded = !isValid(generation);
    if (isEnded && ended.keys.has(digest)) continue;
    const fault = faultOf(client, generation);
    const validUntil = Math.min(endOf(generation) ?? Infinity, expiresAt);
    const startsClock = fault === undefined && number > waiting;
    const id = idOf(name, number);
    const key = { id, client: name, state, scopes, allowFrom, fault, validUntil, startsClock };
    if (isEnded) ended.keys.set(digest, key);
    else known.push([digest, key]);
  }
  ended.rows.note(generations);
  if (staged === undefined) return known;
  const { number, digest } = staged;
  const key: KnownKey = {
    ...{ id: idOf(name, number), client: name, state: 'active', scopes, allowFrom },
    ...{ fault: undefined, validUntil: expiresAt, startsClock: false },
  };
  return [...known, [digest, key]];
}

/** A retired key is told as expired even where its client is disabled: that says more. */
function faultOf({ disabled }: Client, { state }: Generation): KnownKey['fault'] {
  if (state === 'retired') return 'expired_key';
  return disabled || state === 'revoked' ? 'revoked_key' : undefined;
}

/** The number of the oldest generation that waits for a newer key's first use; Infinity: none. */
function oldestWaiting(client: Client): number {
  if (activeOf(client)?.publishedAt === undefined) return Infinity;
  const waiting = validIn(client.generations).find(
    ({ state, retirement }) => state === 'retiring' && retirement?.deadline === undefined,
  );
  return waiting?.number ?? Infinity;
}
