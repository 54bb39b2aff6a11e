import { isClientName, MASTER } from '../client-name.ts';
import { type ClientLimits, LIMITED, limitsNothing } from './client-limits.ts';
import {
  activeOf,
  type Client,
  type Generation,
  idOf,
  type Keyring,
  MOST_VALID,
  SCOPES,
  type Tombstone,
} from './keyring.ts';

/** A rule: the words that tell of its breach, and the check whether it holds. */
type Rule<T extends unknown[]> = readonly [broken: string, holds: (...args: T) => boolean];

/** SHA-256 in base64url. Nothing else may stand where a digest belongs, above all no key. */
export const DIGEST = /^[\w-]{43}$/;

const isInstant = (at: number | undefined, from: number, to: number): boolean =>
  at === undefined || (Number.isSafeInteger(at) && at >= from && at <= to);

const GENERATION_RULES: readonly Rule<[Generation]>[] = [
  ['has no digest', ({ digest }) => DIGEST.test(digest)],
  [
    'has a date that is not valid, or lies before it was made',
    ({ createdAt, publishedAt, retirement }) =>
      isInstant(createdAt, 0, Infinity) &&
      isInstant(publishedAt, createdAt, Infinity) &&
      isInstant(retirement?.rotatedAt, createdAt, Infinity),
  ],
  [
    'is active and has an end',
    ({ state, retirement }) => state !== 'active' || retirement === undefined,
  ],
  [
    'retires without an end',
    ({ state, retirement }) => state !== 'retiring' || retirement !== undefined,
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

const CLIENT_RULES: readonly Rule<[Client, Keyring]>[] = [
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
    // A file may name an end that is past.
    ({ createdAt, expiresAt, inFile, removed }) =>
      expiresAt === undefined || inFile || removed || expiresAt > createdAt,
  ],
  [
    'has limits that are none, or a model without a name',
    ({ limits, models }) => (limits === undefined || isLimit(limits)) && !models.includes(''),
  ],
  [
    'has numbers that are not in order',
    ({ lastNumber, generations, staged }) =>
      isAscending([0, ...generations.map(({ number }) => number)]) &&
      Number.isSafeInteger(lastNumber) &&
      lastNumber >= (generations.at(-1)?.number ?? 0) &&
      (staged === undefined || staged.number === lastNumber + 1),
  ],
  [
    'has more than one active key',
    ({ generations, inFile }) =>
      inFile || generations.filter(({ state }) => state === 'active').length <= 1,
  ],
  [
    'is enabled without an active key',
    (client) => client.disabled || activeOf(client) !== undefined,
  ],
  [
    'is of the clients file, and is disabled, is removed, or has a key that is not active',
    ({ inFile, disabled, removed, staged, generations }) =>
      !inFile ||
      (!disabled &&
        !removed &&
        staged === undefined &&
        generations.every(({ state }) => state === 'active')),
  ],
  ['is enabled although somebody disabled it', (each) => each.disabled || !each.disabledByHand],
  [
    'has a retiring key that is newer than the active one',
    (client) => {
      const active = activeOf(client);
      return active === undefined || client.inFile || client.generations.at(-1) === active;
    },
  ],
  [`has more than ${MOST_VALID} valid keys`, ({ generations }) => generations.length <= MOST_VALID],
  [
    'has a valid key from before a compromise',
    ({ generations, inFile }) =>
      inFile || !generations.slice(1).some(({ afterCompromise }) => afterCompromise),
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
      !removed || (staged === undefined && generations.length === 0),
  ],
  [
    'remembers a call that made no key',
    ({ idempotency, lastNumber }) => idempotency === undefined || idempotency.number <= lastNumber,
  ],
  [
    'must exist, with the scope full and without an end, and is in no file',
    ({ name, removed, scopes, expiresAt, inFile }) =>
      name !== MASTER ||
      (!removed && !inFile && scopes.includes('full') && expiresAt === undefined),
  ],
];

const isLimit = (limits: ClientLimits): boolean =>
  !limitsNothing(limits) &&
  LIMITED.every((name) => {
    const amount = limits[name];
    return amount === undefined || (Number.isFinite(amount) && amount > 0);
  });

function latestOf({ createdAt, staged, generations }: Client): number {
  let latest = Math.max(createdAt, staged?.stagedAt ?? 0);
  for (const { createdAt: made, publishedAt, retirement } of generations) {
    latest = Math.max(latest, made, publishedAt ?? 0, retirement?.rotatedAt ?? 0);
  }
  return latest;
}

/** The latest instant that has been dated in a keyring; no change can be dated before it. */
export function latestDate({ clients, tombstones }: Keyring): number {
  let latest = 0;
  for (const client of clients.values()) latest = Math.max(latest, latestOf(client));
  for (const { createdAt, publishedAt = createdAt, endedAt } of tombstones.values()) {
    latest = Math.max(latest, publishedAt, endedAt);
  }
  return latest;
}

const isAscending = (numbers: readonly number[]): boolean =>
  numbers.every((each, at) => Number.isSafeInteger(each) && each > (numbers[at - 1] ?? -1));

/** Plain conditions, and not a table of rules: a keyring may have thousands of tombstones. */
function tombstoneFault(each: Tombstone, lastNumber: number, latest: number): string | undefined {
  const { number, digest, createdAt, publishedAt = createdAt, endedAt } = each;
  if (!DIGEST.test(digest)) return 'has no digest';
  if (!Number.isSafeInteger(number) || number < 1 || number > lastNumber) {
    return 'has a number that its client never had';
  }
  if (
    !isInstant(createdAt, 0, Infinity) ||
    !isInstant(publishedAt, createdAt, Infinity) ||
    !isInstant(endedAt, createdAt, Infinity)
  ) {
    return 'has a date that is not valid, or lies before it was made';
  }
  if (publishedAt <= latest && endedAt <= latest) return undefined;
  return 'has a date after the last change of the keyring';
}

/**
 * The first thing that is wrong with a keyring, in words for an operator and without a digest;
 * undefined: nothing. Checked before each save and after each load.
 */
export function checkInvariants(keyring: Keyring): string | undefined {
  const { clients, audit, changedAt, sureAt } = keyring;
  if (!isInstant(changedAt, 0, Infinity)) return 'the date of the last change is not valid';
  if (!isInstant(sureAt, 0, Infinity)) return 'the date that is certain is not valid';
  const { count, head, pending } = audit;
  if (!Number.isSafeInteger(count) || count < pending.length || (count === 0) !== (head === '')) {
    return 'the count of audit lines does not fit what is known of the last ones';
  }
  for (const client of clients.values()) {
    const broken = clientBroken(client, keyring);
    if (broken !== undefined) return broken;
  }
  return firstTwice(keyring) ?? tombstonesBroken(keyring);
}

function clientBroken(client: Client, keyring: Keyring): string | undefined {
  const { name } = client;
  // The message does not repeat the name: what stands there may be anything, a key too.
  if (!isClientName(name)) return 'a client has a name that is not allowed';
  const broken = brokenOf(CLIENT_RULES, client, keyring);
  if (broken !== undefined) return `client ${name} ${broken}`;
  for (const generation of client.generations) {
    const wrong = brokenOf(GENERATION_RULES, generation);
    if (wrong !== undefined) return `${idOf(name, generation.number)} ${wrong}`;
  }
  return undefined;
}

const brokenOf = <T extends unknown[]>(rules: readonly Rule<T>[], ...args: T): string | undefined =>
  rules.find(([, holds]) => !holds(...args))?.[0];

/** A key that stands twice. Of the tombstones each digest is there once by their shape. */
function firstTwice({ clients, tombstones }: Keyring): string | undefined {
  const ids = new Map<string, string>();
  for (const { name, generations, staged } of clients.values()) {
    for (const { number, digest } of staged ? [...generations, staged] : generations) {
      const id = idOf(name, number);
      const ended = tombstones.get(digest);
      const other = ended ? idOf(ended.client, ended.number) : ids.get(digest);
      if (other !== undefined) return `${other} and ${id} are the same key`;
      ids.set(digest, id);
    }
  }
  return undefined;
}

function tombstonesBroken(keyring: Keyring): string | undefined {
  const numbers = new Map<string, Set<number>>();
  for (const { name, generations } of keyring.clients.values()) {
    numbers.set(name, new Set(generations.map(({ number }) => number)));
  }
  for (const each of keyring.tombstones.values()) {
    const { client: name, number } = each;
    const lastNumber = keyring.clients.get(name)?.lastNumber;
    const taken = numbers.get(name);
    // The message does not repeat the name here either.
    if (lastNumber === undefined || taken === undefined) {
      return 'a tombstone is of a client that never was';
    }
    const broken = tombstoneFault(each, lastNumber, keyring.changedAt);
    if (broken !== undefined) return `${idOf(name, number)} ${broken}`;
    if (taken.has(number)) return `${idOf(name, number)} is the name of two keys`;
    taken.add(number);
  }
  return undefined;
}
