import type { DeclaredSource, Idempotency, KeyOrigin, Scope } from './keyring.ts';

/** What may be done to a keyring. Each first lets pass what is due by then. */
export type Command =
  /** Nothing but that time has passed: what is past its end is retired. */
  | { readonly kind: 'pass' }
  /** Makes a client without a key; its first one is staged next. */
  | {
      readonly kind: 'addClient';
      readonly client: string;
      readonly scopes: readonly Scope[];
      readonly allowFrom: readonly string[];
      readonly expiresAt: number | undefined;
    }
  /** A rotation begins: the digest of the next generation, and what becomes of those before it. */
  | {
      readonly kind: 'stage';
      readonly client: string;
      readonly digest: string;
      readonly origin: KeyOrigin;
      readonly source: DeclaredSource | undefined;
      /** 0 to `maxGraceMs`. */
      readonly graceMs: number;
      readonly maxGraceMs: number;
      readonly compromised: boolean;
      readonly idempotency: Idempotency | undefined;
    }
  /** The staged generation stands in the state folder: it becomes active. */
  | { readonly kind: 'commit'; readonly client: string; readonly published: boolean }
  /** The staged generation was seen by nobody: it never was. */
  | { readonly kind: 'unstage'; readonly client: string }
  /** Every publish target of a client has its active generation. */
  | { readonly kind: 'published'; readonly client: string; readonly number: number }
  /** LiteLLM answered a request with this generation: the clocks of those before it start. */
  | { readonly kind: 'firstUse'; readonly client: string; readonly number: number }
  | { readonly kind: 'revoke'; readonly generation: string; readonly compromised: boolean }
  | { readonly kind: 'rollback'; readonly client: string }
  | { readonly kind: 'disable' | 'enable' | 'remove'; readonly client: string }
  /** A declared value was looked at and changes nothing. */
  | { readonly kind: 'remember'; readonly source: DeclaredSource; readonly digest: string };

/** What a command did, for the audit, the log, the metrics, and what must be cut. */
export type KeyringEvent =
  | { readonly kind: 'clientAdded'; readonly client: string }
  | {
      readonly kind: 'rotated';
      readonly client: string;
      /** The generation that was active before; undefined: the first one. */
      readonly from: string | undefined;
      readonly to: string;
      readonly origin: KeyOrigin;
      readonly graceMs: number;
      readonly compromised: boolean;
    }
  /** The first use of `by` started the clock of `generation`. */
  | {
      readonly kind: 'clockStarted';
      readonly client: string;
      readonly generation: string;
      readonly by: string;
      readonly deadline: number;
    }
  | { readonly kind: 'published'; readonly client: string; readonly generation: string }
  | { readonly kind: 'retired'; readonly client: string; readonly generation: string }
  | {
      readonly kind: 'revoked';
      readonly client: string;
      readonly generation: string;
      /** What it has in flight is cut. */
      readonly compromised: boolean;
    }
  | {
      readonly kind: 'rolledBack';
      readonly client: string;
      readonly from: string;
      readonly to: string;
    }
  | {
      readonly kind: 'clientDisabled' | 'clientEnabled' | 'clientRemoved';
      readonly client: string;
    };

/** Why a command was not carried out; the keyring is as it was. */
export const KEYRING_ERRORS = [
  'unknown_client',
  'unknown_generation',
  'client_exists',
  'bad_client_name',
  'bad_scopes',
  'bad_expiry',
  'bad_grace',
  'client_disabled',
  'client_enabled',
  'master_stays',
  'no_active_key',
  'too_many_generations',
  'rotation_under_way',
  'nothing_staged',
  'key_is_active',
  'key_is_retiring',
  'key_is_tombstone',
  'key_of_another_client',
  'already_ended',
  'nothing_to_roll_back',
  'no_rollback_after_compromise',
] as const;
export type KeyringErrorCode = (typeof KEYRING_ERRORS)[number];

export interface KeyringFault {
  readonly code: KeyringErrorCode;
  /** For the operator; lower case, no full stop, no key and no digest. */
  readonly message: string;
  /** What to do; each a line. */
  readonly hints: readonly string[];
}
