import { isClientName, MASTER } from '../client-name.ts';
import {
  type Client,
  createTombstones,
  type Generation,
  idOf,
  isValid,
  type Keyring,
  MOST_VALID,
  SCOPES,
} from './keyring.ts';

type Clients = ReadonlyMap<string, Client>;

interface Known {
  clients: Clients;
  /** All digests of these clients. */
  readonly digests: Set<string>;
}

/** The digests of the keyring that was checked last, from which the next one differs little. */
let known: Known | undefined;

/** Whether no digest stands twice, in all rows and rotations under way. */
export function areDigestsUnique(clients: Clients): boolean {
  if (known !== undefined && follow(known, clients)) return true;
  // `follow` may have stopped halfway, so that the digests it leaves are those of no keyring.
  known = lookAtAll(clients);
  return known !== undefined;
}

function lookAtAll(clients: Clients): Known | undefined {
  // The set alone shows whether a digest stands twice; `firstTwice` names the two generations.
  const digests = new Set<string>();
  let count = 0;
  for (const { generations, staged } of clients.values()) {
    for (const { digest } of generations) digests.add(digest);
    if (staged !== undefined) digests.add(staged.digest);
    count += generations.length + (staged === undefined ? 0 : 1);
  }
  return digests.size === count ? { clients, digests } : undefined;
}

/** Adds the digests that are new in `clients`; false: one of them is there already, or may be. */
function follow(last: Known, clients: Clients): boolean {
  const ends = [...clients].flatMap(([name, client]) => {
    const before = last.clients.get(name);
    return before === client ? [] : [endsOf(before, client)];
  });
  // The digests of a client that is gone stay; a key with one of them makes `lookAtAll` look again.
  for (const { old } of ends) for (const digest of old) last.digests.delete(digest);
  for (const { fresh } of ends) {
    for (const digest of fresh) {
      if (last.digests.has(digest)) return false;
      last.digests.add(digest);
    }
  }
  last.clients = clients;
  return true;
}

/** The digests of two rows from where they begin to differ. */
function endsOf(before: Client | undefined, client: Client) {
  const old = before?.generations ?? [];
  const fresh = client.generations;
  let at = 0;
  while (at < old.length && at < fresh.length && isSame(old[at], fresh[at])) at += 1;
  return {
    old: digestsFrom(old, at, before?.staged),
    fresh: digestsFrom(fresh, at, client.staged),
  };
}

type Digested = { readonly digest: string } | undefined;

/** Compares the objects first: nearly all are the same, and their fields are not in the cache. */
const isSame = (one: Digested, other: Digested): boolean =>
  one === other || one?.digest === other?.digest;

function digestsFrom(row: readonly Digested[], at: number, staged: Digested): string[] {
  return [...row.slice(at), staged].flatMap((each) => each?.digest ?? []);
}

/** A rule: the words that tell of its breach, and the check whether it holds. */
type Rule<T extends unknown[]> = readonly [broken: string, holds: (...args: T) => boolean];

/** SHA-256 in base64url. Nothing else may stand where a digest belongs, above all no key. */
export const DIGEST = /^[\w-]{43}$/;

const isInstant = (at: number | undefined, from: number, to: number): boolean =>
  at === undefined || (Number.isSafeInteger(at) && at >= from && at <= to);

/** These rules look at the generation alone, so a tombstone that kept them once always does. */
const GENERATION_RULES: readonly Rule<[Generation]>[] = [
  ['has no digest', ({ digest }) => DIGEST.test(digest)],
  [
    'has a date that is not valid, or lies before it was made',
    ({ createdAt, publishedAt, retirement, endedAt }) =>
      isInstant(createdAt, 0, Infinity) &&
      [publishedAt, retirement?.rotatedAt, endedAt].every((at) =>
        isInstant(at, createdAt, Infinity),
      ),
  ],
  [
    'is active and has an end',
    ({ state, retirement, endedAt }) =>
      state !== 'active' || (retirement === undefined && endedAt === undefined),
  ],
  [
    'retires without an end',
    ({ state, retirement, endedAt }) =>
      state !== 'retiring' || (retirement !== undefined && endedAt === undefined),
  ],
  [
    'is retired and never was retiring',
    ({ state, retirement }) => state !== 'retired' || retirement !== undefined,
  ],
  [
    'has ended, and the date of its end is missing',
    (each) => isValid(each) || each.endedAt !== undefined,
  ],
  ['has a grace that is out of range', ({ retirement }) => isRetirement(retirement)],
];

const isRetirement = (retirement: Generation['retirement']): boolean => {
  if (retirement === undefined) return true;
  const { rotatedAt, graceMs, latestEnd, deadline } = retirement;
  return (
    isInstant(latestEnd, rotatedAt, Infinity) &&
    isInstant(graceMs, 0, latestEnd - rotatedAt) &&
    isInstant(deadline, rotatedAt, latestEnd)
  );
};

