import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isClientName, MASTER } from '../../src/client-name.ts';
import { digestOf } from '../../src/keyring/key.ts';
import { findGeneration, idOf, readId, tombstonesByClient } from '../../src/keyring/keyring.ts';
import { createMaster, HOUR, START, type Story } from './story.ts';

describe('the id of a generation', () => {
  it('is read as it is written', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/).filter(isClientName);
    fc.assert(
      fc.property(name, fc.integer({ min: 1 }), (client, number) => {
        expect(readId(idOf(client, number))).toEqual({ client, number });
      }),
    );
  });

  it.each(['', 'master', 'master-', 'master-0', 'master-01', 'master--1', 'master-1 ', '-1'])(
    'is not %j',
    (id) => {
      expect(readId(id)).toBeUndefined();
    },
  );
});

describe('a key that ended', () => {
  /** master-1 retired, master-2 revoked, master-3 retiring, master-4 active; ci-1 revoked. */
  function createPast(): Story {
    const story = createMaster();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.rotate(MASTER, 'm2', { graceMs: 0 });
    story.rotate(MASTER, 'm3');
    story.do({ kind: 'remove', client: 'ci' });
    story.rotate(MASTER, 'm4');
    story.do({ kind: 'firstUse', client: MASTER, number: 3 });
    story.now += HOUR;
    story.do({ kind: 'revoke', generation: 'master-2', compromised: false });
    return story;
  }

  it('stands among the tombstones, in the order in which keys ended, and nowhere else', () => {
    const { keyring } = createPast();
    expect([...keyring.tombstones.values()]).toEqual([
      {
        ...{ client: MASTER, number: 1, digest: digestOf('m1'), state: 'retired', origin: 'made' },
        ...{ createdAt: START, publishedAt: START, endedAt: START, clockStarted: false },
      },
      {
        ...{ client: 'ci', number: 1, digest: digestOf('c1'), state: 'revoked', origin: 'made' },
        ...{ createdAt: START, publishedAt: START, endedAt: START, clockStarted: false },
      },
      {
        ...{ client: MASTER, number: 2, digest: digestOf('m2'), state: 'revoked', origin: 'made' },
        ...{ createdAt: START, publishedAt: START, endedAt: START + HOUR, clockStarted: true },
      },
    ]);
    expect([...keyring.tombstones.keys()]).toEqual(['m1', 'c1', 'm2'].map(digestOf));
    const numbers = keyring.clients.get(MASTER)?.generations.map(({ number }) => number);
    expect(numbers).toEqual([3, 4]);
  });

  it('is listed with those of its client, the newest first', () => {
    const byClient = tombstonesByClient(createPast().keyring);
    const ids = [...byClient].map(([name, ended]) => [name, ended.map(({ number }) => number)]);
    expect(ids).toEqual([
      [MASTER, [2, 1]],
      ['ci', [1]],
    ]);
    expect(tombstonesByClient(createMaster().keyring).size).toBe(0);
  });

  it('is found by its name as one that is valid is', () => {
    const { keyring } = createPast();
    const found = (name: string, number: number) => findGeneration(keyring, name, number)?.digest;
    expect([found(MASTER, 1), found(MASTER, 3), found('ci', 1)]).toEqual([
      ...['m1', 'm3', 'c1'].map(digestOf),
    ]);
    expect([found(MASTER, 5), found('ci', 2), found('nobody', 1)]).toEqual([
      ...[undefined, undefined, undefined],
    ]);
  });

  it('is in the same map as before where nothing else ended', () => {
    const story = createPast();
    const { tombstones } = story.keyring;
    story.rotate(MASTER, 'm5');
    story.do({ kind: 'firstUse', client: MASTER, number: 5 });
    expect(story.keyring.tombstones).toBe(tombstones);
    story.do({ kind: 'rollback', client: MASTER });
    expect(story.keyring.tombstones).not.toBe(tombstones);
    expect(tombstones.size).toBe(3);
  });
});
