/** It stands in file names, labels and logs; `sk-` is what a key begins with, pasted by mistake. */
const NAME = /^(?!sk-)[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/;
const ID = /^(.+)-([1-9]\d{0,14})$/;

/** Whether a client may have this name: 1 to 39 lower-case letters, digits and inner hyphens. */
export const isClientName = (name: string): boolean => NAME.test(name);

/** The two parts of a generation's id, such as `master-3`; undefined: it is none. */
export function readId(id: string): { client: string; number: number } | undefined {
  const [, client = '', number] = ID.exec(id) ?? [];
  return isClientName(client) ? { client, number: Number(number) } : undefined;
}

/** What a client may be given; `full` includes the others. */
export const SCOPES = ['inference', 'passthrough', 'full'] as const;
export type Scope = (typeof SCOPES)[number];

/** `active` → `retiring` → `retired`, or at any point `revoked`. The last two are tombstones. */
export type GenerationState = 'active' | 'retiring' | 'retired' | 'revoked';

/** The client that always exists, has all scopes, and cannot be removed. */
export const MASTER = 'master';
/** Generations of one client that are active or retiring at the same time. */
export const MOST_VALID = 8;

/** Where a declared key may stand, the first that has one counting. */
export const DECLARED_SOURCES = ['file', 'dotenv', 'environment'] as const;
export type DeclaredSource = (typeof DECLARED_SOURCES)[number];

/** Where a key comes from: the sidecar made it, or the operator declared it. */
export type KeyOrigin = 'made' | 'declared';

/**
 * One value in a client's row of keys. All instants are milliseconds since the epoch, all spans
 * milliseconds. A digest is SHA-256 in base64url; the key itself is nowhere in here.
 */
export interface Generation {
  /** From 1, never used twice for one client name: its id is `<client>-<number>`. */
  readonly number: number;
  readonly digest: string;
  readonly state: GenerationState;
  readonly origin: KeyOrigin;
  readonly createdAt: number;
  /** When every publish target had it; undefined: one lacks it, and no older key's clock starts. */
  readonly publishedAt: number | undefined;
  /** It replaced keys that were revoked as compromised: no rollback goes behind it. */
  readonly afterCompromise: boolean;
  /** Set while `retiring`, and kept afterwards: how long it may stay valid, and until when. */
  readonly retirement: Retirement | undefined;
  /** When it was retired or revoked. */
  readonly endedAt: number | undefined;
}

export interface Retirement {
  /** When a newer generation took its place. */
  readonly rotatedAt: number;
  /** From the first use of any later generation. 0: retired as soon as that one is published. */
  readonly graceMs: number;
  /** `rotatedAt` and the longest grace: the end where no later generation is ever used. */
  readonly latestEnd: number;
  /** Set once, by the first use of a later generation: at most `latestEnd`. */
  readonly deadline: number | undefined;
}

/** A rotation under way: stored before its key is published, so that a crash can be undone. */
export interface Staged {
  readonly number: number;
  readonly digest: string;
  readonly origin: KeyOrigin;
  readonly stagedAt: number;
  readonly graceMs: number;
  readonly maxGraceMs: number;
  /** The generations before it are revoked when it becomes active. */
  readonly compromised: boolean;
  /** Where it was declared; that place's digest is remembered when it becomes active. */
  readonly source: DeclaredSource | undefined;
  /** Of the caller who may ask again. */
  readonly idempotency: Idempotency | undefined;
}

/** So that a call that is tried again makes one key. */
export interface Idempotency {
  /** SHA-256 of the caller's `Idempotency-Key`. */
  readonly digest: string;
  /** Of what was asked: the same key with another request is a mistake. */
  readonly fingerprint: string;
}

/** A named holder of keys. */
export interface Client {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** CIDR blocks its requests may come from; empty: anywhere. */
  readonly allowFrom: readonly string[];
  readonly createdAt: number;
  /** From then on all of its keys are refused as expired. */
  readonly expiresAt: number | undefined;
  /** All of its keys are refused as revoked. Without an active generation it is disabled. */
  readonly disabled: boolean;
  /** It is listed nowhere any more; its generations stay as tombstones. */
  readonly removed: boolean;
  /** By number, tombstones included. */
  readonly generations: readonly Generation[];
  readonly staged: Staged | undefined;
  /** Of the rotation that made the newest generation. */
  readonly idempotency: (Idempotency & { readonly number: number }) | undefined;
}

/** The audit file's length and the digest of its last line, and lines it may not have yet. */
export interface AuditHead {
  readonly count: number;
  /** '' where there is no line. */
  readonly head: string;
  /** The last of `count`, as text without a line feed: appended again where the file lacks them. */
  readonly pending: readonly string[];
}

/** Everything that is known of keys, but for the keys. Immutable. */
export interface Keyring {
  readonly clients: ReadonlyMap<string, Client>;
  /** Digest of the last value of each place that was acted on. */
  readonly declared: Readonly<Partial<Record<DeclaredSource, string>>>;
  readonly audit: AuditHead;
  /** The latest instant that any change saw: time does not go back behind it. */
  readonly changedAt: number;
}

export const EMPTY_KEYRING: Keyring = {
  clients: new Map(),
  declared: {},
  audit: { count: 0, head: '', pending: [] },
  changedAt: 0,
};

export const idOf = (client: string, number: number): string => `${client}-${number}`;

/** Whether a generation opens anything, its deadline aside. */
export const isValid = ({ state }: Pick<Generation, 'state'>): boolean =>
  state === 'active' || state === 'retiring';

/** Until when a generation is valid; undefined: no end is set. */
export const endOf = ({ state, retirement, endedAt }: Generation): number | undefined => {
  if (state === 'active') return undefined;
  if (state === 'retiring') return retirement?.deadline ?? retirement?.latestEnd;
  return endedAt;
};

/**
 * Remembers the tombstones that rows of generations begin with. A client that rotates has a
 * thousand of them sooner than a second name: a change must not cost a look at each.
 */
export interface Tombstones {
  /**
   * How many at the beginning of a row were noted before, none of them missing or replaced.
   *
   * @param at what was noted with a later one is not known yet
   */
  countIn(row: readonly Generation[], at?: number): number;
  /** All of the row was looked at, at that instant. */
  note(row: readonly Generation[], at?: number): void;
}

interface Beginning {
  readonly row: readonly Generation[];
  readonly length: number;
  readonly at: number;
}

export function createTombstones(): Tombstones {
  /** By its last generation. */
  const beginnings = new WeakMap<Generation, Beginning>();
  const known = (row: readonly Generation[]): Beginning | undefined => {
    // It ends where the valid ones begin, or a little before: among the newest.
    const last = row.findLast((each) => beginnings.has(each));
    const beginning = last && beginnings.get(last);
    return beginning && beginsWith(row, beginning) ? beginning : undefined;
  };

  return {
    countIn(row, at = 0) {
      const beginning = known(row);
      return beginning === undefined || beginning.at > at ? 0 : beginning.length;
    },
    note(row, at = 0) {
      const before = known(row);
      let length = before?.length ?? 0;
      for (let next = row[length]; next !== undefined && !isValid(next); next = row[length]) {
        length += 1;
      }
      const last = row[length - 1];
      if (last === undefined) return;
      // One row is held for each client, and not one for each of its generations.
      const lastBefore = before?.row[before.length - 1];
      if (lastBefore !== undefined) beginnings.delete(lastBefore);
      beginnings.set(last, { row, length, at });
    },
  };
}

/** Compares the objects alone: they are immutable, and what is in them is not in the cache. */
function beginsWith(row: readonly Generation[], { row: other, length }: Beginning): boolean {
  for (let at = 0; at < length; at++) if (row[at] !== other[at]) return false;
  return true;
}

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
  /** At most `MOST_CALLERS`, the most recent. */
  readonly callers: readonly CallerUse[];
}

export const MOST_CALLERS = 100;

/** By generation id. */
export type GenerationUses = ReadonlyMap<string, GenerationUse>;

const tombstones = createTombstones();
const found = new WeakMap<readonly Generation[], readonly Generation[]>();

/**
 * The generations of a row that are active or retiring, by number. Every change asks for them many
 * times, and they are eight at most among a thousand: a row is searched once.
 */
export function validIn(row: readonly Generation[]): readonly Generation[] {
  const known = found.get(row);
  if (known !== undefined) return known;
  const valid = row.slice(tombstones.countIn(row)).filter(isValid);
  tombstones.note(row);
  found.set(row, valid);
  return valid;
}

export const activeOf = ({ generations }: Client): Generation | undefined =>
  validIn(generations).find(({ state }) => state === 'active');

/** A row with some of its generations in the place of others. */
export function replacedIn(
  row: readonly Generation[],
  pairs: readonly (readonly [Generation, Generation])[],
): readonly Generation[] {
  const next = [...row];
  // What changes is among the newest.
  for (const [before, after] of pairs) next[row.lastIndexOf(before)] = after;
  return next;
}
