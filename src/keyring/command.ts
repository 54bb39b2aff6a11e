import { nearest } from '../text/nearest.ts';
import type { ClientLimits, LimitChanges } from './client-limits.ts';
import {
  type Client,
  type DeclaredSource,
  type FileClient,
  findGeneration,
  type Generation,
  type Idempotency,
  idOf,
  type KeyOrigin,
  type Keyring,
  readId,
  type Scope,
  type Staged,
  type Tombstone,
} from './keyring.ts';

/** What changes in what a client may do; what is not there stays. */
export interface ClientChanges {
  readonly allowFrom?: readonly string[] | undefined;
  readonly namesEndUsers?: boolean | undefined;
  readonly models?: readonly string[] | undefined;
  /** There and undefined: it does not expire any more. */
  readonly expiresAt?: number | undefined;
  /** There and undefined: none any more. */
  readonly limits?: LimitChanges | undefined;
}

/** What may be done to a keyring. Before each command the generations that are due are retired. */
export type Command =
  /** Does nothing but retire the generations that are past their end. */
  | { readonly kind: 'pass' }
  /** Makes a client without a key; its first key is staged next. */
  | {
      readonly kind: 'addClient';
      readonly client: string;
      readonly scopes: readonly Scope[];
      readonly allowFrom: readonly string[];
      readonly expiresAt: number | undefined;
      readonly namesEndUsers: boolean;
      readonly limits: ClientLimits | undefined;
      readonly models: readonly string[];
    }
  /** What the clients file says now: all of it, but for `rest`. */
  | {
      readonly kind: 'fileClients';
      readonly clients: readonly FileClient[];
      /** Names of clients of the file that stay as they are. */
      readonly rest?: ReadonlySet<string>;
    }
  | { readonly kind: 'setClient'; readonly client: string; readonly changes: ClientChanges }
  /** Begins a rotation: the digest of the next generation, and what becomes of those before it. */
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
  /** The staged key stands in the state folder, so its generation becomes active. */
  | { readonly kind: 'commit'; readonly client: string; readonly published: boolean }
  /** Nobody can have read the staged key, so its generation is dropped. */
  | { readonly kind: 'unstage'; readonly client: string }
  /** Every publish target of a client has the key of its active generation. */
  | { readonly kind: 'published'; readonly client: string; readonly number: number }
  /** LiteLLM answered a request with this generation, which starts the clocks of older ones. */
  | { readonly kind: 'firstUse'; readonly client: string; readonly number: number }
  | { readonly kind: 'revoke'; readonly generation: string; readonly compromised: boolean }
  /** `from`: the id of the active key that it is for; undefined: for whichever it is. */
  | { readonly kind: 'rollback'; readonly client: string; readonly from?: string | undefined }
  | { readonly kind: 'disable' | 'enable' | 'remove'; readonly client: string }
  /** A declared key is the active one already, and is only remembered. */
  | { readonly kind: 'remember'; readonly source: DeclaredSource; readonly digest: string };

/** What a command did, for the audit, the log and the metrics, and for whoever cuts requests. */
export type KeyringEvent = { readonly client: string } & (
  | { readonly kind: 'clientAdded' | 'clientDisabled' | 'clientEnabled' | 'clientRemoved' }
  /** The clients file rules a client that was made by command. */
  | { readonly kind: 'fileRules' }
  /** The clients file has a new key for a client. */
  | { readonly kind: 'keyAdded'; readonly generation: string }
  /** What was changed, in words, by its name: `{ rpm: '60 → 120', models: 'all → gpt-4o*' }`. */
  | { readonly kind: 'clientChanged'; readonly changes: Readonly<Record<string, string>> }
  | {
      readonly kind: 'rotated';
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
      readonly generation: string;
      readonly by: string;
      readonly deadline: number;
    }
  | { readonly kind: 'published' | 'retired'; readonly generation: string }
  /** `compromised`: its requests in flight are cut. */
  | { readonly kind: 'revoked'; readonly generation: string; readonly compromised: boolean }
  | { readonly kind: 'rolledBack'; readonly from: string; readonly to: string }
);

/** Why a command is refused; the keyring stays as it is. */
export const KEYRING_ERRORS = [
  'unknown_client',
  'unknown_generation',
  'client_exists',
  'client_in_file',
  'bad_client_name',
  'bad_scopes',
  'bad_expiry',
  'bad_limits',
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
  'not_the_active_key',
  'no_rollback_after_compromise',
] as const;
export type KeyringErrorCode = (typeof KEYRING_ERRORS)[number];

