import { isClientName } from '../client-name.ts';
import type { ClientLimits } from './client-limits.ts';

/** The scopes that a client may be given; `full` includes the others. */
export const SCOPES = ['inference', 'passthrough', 'full'] as const;
export type Scope = (typeof SCOPES)[number];

/** `active` → `retiring` → `retired`, or at any point `revoked`. The last two are tombstones. */
export type GenerationState = Generation['state'] | Tombstone['state'];

/** How many generations of one client may be active or retiring at the same time. */
export const MOST_VALID = 8;

/** The places where a declared key may stand; the first place that has one counts. */
export const DECLARED_SOURCES = ['file', 'dotenv', 'environment'] as const;
export type DeclaredSource = (typeof DECLARED_SOURCES)[number];

/** Where a key comes from: the sidecar made it, or the operator declared it. */
export type KeyOrigin = 'made' | 'declared';

/**
 * A key of a client that is valid. All instants are milliseconds since the epoch, all spans
 * milliseconds. A digest is SHA-256 in base64url; the key itself is nowhere in here.
 */
export interface Generation {
  /** From 1, never used twice for one client name: its id is `<client>-<number>`. */
  readonly number: number;
  readonly digest: string;
  readonly state: 'active' | 'retiring';
  readonly origin: KeyOrigin;
  readonly createdAt: number;
  /** When every publish target had the key; until then no older key's clock starts. */
  readonly publishedAt: number | undefined;
  /** Whether it replaced keys that were revoked as compromised: no rollback goes behind it. */
  readonly afterCompromise: boolean;
  /** Of a retiring one: how long it stays valid. */
  readonly retirement: Retirement | undefined;
}

interface Retirement {
  /** When a newer generation took its place. */
  readonly rotatedAt: number;
  /** Counted from the first use of a later generation; 0: it ends once that one is published. */
  readonly graceMs: number;
  /** `rotatedAt` plus the longest grace: the end where no later generation is ever used. */
  readonly latestEnd: number;
  /** Set once, at the first use of a later generation; at most `latestEnd`. */
  readonly deadline: number | undefined;
}

/**
 * What is kept for good of a generation that is retired or revoked, so that its key is known when
 * it comes back. It never changes.
 */
export interface Tombstone {
  readonly client: string;
  readonly number: number;
  readonly digest: string;
  readonly state: 'retired' | 'revoked';
  readonly origin: KeyOrigin;
  readonly createdAt: number;
  readonly publishedAt: number | undefined;
  readonly endedAt: number;
  /** Whether a later generation was used while this one retired. */
  readonly clockStarted: boolean;
}

/** A rotation under way: stored before its key is published, so that a restart can finish it. */
export interface Staged {
  readonly number: number;
  readonly digest: string;
  readonly origin: KeyOrigin;
  readonly stagedAt: number;
  readonly graceMs: number;
  readonly maxGraceMs: number;
  /** Whether the generations before it are revoked when it becomes active. */
  readonly compromised: boolean;
  /** Where the key was declared; that place's digest is remembered when it becomes active. */
  readonly source: DeclaredSource | undefined;
  /** Set where the call that asked for the rotation may be repeated. */
  readonly idempotency: Idempotency | undefined;
}

/** Recognises a call that is repeated, so that it makes one key. */
export interface Idempotency {
  /** SHA-256 of the caller's `Idempotency-Key`. */
  readonly digest: string;
  /** A digest of the request: the same `Idempotency-Key` with another request is a mistake. */
  readonly fingerprint: string;
}

/** A named holder of keys. */
export interface Client {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The CIDR blocks that its requests may come from; empty: anywhere. */
  readonly allowFrom: readonly string[];
  readonly createdAt: number;
  /** From this instant on all of its keys are refused as expired. */
  readonly expiresAt: number | undefined;
  /**
   * Whether it speaks for many people, and says at LiteLLM whose each request is; of other clients
   * LiteLLM is told their own name as that of the end user.
   */
  readonly namesEndUsers: boolean;
  /** Undefined: none. */
  readonly limits: ClientLimits | undefined;
  /** The models that it may use, with `*` for any characters; empty: all. */
  readonly models: readonly string[];
  /** The clients file rules it: it may have several active keys, and no command changes it. */
  readonly inFile: boolean;
  /** Whether all of its keys are refused as revoked, as they are without an active generation. */
  readonly disabled: boolean;
  /** Whether somebody disabled it: then a new key does not enable it, and only `enable` does. */
  readonly disabledByHand: boolean;
  /** Whether it is listed nowhere any more; its tombstones stay, and its numbers go on. */
  readonly removed: boolean;
  /** The highest number that a generation of this name had so far; 0: there was none. */
  readonly lastNumber: number;
  /** Those that are valid, by number; at most `MOST_VALID`. */
  readonly generations: readonly Generation[];
  readonly staged: Staged | undefined;
  /** The call that made the newest generation, where that call may be repeated. */
  readonly idempotency: (Idempotency & { readonly number: number }) | undefined;
}

