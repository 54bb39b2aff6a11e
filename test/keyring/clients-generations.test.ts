import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf } from '../../src/keyring/key.ts';
import { transition } from '../../src/keyring/transition.ts';
import { createMaster, DAY, HOUR, START, staging } from './story.ts';

const used = (number: number) => ({ kind: 'firstUse', client: MASTER, number }) as const;
const published = (number: number) => ({ kind: 'published', client: MASTER, number }) as const;
const revoke = (generation: string, compromised = false) =>
  ({ kind: 'revoke', generation, compromised }) as const;

describe('the first use of a key', () => {
  it('starts the clock of the one before it, once', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += HOUR;
    const deadline = START + HOUR + DAY;
    expect(story.do(used(2))).toEqual([
      {
        ...{ kind: 'clockStarted', client: MASTER, generation: 'master-1', by: 'master-2' },
        deadline,
      },
    ]);
    const { keyring } = story;
    story.now += HOUR;
    expect(story.do(used(2))).toEqual([]);
    expect(story.keyring).toBe(keyring);
    expect(story.generation('master-1').retirement?.deadline).toBe(deadline);
  });

  it('starts the clocks of all before it that wait, and of none after it', () => {
    const story = createMaster();
    for (const key of ['m2', 'm3', 'm4']) story.rotate(MASTER, key);
    expect(story.do(used(3)).map((event) => 'generation' in event && event.generation)).toEqual([
      ...['master-1', 'master-2'],
    ]);
    expect(story.generation('master-3').retirement?.deadline).toBeUndefined();
  });

  it('starts none before every target has the newest key', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3', { published: false });
    expect(story.do(used(2))).toEqual([]);
    expect(story.do(used(3))).toEqual([]);
    story.do(published(3));
    expect(story.do(used(2)).map(({ kind }) => kind)).toEqual(['clockStarted']);
  });

  it('gives no more time than the longest grace', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += 30 * DAY - HOUR;
    story.do(used(2));
    expect(story.generation('master-1').retirement?.deadline).toBe(START + 30 * DAY);
  });

  it('is nothing where the key itself has ended, or is the oldest', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    expect(story.do(used(1))).toEqual([]);
    story.do(revoke('master-2'));
    expect(story.do(used(2))).toEqual([]);
  });

  it('is nothing for a key that is only staged, and a mistake for one that never was', () => {
    const story = createMaster();
    story.do(staging(MASTER, 'm2'));
    expect(story.do(used(2))).toEqual([]);
    expect(story.refused(used(3)).code).toBe('unknown_generation');
    expect(story.refused({ ...used(1), client: 'maste' })).toMatchObject({
      ...{ code: 'unknown_client', hints: ['did you mean master?'] },
    });
  });
});

describe('that a key is published', () => {
  it('is noted once', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { published: false });
    story.now += HOUR;
    expect(story.do(published(2))).toEqual([
      { kind: 'published', client: MASTER, generation: 'master-2' },
    ]);
    expect(story.generation('master-2').publishedAt).toBe(START + HOUR);
    const { keyring } = story;
    story.now += HOUR;
    expect(story.do(published(2))).toEqual([]);
    expect(story.keyring).toBe(keyring);
  });

  it('is nothing for a tombstone', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { published: false });
    story.do(revoke('master-2'));
    expect(story.do(published(2))).toEqual([]);
    expect(story.tombstone('master-2').publishedAt).toBeUndefined();
  });

  it('ends no other wait than that for the newest key', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0, published: false });
    story.rotate(MASTER, 'm3', { published: false });
    story.do(published(2));
    expect(story.states(MASTER)).toBe('retiring retiring active');
    story.do(published(3));
    expect(story.states(MASTER)).toBe('retired retiring active');
  });
});

