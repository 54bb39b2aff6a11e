import { isClientName } from '../client-name.ts';

/** The scopes that a client may be given; `full` includes the others. */
export const SCOPES = ['inference', 'passthrough', 'full'] as const;
export type Scope = (typeof SCOPES)[number];

/** `active` → `retiring` → `retired`, or at any point `revoked`. The last two are tombstones. */
export type GenerationState = 'active' | 'retiring' | 'retired' | 'revoked';

/** How many generations of one client may be active or retiring at the same time. */
export const MOST_VALID = 8;

/** The places where a declared key may stand; the first place that has one counts. */
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
  /** When every publish target had the key; until then no older key's clock starts. */
  readonly publishedAt: number | undefined;
  /** Whether it replaced keys that were revoked as compromised: no rollback goes behind it. */
  readonly afterCompromise: boolean;
  /** Set when it begins to retire, and kept afterwards: how long it stays valid. */
  readonly retirement: Retirement | undefined;
  /** When it was retired or revoked. */
  readonly endedAt: number | undefined;
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
  /** Whether all of its keys are refused as revoked, as they are without an active generation. */
  readonly disabled: boolean;
  /** Whether it is listed nowhere any more; its generations stay as tombstones. */
  readonly removed: boolean;
  /** By number, tombstones included. */
  readonly generations: readonly Generation[];
  readonly staged: Staged | undefined;
  /** The call that made the newest generation, where that call may be repeated. */
  readonly idempotency: (Idempotency & { readonly number: number }) | undefined;
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
  /** For each place, the digest of the last declared key that was acted on. */
  readonly declared: Readonly<Partial<Record<DeclaredSource, string>>>;
  readonly audit: AuditHead;
  /** The latest instant that any change saw; a later command counts as not before it. */
  readonly changedAt: number;
}

export const EMPTY_KEYRING: Keyring = {
  clients: new Map(),
  declared: {},
  audit: { count: 0, head: '', pending: [] },
  changedAt: 0,
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

/** Whether the state of a generation lets it be accepted; its end (`endOf`) may be over. */
export const isValid = ({ state }: Pick<Generation, 'state'>): boolean =>
  state === 'active' || state === 'retiring';

/** Until when a generation is valid; undefined: no end is set. */
export const endOf = ({ state, retirement, endedAt }: Generation): number | undefined => {
  if (state === 'active') return undefined;
  if (state === 'retiring') return retirement?.deadline ?? retirement?.latestEnd;
  return endedAt;
};

const tombstones = createTombstones();
/** The valid generations of the rows that were asked for. */
const found = new WeakMap<readonly Generation[], readonly Generation[]>();

/**
 * The generations of a row that are active or retiring, by number. Every change asks for them many
 * times, and they are eight at most among a thousand, so each row is searched only once.
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
  // The generations that change are among the newest, so the search begins at the end.
  for (const [before, after] of pairs) next[row.lastIndexOf(before)] = after;
  return next;
}

/**
 * Remembers the tombstones that rows of generations begin with. A client that rotates often has a
 * thousand of them, and no change may cost a look at each.
 */
export interface Tombstones {
  /**
   * How many generations at the beginning of a row are tombstones that were noted, with none
   * missing or replaced.
   *
   * @param at rows that were noted with a later instant do not count
   */
  countIn(row: readonly Generation[], at?: number): number;
  /** Notes that all of the row was looked at, at that instant. */
  note(row: readonly Generation[], at?: number): void;
}

interface Beginning {
  readonly row: readonly Generation[];
  readonly length: number;
  readonly at: number;
}

export function createTombstones(): Tombstones {
  /** The beginning of each row, by the last generation in it. */
  const beginnings = new WeakMap<Generation, Beginning>();
  const known = (row: readonly Generation[]): Beginning | undefined => {
    // The tombstones end shortly before the end of the row, so the search begins there.
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
      // Only the newest beginning of a client is kept, so that old rows can be forgotten.
      const lastBefore = before?.row[before.length - 1];
      if (lastBefore !== undefined) beginnings.delete(lastBefore);
      beginnings.set(last, { row, length, at });
    },
  };
}

/** Compares the objects and not their fields: generations are immutable. */
function beginsWith(row: readonly Generation[], { row: other, length }: Beginning): boolean {
  for (let at = 0; at < length; at++) if (row[at] !== other[at]) return false;
  return true;
}
