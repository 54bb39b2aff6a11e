import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { changedLimits, type LimitChanges } from '../../src/keyring/client-limits.ts';
import { checkInvariants } from '../../src/keyring/invariants.ts';
import { digestOf } from '../../src/keyring/key.ts';
import {
  type Client,
  EMPTY_KEYRING,
  type Generation,
  type Keyring,
  type Tombstone,
} from '../../src/keyring/keyring.ts';
import { createMaster, createStory, DAY, HOUR, START, staging } from './story.ts';

/** Master with a retired, a revoked, a retiring and an active key, and one that is staged. */
function createFull(): Keyring {
  const story = createMaster();
  story.now += HOUR;
  story.rotate(MASTER, 'm2', { graceMs: 0 });
  story.rotate(MASTER, 'm3');
  story.do({ kind: 'revoke', generation: 'master-2', compromised: false });
  story.rotate(MASTER, 'm4');
  story.do({ kind: 'firstUse', client: MASTER, number: 4 });
  story.do(staging(MASTER, 'm5'));
  story.add('ci');
  story.rotate('ci', 'c1');
  return story.keyring;
}

const full = createFull();

const put = (keyring: Keyring, client: Client): Keyring => ({
  ...keyring,
  clients: new Map(keyring.clients).set(client.name, client),
});

function clientOf(keyring: Keyring, name: string): Client {
  const client = keyring.clients.get(name);
  if (client === undefined) throw new Error(`no client ${name}`);
  return client;
}

const withMaster = (changes: Partial<Client>): Keyring =>
  put(full, { ...clientOf(full, MASTER), ...changes });

const withNumber = (number: number, changes: Partial<Generation>): Keyring =>
  withMaster({
    generations: clientOf(full, MASTER).generations.map((each) =>
      each.number === number ? { ...each, ...changes } : each,
    ),
  });

const generation = (number: number): Generation => {
  const found = clientOf(full, MASTER).generations.find((each) => each.number === number);
  if (found === undefined) throw new Error(`no generation ${number}`);
  return found;
};

/** With another one in the place of a tombstone. */
const withTombstone = (number: number, changes: Partial<Tombstone>): Keyring => {
  const list = [...full.tombstones.values()].map((each) =>
    each.number === number ? { ...each, ...changes } : each,
  );
  return { ...full, tombstones: new Map(list.map((each) => [each.digest, each])) };
};

const withRetirement = (changes: Partial<NonNullable<Generation['retirement']>>): Keyring => {
  const { retirement } = generation(3);
  if (retirement === undefined) throw new Error('it does not retire');
  return withNumber(3, { retirement: { ...retirement, ...changes } });
};

const staged = (changes: Partial<NonNullable<Client['staged']>>): Keyring => {
  const { staged: before } = clientOf(full, MASTER);
  if (before === undefined) throw new Error('nothing is staged');
  return withMaster({ staged: { ...before, ...changes } });
};

const limited = (changes: LimitChanges): Keyring => {
  const limits = changedLimits(undefined, { mode: 'refuse', ...changes });
  return withMaster({ limits });
};

describe('a keyring is sound', () => {
  it('with keys of every state', () => {
    const valid = clientOf(full, MASTER).generations.map(({ state }) => state);
    const ended = [...full.tombstones.values()].map(({ state }) => state);
    expect([...ended, ...valid]).toEqual(['retired', 'revoked', 'retiring', 'active']);
    expect(checkInvariants(full)).toBeUndefined();
  });

  it('with as many valid keys as there may be', () => {
    const story = createMaster();
    for (let number = 2; number <= 8; number++) story.rotate(MASTER, `m${number}`);
    expect(checkInvariants(story.keyring)).toBeUndefined();
  });

  it('with nothing in it', () => {
    expect(checkInvariants(EMPTY_KEYRING)).toBeUndefined();
  });

  it('with a client that waits for its first key, and with one that is gone', () => {
    const story = createStory();
    story.add('ci');
    expect(checkInvariants(story.keyring)).toBeUndefined();
    story.do(staging('ci', 'c1'));
    expect(checkInvariants(story.keyring)).toBeUndefined();
    story.do({ kind: 'remove', client: 'ci' });
    expect(checkInvariants(story.keyring)).toBeUndefined();
  });
});

const key = 'sk-plaintext';
const LATE = START + 300 * DAY;
const inMaster = clientOf(full, MASTER);
const { generations } = inMaster;
const ci = clientOf(full, 'ci');
const [only] = ci.generations;

