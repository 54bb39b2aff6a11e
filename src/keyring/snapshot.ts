import { digestOf } from './digest.ts';
import { isWellFormedKey } from './key-format.ts';

/** What a client may be given; `full` includes the others. */
export type Scope = 'inference' | 'passthrough' | 'full';

export type GenerationState = 'active' | 'retiring' | 'retired' | 'revoked';

/** One value in a client's row of keys, as the traffic path sees it: everything but the value. */
export interface Generation {
  /** `<client>-<n>`, e.g. `master-3`. */
  readonly id: string;
  readonly client: string;
  readonly state: GenerationState;
  readonly scopes: ReadonlySet<Scope>;
}

/** The keyring as it is at one instant: immutable, replaced as a whole, read without a lock. */
export interface KeyringSnapshot {
  readonly byDigest: ReadonlyMap<string, Generation>;
}

/** Why a presented key opens nothing. */
export type KeyFault = 'malformed_key' | 'unknown_key' | 'expired_key' | 'revoked_key';

const FAULT_OF_STATE = {
  active: undefined,
  retiring: undefined,
  retired: 'expired_key',
  revoked: 'revoked_key',
} as const satisfies Record<GenerationState, KeyFault | undefined>;

export interface KeyLookup {
  /** Whose key it is, or was. */
  readonly generation: Generation | undefined;
  /** Undefined: the key is valid. */
  readonly fault: KeyFault | undefined;
}

/** The keyring that one key makes: the client `master` with all scopes. */
export function singleKeySnapshot(digest: string): KeyringSnapshot {
  const generation: Generation = {
    id: 'master-1',
    client: 'master',
    state: 'active',
    scopes: new Set(['full']),
  };
  return { byDigest: new Map([[digest, generation]]) };
}

/**
 * Looks a presented key up: one digest, one look-up. The checksum only sorts a miss into mistyped
 * and unknown, so that a declared key needs none.
 */
export function findKey(snapshot: KeyringSnapshot, presented: string): KeyLookup {
  const generation = snapshot.byDigest.get(digestOf(presented));
  if (generation !== undefined) return { generation, fault: FAULT_OF_STATE[generation.state] };
  return {
    generation: undefined,
    fault: isWellFormedKey(presented) ? 'unknown_key' : 'malformed_key',
  };
}
