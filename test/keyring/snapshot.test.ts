import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { findKey, type KnownKey, snapshotOf } from '../../src/keyring/snapshot.ts';
import { createMaster, createStory, DAY, HOUR, START, type Story, staging } from './story.ts';

const known = ({ keyring }: Pick<Story, 'keyring'>, key: string): KnownKey => {
  const found = snapshotOf(keyring).byDigest.get(digestOf(key));
  if (found === undefined) throw new Error(`${key} is not known`);
  return found;
};

describe('a snapshot', () => {
  it('holds each generation under its digest', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    expect(known(story, 'm2')).toEqual({
      id: 'master-2',
      client: 'master',
      state: 'active',
      scopes: new Set(['full']),
      allowFrom: [],
      endUser: undefined,
      fault: undefined,
      validUntil: Infinity,
      startsClock: true,
    });
    expect(known(story, 'm1')).toMatchObject({ id: 'master-1', state: 'retiring' });
  });

  it('takes the last possible end of a key until its clock has started', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    expect(known(story, 'm1').validUntil).toBe(START + 30 * DAY);
    story.now += HOUR;
    story.do({ kind: 'firstUse', client: MASTER, number: 2 });
    expect(known(story, 'm1')).toMatchObject({ validUntil: START + HOUR + DAY, fault: undefined });
  });

  it('takes the end of the client where that is earlier', () => {
    const story = createStory();
    story.add('ci', { expiresAt: START + HOUR });
    story.rotate('ci', 'c1');
    story.rotate('ci', 'c2');
    expect(known(story, 'c1').validUntil).toBe(START + HOUR);
    expect(known(story, 'c2').validUntil).toBe(START + HOUR);
    story.do(staging('ci', 'c3'));
    expect(known(story, 'c3').validUntil).toBe(START + HOUR);
  });

  it('tells what retired from what was revoked', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0 });
    story.do({ kind: 'revoke', generation: 'master-2', compromised: false });
    expect(known(story, 'm1')).toMatchObject({ state: 'retired', fault: 'expired_key' });
    expect(known(story, 'm2')).toMatchObject({ state: 'revoked', fault: 'revoked_key' });
  });

  it('refuses every key of a disabled client, until it is enabled', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do({ kind: 'disable', client: MASTER });
    expect(known(story, 'm1').fault).toBe('revoked_key');
    expect(known(story, 'm2')).toMatchObject({ fault: 'revoked_key', startsClock: false });
    story.do({ kind: 'enable', client: MASTER });
    expect(known(story, 'm2')).toMatchObject({ fault: undefined, startsClock: true });
  });

  it('lets a staged key in, whose file may be read before its rotation is complete', () => {
    const story = createMaster();
    story.do({ kind: 'revoke', generation: 'master-1', compromised: false });
    story.do(staging(MASTER, 'm2'));
    expect(known(story, 'm2')).toMatchObject({
      ...{ id: 'master-2', state: 'active', fault: undefined, validUntil: Infinity },
      startsClock: false,
    });
    expect(known(story, 'm1').fault).toBe('revoked_key');
    story.do({ kind: 'unstage', client: MASTER });
    expect(snapshotOf(story.keyring).byDigest.get(digestOf('m2'))).toBeUndefined();
  });

  it('lets no staged key of a client in that somebody disabled', () => {
    const story = createMaster();
    story.do({ kind: 'disable', client: MASTER });
    story.do(staging(MASTER, 'm2'));
    expect(known(story, 'm2').fault).toBe('revoked_key');
  });
});

describe('a use is worth telling', () => {
  it('only once the newest key is published, and only while an older one waits', () => {
    const story = createMaster();
    expect(known(story, 'm1').startsClock).toBe(false);
    story.rotate(MASTER, 'm2', { published: false });
    expect(known(story, 'm2').startsClock).toBe(false);
    story.do({ kind: 'published', client: MASTER, number: 2 });
    expect(known(story, 'm2').startsClock).toBe(true);
    expect(known(story, 'm1').startsClock).toBe(false);
    story.do({ kind: 'firstUse', client: MASTER, number: 2 });
    expect(known(story, 'm2').startsClock).toBe(false);
  });

  it('where a retiring key is newer than one that waits', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    expect(['m1', 'm2', 'm3'].map((key) => known(story, key).startsClock)).toEqual([
      ...[false, true, true],
    ]);
  });
});

