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
  /** CIDR blocks; empty: anywhere. The same array as long as they do not change. */
  readonly allowFrom: readonly string[];
  /** Why it opens nothing, whatever the time is; undefined: it is valid until `validUntil`. */
  readonly fault: 'expired_key' | 'revoked_key' | undefined;
  /** Milliseconds since the epoch, exclusive; Infinity: no end is set. */
  readonly validUntil: number;
  /** An older key waits for its first use: the clock of that one's grace starts then. */
  readonly startsClock: boolean;
}

/** The keyring as it is at one instant: immutable, replaced as a whole, read without a lock. */
export interface KeyringSnapshot {
  /** By the key's digest. */
  readonly byDigest: { get(digest: string): KnownKey | undefined };
}

/** Why a presented key opens nothing. */
export type KeyFault = 'malformed_key' | 'unknown_key' | 'expired_key' | 'revoked_key';

export interface KeyLookup {
  /** Whose key it is, or was. */
  readonly generation: KnownKey | undefined;
  /** Undefined: the key is valid. */
  readonly fault: KeyFault | undefined;
}

/**
 * Looks a presented key up: one digest, one look-up. The checksum only sorts a miss into mistyped
 * and unknown, so that a declared key needs none.
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
    const ended = generation.validUntil !== Infinity && now() >= generation.validUntil;
    return { generation, fault: generation.fault ?? (ended ? 'expired_key' : undefined) };
  }
  return {
    generation: undefined,
    fault: isWellFormedKey(presented) ? 'unknown_key' : 'malformed_key',
  };
}

type Entry = readonly [digest: string, key: KnownKey];

/** One set for all clients with the same scopes: a thousand would miss the processor's cache. */
const scopeSets = new Map<string, ReadonlySet<Scope>>();
/** For the same reason one for all that may come from anywhere. */
const ANYWHERE: readonly string[] = [];

function scopeSet(scopes: readonly Scope[]): ReadonlySet<Scope> {
  const name = scopes.join(' ');
  const known = scopeSets.get(name) ?? new Set(scopes);
  scopeSets.set(name, known);
  return known;
}

/**
 * Takes what the traffic path reads of one keyring after the other. A staged generation is in it as
 * a valid one: its key may be read from a publish target an instant before the rotation is done.
 *
 * Tombstones are many and final, so all snapshots share them; what is valid is made anew, and of a
 * client that did not change it is not looked at again.
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

/** The snapshot of one keyring. */
export const takeSnapshot = (keyring: Keyring): KeyringSnapshot => createSnapshots()(keyring);

interface Ended {
  readonly keys: Map<string, KnownKey>;
  /** Those that are among the keys already. */
  readonly rows: Tombstones;
}

/** What of a client is no tombstone; tombstones that are new are put with the others. */
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

/** Its own end says more than that its client is disabled. */
function faultOf({ disabled }: Client, { state }: Generation): KnownKey['fault'] {
  if (state === 'retired') return 'expired_key';
  return disabled || state === 'revoked' ? 'revoked_key' : undefined;
}

/** The lowest number whose clock the use of a higher one starts; Infinity: there is none. */
function oldestWaiting(client: Client): number {
  if (activeOf(client)?.publishedAt === undefined) return Infinity;
  const waiting = validIn(client.generations).find(
    ({ state, retirement }) => state === 'retiring' && retirement?.deadline === undefined,
  );
  return waiting?.number ?? Infinity;
}
