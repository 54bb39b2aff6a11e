import { digestOf } from './digest.ts';
import { isWellFormedKey } from './key-format.ts';
import type { GenerationState, Scope } from './keyring.ts';

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
