import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { createMaster, createStory, DAY, HOUR, START, staging } from './story.ts';

describe('a rotation cannot begin', () => {
  it('for a client that is not there', () => {
    const story = createMaster();
    story.add('staging');
    expect(story.refused(staging('stagin', 'k'))).toEqual({
      code: 'unknown_client',
      message: 'there is no client of that name',
      hints: ['did you mean staging?'],
    });
    expect(story.refused(staging('xxxxxxxxxxx', 'k')).hints).toEqual([
      '`sidecar clients list` shows them',
    ]);
  });

  it('while another one is under way', () => {
    const story = createMaster();
    story.do(staging(MASTER, 'm2'));
    expect(story.refused(staging(MASTER, 'm3'))).toMatchObject({
      code: 'rotation_under_way',
      message: 'a rotation of master is under way',
    });
  });

  it('for a client that has expired', () => {
    const story = createStory();
    story.add('ci', { expiresAt: START + HOUR });
    story.now += HOUR - 1;
    story.rotate('ci', 'c1');
    story.now += 1;
    expect(story.refused(staging('ci', 'c2'))).toEqual({
      code: 'bad_expiry',
      message: 'client ci expired at 2026-01-01T01:00:00.000Z: a new key would be refused, too',
      hints: ['`sidecar clients remove ci`, then add it again with a new end'],
    });
  });

  it.each([
    [-1000, '-1s'],
    [31 * DAY, '31d'],
    [365_000 * DAY, '365000d'],
    [Number.NaN, 'NaNms'],
    [Infinity, 'Infinityms'],
    [0.5, '0.5ms'],
  ])('with a grace of %d', (graceMs, shown) => {
    expect(createMaster().refused(staging(MASTER, 'm2', { graceMs }))).toEqual({
      code: 'bad_grace',
      message: `a grace of ${shown} is out of range: it may be 0 to 30d`,
      hints: ['SIDECAR_MAX_GRACE sets the longest'],
    });
  });

  it('with a longest grace that never ends', () => {
    const command = staging(MASTER, 'm2', { maxGraceMs: Infinity });
    expect(createMaster().refused(command).code).toBe('bad_grace');
  });

  it('with eight valid keys, unless they are all revoked by it', () => {
    const story = createMaster();
    for (let number = 2; number <= 8; number++) story.rotate(MASTER, `m${number}`);
    expect(story.refused(staging(MASTER, 'm9'))).toEqual({
      code: 'too_many_generations',
      message: 'master has 8 valid keys, and may have no more',
      hints: [
        '`sidecar revoke master-1` revokes the oldest; `sidecar who master-1` says who uses it',
        'or wait: master-1 ends at 2026-01-31T00:00:00.000Z at the latest',
      ],
    });
    story.do({ kind: 'firstUse', client: MASTER, number: 8 });
    expect(story.refused(staging(MASTER, 'm9')).hints[1]).toContain('2026-01-02T00:00:00.000Z');
    story.rotate(MASTER, 'm9', { compromised: true });
    expect(story.states(MASTER)).toMatch(/^(revoked ){8}active$/);
  });

  it('with eight valid keys, until the oldest is let go', () => {
    const story = createMaster();
    for (let number = 2; number <= 8; number++) story.rotate(MASTER, `m${number}`);
    story.do({ kind: 'revoke', generation: 'master-1', compromised: false });
    story.rotate(MASTER, 'm9');
    expect(story.refused(staging(MASTER, 'm10')).hints[0]).toContain('revoke master-2');
    story.now += 30 * DAY;
    story.rotate(MASTER, 'm10');
    expect(story.states(MASTER)).toMatch(/^revoked (retired ){7}retiring active$/);
  });
});

describe('a key cannot be taken', () => {
  it('that is active already', () => {
    expect(createMaster().refused(staging(MASTER, 'm1'))).toEqual({
      ...{ code: 'key_is_active', hints: [] },
      message: 'that key is master-1, the active one of master already',
    });
  });

  it('that retires: rollback is the way', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    expect(story.refused(staging(MASTER, 'm1'))).toEqual({
      code: 'key_is_retiring',
      message: 'that key is master-1, which retires',
      hints: ['`sidecar rollback master` makes its newest retiring key active again'],
    });
  });

  it('that has ended', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0 });
    story.do({ kind: 'revoke', generation: 'master-2', compromised: true });
    expect(story.refused(staging(MASTER, 'm1'))).toMatchObject({
      code: 'key_is_tombstone',
      message: 'that key is master-1, which was retired: it is never accepted again',
    });
    expect(story.refused(staging(MASTER, 'm2')).message).toContain('master-2, which was revoked');
  });

  it('whose end has come, though nobody noticed so far', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += 30 * DAY;
    expect(story.refused(staging(MASTER, 'm1')).code).toBe('key_is_tombstone');
  });

  it('that another client holds, or is about to hold, or held', () => {
    const story = createMaster();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.do(staging('ci', 'c2'));
    for (const key of ['c1', 'c2']) {
      expect(story.refused(staging(MASTER, key))).toMatchObject({
        code: 'key_of_another_client',
        message: 'that key is one of client ci',
      });
    }
    story.do({ kind: 'remove', client: 'ci' });
    for (const key of ['c1', 'c2']) {
      expect(story.refused(staging(MASTER, key)).code).toBe('key_is_tombstone');
    }
  });
});
