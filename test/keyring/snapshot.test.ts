import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/keyring/digest.ts';
import { generateKey } from '../../src/keyring/key-format.ts';
import { findKey, singleKeySnapshot } from '../../src/keyring/snapshot.ts';
import { KEYS, policyWith } from '../support/policies.ts';

describe('a keyring of one key', () => {
  const key = generateKey();
  const keyring = singleKeySnapshot(digestOf(key));

  it("holds the master client's first generation, with every scope", () => {
    const { generation, fault } = findKey(keyring, key);
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
    expect(findKey(keyring, presented)).toEqual({ generation: undefined, fault });
  });

  it('finds a declared key that has no checksum', () => {
    expect(
      findKey(singleKeySnapshot(digestOf('a8Fj3k2L9sdf')), 'a8Fj3k2L9sdf').fault,
    ).toBeUndefined();
  });

  it('holds no key as it is', () => {
    expect(JSON.stringify([...keyring.byDigest])).not.toContain(key.slice(3));
  });
});

it('a keyring tells a key that was replaced from one that was revoked', () => {
  const { keyring } = policyWith().admission;
  const faults = Object.values(KEYS).map((key) => findKey(keyring, key).fault);
  expect(faults).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
    'expired_key',
    'revoked_key',
  ]);
  expect(findKey(keyring, KEYS.revoked).generation?.client).toBe('revoked');
});

it('a digest is SHA-256', () => {
  expect(digestOf('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
});
