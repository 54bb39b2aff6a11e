import type { LimitChanges, Limited, LimitMode, LimitUse } from '../keyring/client-limits.ts';
import type { ClientChanges, KeyringErrorCode, KeyringFault } from '../keyring/command.ts';
import type { GenerationState, KeyOrigin, Scope } from '../keyring/keyring.ts';

/**
 * What the admin API answers, as JSON. Instants are ISO 8601 in UTC, spans milliseconds, `null` is
 * "none". Nothing here is a key or a digest, but for `key` of a rotation's own answer.
 */
export interface GenerationView {
  readonly id: string;
  readonly client: string;
  readonly state: GenerationState;
  readonly origin: KeyOrigin;
  readonly createdAt: string;
  /** When every publish target had the key; null: one target still lacks it. */
  readonly publishedAt: string | null;
  /** Of a retiring generation: how long it stays good after a newer one was first used. */
  readonly graceMs: number | null;
  /** Retiring: until when the key is good at the latest. Retired or revoked: when it ended. */
  readonly validUntil: string | null;
  /** Retiring: whether a newer key was used, so that `validUntil` does not move any more. */
  readonly clockStarted: boolean;
  /** As far as its most recent callers tell, at most 100. */
  readonly firstUsedAt: string | null;
  readonly lastUsedAt: string | null;
  /** Requests with this key, refused ones included. */
  readonly uses: number;
  /** Callers that presented this key in the last hour. */
  readonly recentCallers: number;
  /** Requests and WebSockets with this key that are under way. */
  readonly inFlight: number;
}

/** What a client may use; null: as much as it likes. */
export type LimitsView = { readonly [Each in Limited]: number | null } & {
  readonly mode: LimitMode;
};

export interface ClientView {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** CIDR blocks; empty: anywhere. */
  readonly allowFrom: readonly string[];
  /** It names its end users to LiteLLM; of other clients LiteLLM is told their own name. */
  readonly namesEndUsers: boolean;
  readonly limits: LimitsView | null;
  /** What it uses of its limits; null: it has none. */
  readonly use: LimitUse | null;
  /** Names of models, with `*` for any characters; empty: all. */
  readonly models: readonly string[];
  /** Those of `models` that match nothing of what LiteLLM listed when it was last asked. */
  readonly unlistedModels: readonly string[];
  /** The clients file rules it, and no command changes it. */
  readonly inFile: boolean;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  /** `expired`: past `expiresAt`. */
  readonly state: 'enabled' | 'disabled' | 'expired';
  /** Newest first: those that are valid, and the three that ended last. */
  readonly generations: readonly GenerationView[];
  /** How many of the client's generations are retired or revoked. */
  readonly tombstones: number;
  /** Where the client's newest key is published, beside the state folder's own file. */
  readonly publish: readonly TargetView[];
  /** When the schedule rotates the client next. */
  readonly nextRotationAt: string | null;
}

/** A client as the clients file would have it. */
export interface ExportedClient
  extends Pick<
    ClientView,
    'name' | 'scopes' | 'allowFrom' | 'expiresAt' | 'namesEndUsers' | 'limits' | 'models' | 'inFile'
  > {
  /** Those that are valid. A digest opens nothing, and is shown here alone. */
  readonly keys: readonly {
    readonly id: string;
    /** `sha256:` and hex. */
    readonly digest: string;
    /** Of a retiring one: until when it is good at the latest. */
    readonly validUntil: string | null;
  }[];
}

/** All clients but `master`, which stands in no file. */
export interface ClientsFileView {
  readonly clients: readonly ExportedClient[];
  /** Clients that a file would let in again, or that have no key. */
  readonly leftOut: readonly string[];
}

export interface TargetView {
  /** `file:/run/keys/master`, `dotenv:/srv/app/.env#OPENAI_API_KEY`. */
  readonly target: string;
  readonly state: 'published' | 'pending';
  /** Of a pending target: why the last try failed, and when the next try is. */
  readonly error: string | null;
  readonly nextTryAt: string | null;
}

export interface WarningView {
  /** A word for programs, such as `short_declared_key`. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface StatusView {
  readonly now: string;
  readonly version: string;
  readonly startedAt: string;
  readonly clients: readonly ClientView[];
  /** `kept`: whether anything outlives the process. */
  readonly store: {
    readonly kept: boolean;
    readonly up: boolean;
    readonly error: string | null;
  };
  /** Null where there is no schedule. */
  readonly rotateEveryMs: number | null;
  readonly warnings: readonly WarningView[];
  /** What an operator should do next, each a line. */
  readonly next: readonly string[];
}

