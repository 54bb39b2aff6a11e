import type { KeyringErrorCode } from '../keyring/command.ts';
import type { Scope } from '../keyring/keyring.ts';
import type { ChangeView, ClientView, RotateView, StatusView, WhoView } from './views.ts';

/** Who asks: `cli:alice`, `api:10.0.0.7`; it stands in the audit. */
export type Actor = string;

export interface RotateRequest {
  readonly client: string;
  /** Milliseconds; undefined: `SIDECAR_GRACE`. 0 retires the old key at once. */
  readonly graceMs: number | undefined;
  readonly compromised: boolean;
  /** Goes on though a key that ends at once was used in the last hour. */
  readonly force: boolean;
  readonly idempotencyKey: string | undefined;
}

export interface AddClientRequest {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Milliseconds from now. */
  readonly expiresInMs: number | undefined;
  readonly allowFrom: readonly string[];
  readonly idempotencyKey: string | undefined;
}

export interface RevokeRequest {
  readonly generation: string;
  readonly force: boolean;
  readonly compromised: boolean;
}

/** What an operator may ask of keys. A verb that rejects, with `AdminError`, changed nothing. */
export interface KeyAdmin {
  status(): StatusView;
  clients(): readonly ClientView[];
  client(name: string): ClientView;
  who(generation: string): WhoView;
  rotate(request: RotateRequest, by: Actor): Promise<RotateView>;
  rollback(client: string, by: Actor): Promise<ChangeView>;
  revoke(request: RevokeRequest, by: Actor): Promise<ChangeView>;
  addClient(request: AddClientRequest, by: Actor): Promise<RotateView>;
  disable(client: string, by: Actor): Promise<ChangeView>;
  enable(client: string, by: Actor): Promise<ChangeView>;
  /** Ends all of its keys and takes it off every list; `force` as in `revoke`. */
  remove(client: string, force: boolean, by: Actor): Promise<ChangeView>;
}

export type AdminErrorCode =
  | KeyringErrorCode
  /** It was used in the last hour: `callers` says who would break. */
  | 'in_use'
  | 'publish_failed'
  | 'store_unavailable'
  | 'idempotency_mismatch'
  | 'bad_request'
  | 'stopping';

/** Why a verb did nothing. Holds no key. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  readonly code: AdminErrorCode;
  readonly hints: readonly string[];
  /** Of `in_use`. */
  readonly who: WhoView | undefined;

  constructor(
    code: AdminErrorCode,
    message: string,
    options: { hints?: readonly string[]; who?: WhoView; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hints = options.hints ?? [];
    this.who = options.who;
  }
}