describe('what changes for one key', () => {
  const at = ({ keyring }: Story, key: string) => snapshotOf(keyring).byDigest.get(digestOf(key));

  it('changes nothing for another, and the blocks of its client stay the same object', () => {
    const story = createMaster();
    story.add('ci', { allowFrom: ['10.0.0.0/8'] });
    story.rotate('ci', 'c1');
    const before = [at(story, 'm1'), at(story, 'c1')];
    story.rotate('ci', 'c2');
    expect(at(story, 'm1')).toEqual(before[0]);
    expect(at(story, 'c1')).not.toEqual(before[1]);
    expect(at(story, 'c1')?.allowFrom).toBe(before[1]?.allowFrom);
    expect(at(story, 'c2')?.allowFrom).toBe(before[1]?.allowFrom);
  });

  it('changes nothing where it ended, whatever becomes of its client', () => {
    const story = createMaster();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.do({ kind: 'revoke', generation: 'ci-1', compromised: false });
    const before = at(story, 'c1');
    expect(before).toMatchObject({ state: 'revoked', fault: 'revoked_key' });
    story.rotate('ci', 'c2');
    expect(at(story, 'c1')).toEqual(before);
    expect(at(story, 'c2')).toMatchObject({ state: 'active', fault: undefined });
    story.do({ kind: 'remove', client: 'ci' });
    expect(at(story, 'c2')).toMatchObject({ state: 'revoked', fault: 'revoked_key' });
  });
});

describe('a keyring of one key', () => {
  const key = generateKey();
  const story = createStory();
  story.add(MASTER);
  story.rotate(MASTER, key);
  const snapshot = snapshotOf(story.keyring);
  const never = (): number => {
    throw new Error('the time was asked for');
  };

  it("holds the master client's first generation, with every scope", () => {
    const { generation, fault } = findKey(snapshot, key, never);
    expect(fault).toBeUndefined();
    expect(generation).toMatchObject({ id: 'master-1', client: 'master', state: 'active' });
    expect(generation?.scopes.has('full')).toBe(true);
  });

  it.each([
    ['another key', generateKey(), 'unknown_key'],
    ['nothing', '', 'malformed_key'],
    ['a word', 'sk-1234', 'malformed_key'],
    // LiteLLM once took the digest for the key.
    ['the digest', digestOf(key), 'malformed_key'],
    ['the key with a space', `${key} `, 'malformed_key'],
    ['the key in capitals', key.toUpperCase(), 'malformed_key'],
  ])('tells %s as it is', (_, presented, fault) => {
    expect(findKey(snapshot, presented, never)).toEqual({ generation: undefined, fault });
  });

  it('finds a declared key that has no checksum', () => {
    story.rotate(MASTER, 'a8Fj3k2L9sdf');
    const { fault } = findKey(snapshotOf(story.keyring), 'a8Fj3k2L9sdf', never);
    expect(fault).toBeUndefined();
  });

  it('holds no key as it is', () => {
    expect(JSON.stringify(snapshot.byDigest.get(digestOf(key)))).not.toContain(key.slice(3));
  });
});

it('a key with an end is good until it, and not at it', () => {
  const story = createStory();
  story.add('ci', { expiresAt: START + 10 });
  story.rotate('ci', 'c1');
  const at = (now: number) => findKey(snapshotOf(story.keyring), 'c1', () => now);
  expect(at(START + 9).fault).toBeUndefined();
  expect(at(START + 10)).toMatchObject({ fault: 'expired_key', generation: { id: 'ci-1' } });
});

it('a digest is SHA-256', () => {
  expect(digestOf('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
});

it('a key that is refused because of its client says so', () => {
  const story = createMaster();
  const expiresAt = story.now + 1000;
  story.add('ci', { expiresAt });
  story.rotate('ci', 'c1');
  expect(known(story, 'c1')).toMatchObject({ ofClient: 'expires', validUntil: expiresAt });
  story.rotate('ci', 'c2', { graceMs: 10, maxGraceMs: 100 });
  expect(known(story, 'c1').ofClient).toBeUndefined();
  expect(known(story, 'c2').ofClient).toBe('expires');
  story.do({ kind: 'disable', client: 'ci' });
  expect(known(story, 'c2')).toMatchObject({ fault: 'revoked_key', ofClient: 'disabled' });
  expect(known(story, 'm1').ofClient).toBeUndefined();
});