export interface CallerView {
  readonly address: string;
  readonly userAgent: string;
  readonly firstSeenAt: string;
  readonly lastSeenAt: string;
  readonly count: number;
}

export interface WhoView {
  readonly generation: GenerationView;
  /** Whose key it is, which may be shut out whatever its keys are; null: it was removed. */
  readonly client: Pick<ClientView, 'state' | 'expiresAt'> | null;
  /** The most recent first, at most 100. */
  readonly callers: readonly CallerView[];
}

/** What a rotation or a new client answers. */
export interface RotateView {
  readonly client: string;
  readonly generation: GenerationView;
  /** The generations before it that are still good, or were until now; newest first. */
  readonly previous: readonly GenerationView[];
  readonly publish: readonly TargetView[];
  /** The new key; null in a repeated answer, 10 minutes later or once a newer key has come. */
  readonly key: string | null;
  /** The same `Idempotency-Key` was answered before: nothing was made now. */
  readonly replayed: boolean;
  /** `disabled`: it was before, and stays so, whatever keys it has. */
  readonly clientState: ClientView['state'];
  /** Streams and WebSockets that were cut. */
  readonly cut: number;
}

/** What `revoke`, `rollback`, and the verbs for clients answer; `setClient` notes what it did. */
export interface ChangeView {
  readonly client: ClientView;
  readonly cut: number;
  readonly notes: readonly string[];
}

/** Who asks: `cli:alice`, `api:10.0.0.7`; the audit names whoever made a change by this word. */
export type Actor = string;

/** Where a rotation came from. */
export const TRIGGERS = ['cli', 'api', 'schedule', 'declared', 'start'] as const;
export type Trigger = (typeof TRIGGERS)[number];
export const ROTATION_OUTCOMES = ['done', 'failed', 'refused'] as const;
export type RotationOutcome = (typeof ROTATION_OUTCOMES)[number];

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
  readonly namesEndUsers: boolean;
  readonly limits: LimitChanges;
  readonly models: readonly string[];
  readonly idempotencyKey: string | undefined;
}

/** What is not there stays as it is. */
export interface SetClientRequest extends Omit<ClientChanges, 'expiresAt'> {
  readonly name: string;
  /** Milliseconds from now; undefined: it does not expire any more. */
  readonly expiresInMs?: number | undefined;
}

interface RevokeRequest {
  readonly generation: string;
  readonly force: boolean;
  readonly compromised: boolean;
}

/** What an operator may ask of keys. A verb that rejects, with `AdminError`, changed nothing. */
export interface KeyAdmin {
  status(): StatusView;
  clients(): readonly ClientView[];
  client(name: string): ClientView;
  /** What a clients file with the same clients says. */
  clientsFile(): ClientsFileView;
  who(generation: string): WhoView;
  /** Ended keys that were presented since, with those callers alone; the latest first. */
  comebacks(): readonly WhoView[];
  rotate(request: RotateRequest, by: Actor): Promise<RotateView>;
  /** `from`: refused where another key than this one is active; undefined: whichever it is. */
  rollback(client: string, from: string | undefined, by: Actor): Promise<ChangeView>;
  revoke(request: RevokeRequest, by: Actor): Promise<ChangeView>;
  addClient(request: AddClientRequest, by: Actor): Promise<RotateView>;
  setClient(request: SetClientRequest, by: Actor): Promise<ChangeView>;
  disable(client: string, by: Actor): Promise<ChangeView>;
  enable(client: string, by: Actor): Promise<ChangeView>;
  /** Ends all keys of the client and takes it off every list; `force` as in `revoke`. */
  remove(client: string, force: boolean, by: Actor): Promise<ChangeView>;
}

export type AdminErrorCode =
  | KeyringErrorCode
  /** The key was used in the last hour: `AdminError.who` lists the callers that would break. */
  | 'in_use'
  | 'publish_failed'
  | 'store_unavailable'
  | 'idempotency_mismatch'
  /** Nothing is kept, so that nothing is changed by command. */
  | 'no_state';

/** Why a verb did nothing. Holds no key. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  readonly code: AdminErrorCode;
  readonly hints: readonly string[];
  /** Of `in_use`: who presented the key in the last hour. */
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

/** Why the keyring refused a command, as the error of a verb. */
export const adminErrorOf = ({ code, message, hints }: KeyringFault): AdminError =>
  new AdminError(code, message, { hints });