describe('a keyring is broken', () => {
  it.each<[string, Keyring, RegExp]>([
    ['without a last change', { ...EMPTY_KEYRING, changedAt: -1 }, /date of the last change/],
    ['with half a last change', { ...EMPTY_KEYRING, changedAt: 0.5 }, /date of the last change/],
    ['with fewer lines than wait', { ...full, audit: line(1, 'x', ['', '']) }, /audit/],
    ['with lines and no last one', { ...full, audit: line(1, '', []) }, /audit/],
    ['with a last line and no count', { ...full, audit: line(0, 'x', []) }, /audit/],
    ['with half a line', { ...full, audit: line(1.5, 'x', []) }, /audit/],
    ['with a name that is none', put(full, { ...ci, name: 'CI' }), /^a client has a name/],
    ['without scopes', withMaster({ scopes: [] }), /scopes/],
    ['with a scope that is none', withMaster({ scopes: ['full', 'all' as never] }), /scopes/],
    ['with a scope twice', withMaster({ scopes: ['full', 'full'] }), /scopes/],
    ['with a master of few scopes', withMaster({ scopes: ['inference'] }), /must exist/],
    ['with a master that ends', withMaster({ expiresAt: LATE }), /must exist/],
    ['with a client of no date', withMaster({ createdAt: Number.NaN }), /a date that is not valid/],
    [
      'with a client before all time',
      put(full, { ...ci, createdAt: -1 }),
      /a date that is not valid/,
    ],
    ['with a client of tomorrow', put(full, { ...ci, createdAt: LATE }), /after the last change/],
    ['with a staging before its client', staged({ stagedAt: 1 }), /a date that is not valid/],
    ['with a staging of tomorrow', staged({ stagedAt: LATE }), /after the last change/],
    ['with a client that ended first', put(full, { ...ci, expiresAt: 1 }), /expires before/],
    ['with limits of nothing', limited({}), /limits that are none/],
    ['with a limit of 0', limited({ rpm: 0 }), /limits that are none/],
    ['with a limit without an end', limited({ usdPerDay: Infinity }), /limits that are none/],
    ['with a model of no name', withMaster({ models: ['mock', ''] }), /a model without a name/],
    ['with numbers in disorder', withNumber(3, { number: 5 }), /in order/],
    ['with a number twice', withNumber(3, { number: 2 }), /^master-2 is the name of two keys$/],
    ['with a number of two tombstones', withTombstone(1, { number: 2 }), /^master-2 is the name/],
    ['with half a number', halved(), /in order/],
    ['with a number 0', withNumber(3, { number: 0 }), /in order/],
    ['with a last number that is none', withMaster({ lastNumber: 4.5 }), /in order/],
    ['with a last number before the active one', withMaster({ lastNumber: 3 }), /in order/],
    ['with a tombstone above the last number', withTombstone(1, { number: 6 }), /never had/],
    ['with a tombstone of number 0', withTombstone(1, { number: 0 }), /never had/],
    ['with a tombstone of half a number', withTombstone(1, { number: 1.5 }), /never had/],
    [
      'with a tombstone of nobody',
      withTombstone(1, { client: key }),
      /^a tombstone is of a client/,
    ],
    ['with a staging of an old number', staged({ number: 4 }), /in order/],
    ['with a gap before a staging', staged({ number: 6 }), /in order/],
    ['with two active keys', withNumber(3, active()), /more than one active/],
    ['with no active key', withMaster({ generations: generations.slice(0, 1) }), /enabled without/],
    ['with an order upside down', upsideDown(), /newer than the active/],
    ['with a ninth valid key', nine(), /more than 8/],
    ['with a key behind a compromise', withNumber(4, { afterCompromise: true }), /compromise/],
    ['with a staged grace above the longest', staged({ graceMs: 31 * DAY }), /cannot end/],
    ['with a staged grace below none', staged({ graceMs: -1 }), /cannot end/],
    ['with a staged grace that never ends', staged({ maxGraceMs: Infinity }), /cannot end/],
    ['with a staged key for a digest', staged({ digest: key }), /cannot end/],
    ['with a removed client of keys', gone({ generations }), /removed and has/],
    ['with a removed client that rotates', gone({ staged: inMaster.staged }), /removed and has/],
    ['with a removed client that is enabled', gone({ disabled: false }), /enabled without/],
    ['with a master that is removed', removedMaster(), /must exist/],
    ['with a call for a key that is none', withMaster({ idempotency: call(9) }), /remembers/],
    ['with a key for a digest', withNumber(3, { digest: key }), /^master-3 has no digest$/],
    ['with a key of no date', withNumber(3, { createdAt: 0.5 }), /master-3 has a date/],
    ['with a publication before', withNumber(3, { publishedAt: 1 }), /master-3 has a date/],
    ['with an end before', withTombstone(1, { endedAt: 1 }), /master-1 has a date/],
    ['with half an end', withTombstone(1, { endedAt: START + 0.5 }), /master-1 has a date/],
    ['with a tombstone of no date', withTombstone(1, { createdAt: -1 }), /master-1 has a date/],
    ['with a tombstone published before', withTombstone(1, { publishedAt: 1 }), /master-1 has a/],
    [
      'with a key for a digest of old',
      withTombstone(1, { digest: key }),
      /^master-1 has no digest$/,
    ],
    ['with a publication tomorrow', withNumber(3, { publishedAt: LATE }), /after the last/],
    ['with an end tomorrow', withTombstone(1, { endedAt: LATE }), /after the last change/],
    ['with a rotation tomorrow', withRetirement({ rotatedAt: LATE }), /after the last change/],
    ['with a key of tomorrow', withNumber(4, { createdAt: LATE }), /after the last change/],
    ['with an active key that retires', withNumber(4, retiring()), /master-4 is active and/],
    ['with a retiring key of no end', withNumber(3, { retirement: undefined }), /without an end/],
    [
      'with an end that is missing',
      withTombstone(2, { endedAt: Number.NaN }),
      /master-2 has a date/,
    ],
    ['with an end that never comes', withRetirement({ latestEnd: Infinity }), /a grace that/],
    ['with an end before the rotation', withRetirement({ latestEnd: START }), /a grace that/],
    ['with a grace above the longest', withRetirement({ graceMs: 31 * DAY }), /a grace that/],
    ['with a grace below none', withRetirement({ graceMs: -1 }), /grace that is out of range/],
    ['with a deadline too late', withRetirement({ deadline: LATE }), /grace that is out of range/],
    [
      'with a deadline too early',
      withRetirement({ deadline: START }),
      /grace that is out of range/,
    ],
    [
      'with a key twice',
      withTombstone(1, { digest: digestOf('m3') }),
      /^master-1 and master-3 are/,
    ],
    ['with a valid key twice', withNumber(3, { digest: digestOf('m4') }), /^master-3 and master-4/],
    ['with a key of two clients', shared(), /^master-4 and ci-1 are the same key$/],
    ['with a staged key twice', staged({ digest: digestOf('m2') }), /^master-2 and master-5 are/],
  ])('%s', (_, keyring, expected) => {
    const broken = checkInvariants(keyring);
    expect(broken).toMatch(expected);
    expect(broken).not.toContain(key);
    expect(broken).not.toMatch(/[\w-]{43}/);
  });
});