/** A client as the clients file has it: what of a client a file may say, and its keys. */
export interface FileClient
  extends Pick<
    Client,
    'name' | 'scopes' | 'allowFrom' | 'expiresAt' | 'namesEndUsers' | 'limits' | 'models'
  > {
  /** Those of its keys, one at least, each once. */
  readonly digests: readonly string[];
}

/** The number of the audit's lines, the digest of the last, and those its file may not have yet. */
export interface AuditHead {
  readonly count: number;
  /** '' where there is no line. */
  readonly head: string;
  /** The newest lines, without line feeds; whichever of them the file lacks are appended. */
  readonly pending: readonly string[];
}

/** Everything that the sidecar knows of keys, but for the keys themselves. Immutable. */
export interface Keyring {
  readonly clients: ReadonlyMap<string, Client>;
  /** By digest, in the order in which they ended. Nothing is ever taken out. */
  readonly tombstones: ReadonlyMap<string, Tombstone>;
  /** For each place, the digest of the last declared key that was acted on. */
  readonly declared: Readonly<Partial<Record<DeclaredSource, string>>>;
  readonly audit: AuditHead;
  /** The latest instant that any change saw; a later command counts as not before it. */
  readonly changedAt: number;
  /** The newest instant that had come for certain when this was saved: time begins there again. */
  readonly sureAt: number;
}

export const EMPTY_KEYRING: Keyring = {
  clients: new Map(),
  tombstones: new Map(),
  declared: {},
  audit: { count: 0, head: '', pending: [] },
  changedAt: 0,
  sureAt: 0,
};

/** Who used a generation: one address with one user agent. Instants are milliseconds. */
export interface CallerUse {
  readonly address: string;
  /** '' where the caller sent none; cut to 200 characters. */
  readonly userAgent: string;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly count: number;
}

/** The use of one generation since it was made. */
export interface GenerationUse {
  readonly lastAt: number;
  readonly count: number;
  /** The most recent callers, at most `MOST_CALLERS`. */
  readonly callers: readonly CallerUse[];
}

export const MOST_CALLERS = 100;

/** The use of each generation, by its id. */
export type GenerationUses = ReadonlyMap<string, GenerationUse>;

export const idOf = (client: string, number: number): string => `${client}-${number}`;

const ID = /^(.+)-([1-9]\d{0,14})$/;

/** The two parts of a generation's id, such as `master-3`; undefined: `id` has no such form. */
export function readId(id: string): { client: string; number: number } | undefined {
  const [, client = '', number] = ID.exec(id) ?? [];
  return isClientName(client) ? { client, number: Number(number) } : undefined;
}

/** Until when a generation is valid, or was; undefined: no end is set. */
export function endOf(generation: Generation | Tombstone): number | undefined {
  if ('endedAt' in generation) return generation.endedAt;
  const { retirement } = generation;
  return retirement?.deadline ?? retirement?.latestEnd;
}

export const activeOf = ({ generations }: Client): Generation | undefined =>
  generations.find(({ state }) => state === 'active');

/** The tombstones of each client that has any, the newest first. */
export function tombstonesByClient({ tombstones }: Keyring): ReadonlyMap<string, Tombstone[]> {
  const byClient = new Map<string, Tombstone[]>();
  for (const each of tombstones.values()) {
    const ended = byClient.get(each.client);
    if (ended === undefined) byClient.set(each.client, [each]);
    else ended.push(each);
  }
  for (const ended of byClient.values()) ended.sort((a, b) => b.number - a.number);
  return byClient;
}

/** A generation of a client, valid or not; undefined: there never was one. */
export function findGeneration(
  { clients, tombstones }: Keyring,
  name: string,
  wanted: number,
): Generation | Tombstone | undefined {
  const valid = clients.get(name)?.generations.find(({ number }) => number === wanted);
  if (valid !== undefined) return valid;
  for (const each of tombstones.values()) {
    if (each.number === wanted && each.client === name) return each;
  }
  return undefined;
}