/** `recent` is the client without the tombstones that were found sound before, but for the last. */
const CLIENT_RULES: readonly Rule<[recent: Client, Keyring, whole: Client]>[] = [
  [
    'has no scopes, an unknown one, or one twice',
    ({ scopes }) =>
      scopes.length > 0 &&
      new Set(scopes).size === scopes.length &&
      scopes.every((scope) => SCOPES.includes(scope)),
  ],
  [
    'has a date that is not valid',
    ({ createdAt, staged }) =>
      isInstant(createdAt, 0, Infinity) && isInstant(staged?.stagedAt, createdAt, Infinity),
  ],
  [
    'has a date after the last change of the keyring',
    (client, { changedAt }) => latestOf(client) <= changedAt,
  ],
  [
    'expires before it was made',
    ({ createdAt, expiresAt }) => expiresAt === undefined || expiresAt > createdAt,
  ],
  [
    'has numbers that are not in order',
    ({ generations, staged }) =>
      isAscending(generations) &&
      (staged === undefined || staged.number === (generations.at(-1)?.number ?? 0) + 1),
  ],
  [
    'has more than one active key',
    ({ generations }) => generations.filter(({ state }) => state === 'active').length <= 1,
  ],
  [
    'is enabled without an active key',
    ({ disabled, generations }) => disabled || generations.some(({ state }) => state === 'active'),
  ],
  [
    'has a retiring key that is newer than the active one',
    ({ generations }) => {
      const active = generations.findIndex(({ state }) => state === 'active');
      return active < 0 || generations.findLastIndex(isValid) === active;
    },
  ],
  [
    `has more than ${MOST_VALID} valid keys`,
    ({ generations }) => generations.filter(isValid).length <= MOST_VALID,
  ],
  [
    'has a valid key from before a compromise',
    ({ generations }) => {
      const last = generations.findLastIndex(({ afterCompromise }) => afterCompromise);
      return last < 0 || !generations.slice(0, last).some(isValid);
    },
  ],
  [
    'has a rotation under way that cannot end',
    ({ staged }) =>
      staged === undefined ||
      (DIGEST.test(staged.digest) &&
        isInstant(staged.maxGraceMs, 0, Infinity) &&
        isInstant(staged.graceMs, 0, staged.maxGraceMs)),
  ],
  [
    'is removed and has keys',
    ({ removed, generations, staged }) =>
      !removed || (staged === undefined && !generations.some(isValid)),
  ],
  [
    'remembers a call that made no key',
    ({ idempotency }, _keyring, { generations }) =>
      idempotency === undefined || generations.some(({ number }) => number === idempotency.number),
  ],
  [
    'must exist, with the scope full and without an end',
    ({ name, removed, scopes, expiresAt }) =>
      name !== MASTER || (!removed && scopes.includes('full') && expiresAt === undefined),
  ],
];

function latestOf({ createdAt, staged, generations }: Client): number {
  let latest = Math.max(createdAt, staged?.stagedAt ?? 0);
  for (const each of generations) {
    const changed = each.endedAt ?? each.retirement?.rotatedAt ?? 0;
    latest = Math.max(latest, each.createdAt, each.publishedAt ?? 0, changed);
  }
  return latest;
}

function isAscending(generations: readonly Generation[]): boolean {
  let last = 0;
  for (const { number } of generations) {
    if (!Number.isSafeInteger(number) || number <= last) return false;
    last = number;
  }
  return true;
}

/** The tombstones that were found sound. */
const sound = createTombstones();
/** The clients that were found sound, with the `changedAt` of their keyring. */
const soundAt = new WeakMap<Client, number>();

/**
 * The first thing that is wrong with a keyring, in words for an operator and without a digest;
 * undefined: nothing. Checked before each save and after each load.
 */
export function checkInvariants(keyring: Keyring): string | undefined {
  const { clients, audit, changedAt } = keyring;
  if (!isInstant(changedAt, 0, Infinity)) return 'the date of the last change is not valid';
  const { count, head, pending } = audit;
  if (!Number.isSafeInteger(count) || count < pending.length || (count === 0) !== (head === '')) {
    return 'the count of audit lines does not fit what is known of the last ones';
  }
  for (const [name, client] of clients) {
    const broken = clientBroken(name, client, keyring);
    if (broken !== undefined) return broken;
  }
  return areDigestsUnique(clients) ? undefined : firstTwice(keyring);
}

function clientBroken(name: string, client: Client, keyring: Keyring): string | undefined {
  // The message does not repeat the name: what stands there may be anything, a key too.
  if (!isClientName(name)) return 'a client has a name that is not allowed';
  if (client.name !== name) return `client ${name} stands under another name`;
  // A client that is the same object and was sound at an earlier `changedAt` is sound at this one.
  if ((soundAt.get(client) ?? Infinity) <= keyring.changedAt) return undefined;
  const { generations } = client;
  const known = sound.countIn(generations, keyring.changedAt);
  const recent = { ...client, generations: generations.slice(Math.max(0, known - 1)) };
  const broken = brokenOf(CLIENT_RULES, recent, keyring, client);
  if (broken !== undefined) return `client ${name} ${broken}`;
  for (const generation of recent.generations) {
    const wrong = brokenOf(GENERATION_RULES, generation);
    if (wrong !== undefined) return `${idOf(name, generation.number)} ${wrong}`;
  }
  sound.note(generations, keyring.changedAt);
  soundAt.set(client, keyring.changedAt);
  return undefined;
}

const brokenOf = <T extends unknown[]>(rules: readonly Rule<T>[], ...args: T): string | undefined =>
  rules.find(([, holds]) => !holds(...args))?.[0];

function firstTwice({ clients }: Keyring): string | undefined {
  const seen = new Map<string, string>();
  for (const { name, generations, staged } of clients.values()) {
    for (const { number, digest } of staged ? [...generations, staged] : generations) {
      const id = idOf(name, number);
      const other = seen.get(digest);
      if (other !== undefined) return `${other} and ${id} are the same key`;
      seen.set(digest, id);
    }
  }
  return undefined;
}