function line(count: number, head: string, pending: string[]): Keyring['audit'] {
  return { count, head, pending };
}

function active(): Partial<Generation> {
  return { state: 'active', retirement: undefined };
}

function retiring(): Partial<Generation> {
  return { retirement: generation(3).retirement };
}

function upsideDown(): Keyring {
  const [three, four] = generations;
  if (!three || !four) throw new Error('two are valid');
  const first = { ...three, ...active() };
  const last: Generation = { ...four, state: 'retiring', retirement: three.retirement };
  return withMaster({ generations: [first, last] });
}

function nine(): Keyring {
  const more = Array.from({ length: 9 }, (_, at): Generation => {
    const { retirement } = generation(3);
    const digest = digestOf(`more ${at}`);
    return { ...generation(4), number: 10 + at, digest, state: 'retiring', retirement };
  });
  const last = { ...generation(4), number: 20 };
  return withMaster({ generations: [...more, last], lastNumber: 20, staged: undefined });
}

/** In the place of ci: whatever is wrong with it, a key that stands twice is looked for last. */
function gone(changes: Partial<Client>): Keyring {
  const client = { ...ci, generations: [], lastNumber: 4, disabled: true, removed: true };
  return put(full, { ...client, ...changes });
}

function removedMaster(): Keyring {
  return withMaster({ generations: [], disabled: true, removed: true, staged: undefined });
}

function halved(): Keyring {
  if (only === undefined) throw new Error('ci has a key');
  return put(full, { ...ci, generations: [{ ...only, number: 1.5 }] });
}

function call(number: number): Client['idempotency'] {
  return { digest: digestOf('i'), fingerprint: digestOf('f'), number };
}

function shared(): Keyring {
  if (only === undefined) throw new Error('ci has a key');
  return put(full, { ...ci, generations: [{ ...only, digest: digestOf('m4') }] });
}
