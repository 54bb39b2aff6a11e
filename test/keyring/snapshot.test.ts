import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { findKey, takeSnapshot } from '../../src/keyring/snapshot.ts';
import { createStory, START } from './story.ts';

describe('a keyring of one key', () => {
  const key = generateKey();
  const story = createStory();
  story.add(MASTER);
  story.rotate(MASTER, key);
  const snapshot = takeSnapshot(story.keyring);
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
    const { fault } = findKey(takeSnapshot(story.keyring), 'a8Fj3k2L9sdf', never);
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
  const at = (now: number) => findKey(takeSnapshot(story.keyring), 'c1', () => now);
  expect(at(START + 9).fault).toBeUndefined();
  expect(at(START + 10)).toMatchObject({ fault: 'expired_key', generation: { id: 'ci-1' } });
});

it('a digest is SHA-256', () => {
  expect(digestOf('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
});