describe('a key that is revoked', () => {
  it('is refused from then on, and the others are not', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += HOUR;
    expect(story.do(revoke('master-1', true))).toEqual([
      { kind: 'revoked', client: MASTER, generation: 'master-1', compromised: true },
    ]);
    expect(story.tombstone('master-1')).toMatchObject({
      ...{ state: 'revoked', endedAt: START + HOUR },
    });
    expect(story.states(MASTER)).toBe('revoked active');
  });

  it('leaves its client disabled where it was the active one', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    expect(story.do(revoke('master-2'))).toEqual([
      { kind: 'revoked', client: MASTER, generation: 'master-2', compromised: false },
      { kind: 'clientDisabled', client: MASTER },
    ]);
    expect(story.refused({ kind: 'enable', client: MASTER })).toEqual({
      code: 'no_active_key',
      message: 'client master has no active key',
      hints: ['`sidecar rotate master` makes one and enables it'],
    });
    expect(story.rotate(MASTER, 'm3').map(({ kind }) => kind)).toEqual([
      ...['rotated', 'clientEnabled'],
    ]);
    expect(story.states(MASTER)).toBe('retiring revoked active');
  });

  it('says no more of a client that is disabled already', () => {
    const story = createMaster();
    story.do({ kind: 'disable', client: MASTER });
    expect(story.do(revoke('master-1')).map(({ kind }) => kind)).toEqual(['revoked']);
  });

  it('cannot be revoked twice, nor after it retired', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0 });
    expect(story.refused(revoke('master-1'))).toMatchObject({
      code: 'already_ended',
      message: 'master-1 was retired before, and opens nothing',
    });
    story.do(revoke('master-2'));
    expect(story.refused(revoke('master-2')).message).toContain('master-2 was revoked');
  });

  it('cannot be one that is about to be active', () => {
    const story = createMaster();
    story.do(staging(MASTER, 'm2'));
    expect(story.refused(revoke('master-2')).code).toBe('rotation_under_way');
  });

  it.each([
    ['maste-1', 'did you mean master-1?'],
    ['mastr-9', 'keys of master that are valid: master-1, master-2'],
    ['master-3', 'keys of master that are valid: master-1, master-2'],
    ['master', 'keys of master that are valid: master-1, master-2'],
    [
      'sk-qqqqqqqqqqqqqqq',
      'it is a client and a number, such as master-1; `sidecar status` shows them',
    ],
    ['', 'it is a client and a number, such as master-1; `sidecar status` shows them'],
  ])('has a name, and %j is none', (id, hint) => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    expect(story.refused(revoke(id))).toEqual({
      code: 'unknown_generation',
      message: 'there is no generation of that name',
      hints: [hint],
    });
  });
});

describe('time', () => {
  it('retires what is past its end, with the end itself as the date', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do(used(2));
    story.now += DAY - 1;
    const { keyring } = story;
    expect(story.do({ kind: 'pass' })).toEqual([]);
    expect(story.keyring).toBe(keyring);
    story.now += HOUR;
    expect(story.do({ kind: 'pass' })).toEqual([
      { kind: 'retired', client: MASTER, generation: 'master-1' },
    ]);
    expect(story.tombstone('master-1')).toMatchObject({
      ...{ state: 'retired', endedAt: START + DAY },
    });
    expect(story.keyring.changedAt).toBe(story.now);
  });

  it('passes before each other command', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += 30 * DAY;
    const remember = { kind: 'remember', source: 'dotenv', digest: digestOf('x') } as const;
    expect(story.do(remember).map(({ kind }) => kind)).toEqual(['retired']);
  });

  it('does not go back', () => {
    const story = createMaster();
    story.now += DAY;
    story.rotate(MASTER, 'm2');
    story.now = START;
    story.rotate(MASTER, 'm3');
    expect(story.generation('master-2').retirement?.rotatedAt).toBe(START + DAY);
    expect(story.keyring.changedAt).toBe(START + DAY);
  });

  it('does not stand still because it is no number', () => {
    const { keyring } = createMaster();
    const done = transition(keyring, { kind: 'disable', client: MASTER }, Number.NaN);
    expect(done.ok && done.keyring.changedAt).toBe(START);
  });
});

describe('a declared value that was looked at', () => {
  it('is remembered by its place', () => {
    const story = createMaster();
    const remember = { kind: 'remember', source: 'environment', digest: digestOf('x') } as const;
    expect(story.do(remember)).toEqual([]);
    expect(story.keyring.declared).toEqual({ environment: digestOf('x') });
    const { keyring } = story;
    story.now += 1;
    story.do(remember);
    expect(story.keyring).toBe(keyring);
  });
});