export interface KeyringFault {
  readonly code: KeyringErrorCode;
  /** In words for the operator: lower case, no full stop, no key and no digest. */
  readonly message: string;
  /** What the operator can do; each a line. */
  readonly hints: readonly string[];
}

export interface Done {
  readonly ok: true;
  /** The same object as before where nothing changed. */
  readonly keyring: Keyring;
  readonly events: readonly KeyringEvent[];
}

export interface Refused {
  readonly ok: false;
  readonly fault: KeyringFault;
}

export type Transition = Done | Refused;

/** How many ids a hint names at most. */
const MOST_NAMED = 4;

export const unchanged = (keyring: Keyring): Done => ({ ok: true, keyring, events: [] });

/** The keyring with this client in the place of the one with the same name, and what ended. */
export function changed(
  keyring: Keyring,
  client: Client,
  events: readonly KeyringEvent[] = [],
  ended: readonly Tombstone[] = [],
): Done {
  const clients = new Map(keyring.clients).set(client.name, client);
  if (ended.length === 0) return { ok: true, keyring: { ...keyring, clients }, events };
  const tombstones = new Map(keyring.tombstones);
  for (const each of ended) tombstones.set(each.digest, each);
  return { ok: true, keyring: { ...keyring, clients, tombstones }, events };
}

export const refuse = (
  code: KeyringErrorCode,
  message: string,
  ...hints: readonly string[]
): Refused => ({ ok: false, fault: { code, message, hints } });

/** Calls `next` with a client that is there, and that commands may change; refuses otherwise. */
export function withClient(
  keyring: Keyring,
  name: string,
  next: (client: Client) => Transition,
): Transition {
  const client = keyring.clients.get(name);
  if (client === undefined || client.removed) return unknownClient(keyring, name);
  return client.inFile ? inFile(client) : next(client);
}

/** No command changes what the clients file rules. */
export const inFile = ({ name }: Client): Refused =>
  refuse(
    'client_in_file',
    `the clients file alone rules ${name}`,
    'change it there: in the file that SIDECAR_CLIENTS names',
  );

/** The message does not repeat the name that was asked for: it may be a key in the wrong place. */
export function unknownClient(keyring: Keyring, name: string): Refused {
  const near = nearest(name, namesOf(keyring));
  const hint = near === undefined ? '`sidecar clients list` shows them' : `did you mean ${near}?`;
  return refuse('unknown_client', 'there is no client of that name', hint);
}

export function unknownGeneration(keyring: Keyring, id: string): Refused {
  const parsed = readId(id) ?? { client: id, number: 0 };
  const near = keyring.clients.has(parsed.client)
    ? parsed.client
    : nearest(parsed.client, namesOf(keyring));
  const client = keyring.clients.get(near ?? '');
  const hint = client && nearGenerations(keyring, client, parsed.number);
  return refuse(
    'unknown_generation',
    'there is no generation of that name',
    hint ?? 'it is a client and a number, such as master-1; `sidecar status` shows them',
  );
}

export const underWay = ({ name }: Client): Refused =>
  refuse(
    'rotation_under_way',
    `a rotation of ${name} is under way`,
    'try again once it has ended; one that was cut off ends when the sidecar starts',
  );

const namesOf = ({ clients }: Keyring): string[] =>
  [...clients.values()].filter(({ removed }) => !removed).map(({ name }) => name);

function nearGenerations(keyring: Keyring, client: Client, number: number): string | undefined {
  const { name, generations } = client;
  if (findGeneration(keyring, name, number) !== undefined) {
    return `did you mean ${idOf(name, number)}?`;
  }
  const ids = generations.slice(-MOST_NAMED).map((each) => idOf(name, each.number));
  return ids.length === 0 ? undefined : `keys of ${name} that are valid: ${ids.join(', ')}`;
}

/** The generation that a staged one becomes. */
export const generationOf = (staged: Staged, publishedAt: number | undefined): Generation => ({
  number: staged.number,
  digest: staged.digest,
  state: 'active',
  origin: staged.origin,
  createdAt: staged.stagedAt,
  publishedAt,
  afterCompromise: staged.compromised,
  retirement: undefined,
});

/** What stays of a generation that is accepted no more. */
export const tombstoneOf = (
  client: string,
  { number, digest, origin, createdAt, publishedAt, retirement }: Generation,
  state: Tombstone['state'],
  endedAt: number,
): Tombstone => ({
  client,
  number,
  digest,
  state,
  origin,
  createdAt,
  publishedAt,
  endedAt,
  clockStarted: retirement?.deadline !== undefined,
});
