import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { digestOf } from '../../src/keyring/key.ts';
import { createMaster, createStory, DAY, HOUR, START, staging } from './story.ts';

describe('a rotation', () => {
  it('is first staged, which changes no key', () => {
    const story = createMaster();
    story.now += HOUR;
    const idempotency = { digest: digestOf('i'), fingerprint: digestOf('f') };
    const changes = { origin: 'declared', source: 'file', compromised: true } as const;
    expect(story.do(staging(MASTER, 'm2', { ...changes, idempotency }))).toEqual([]);
    expect(story.states(MASTER)).toBe('active');
    expect(story.client(MASTER).staged).toEqual({
      ...{ number: 2, digest: digestOf('m2'), ...changes, stagedAt: START + HOUR },
      ...{ graceMs: DAY, maxGraceMs: 30 * DAY, idempotency },
    });
    expect(story.keyring.declared).toEqual({});
  });

  it('ends with the new key active and the one before it retiring', () => {
    const story = createMaster();
    story.do(staging(MASTER, 'm2'));
    story.now += HOUR;
    expect(story.do({ kind: 'commit', client: MASTER, published: true })).toEqual([
      {
        ...{ kind: 'rotated', client: MASTER, from: 'master-1', to: 'master-2', origin: 'made' },
        ...{ graceMs: DAY, compromised: false },
      },
    ]);
    const rotatedAt = START + HOUR;
    expect(story.generation('master-1')).toMatchObject({
      state: 'retiring',
      retirement: {
        ...{ rotatedAt, graceMs: DAY, latestEnd: rotatedAt + 30 * DAY, deadline: undefined },
      },
    });
    expect(story.generation('master-2')).toEqual({
      ...{ number: 2, digest: digestOf('m2'), state: 'active', origin: 'made', createdAt: START },
      ...{ publishedAt: rotatedAt, afterCompromise: false, retirement: undefined },
    });
    expect(story.client(MASTER).staged).toBeUndefined();
    expect(story.keyring.changedAt).toBe(rotatedAt);
  });

  it('says of the first key that it follows none', () => {
    const story = createStory();
    story.add('ci');
    const [rotated] = story.rotate('ci', 'c1');
    expect(rotated).toMatchObject({ kind: 'rotated', from: undefined, to: 'ci-1' });
  });

  it('remembers where the key was declared, and who asked for it', () => {
    const story = createMaster();
    const idempotency = { digest: digestOf('i'), fingerprint: digestOf('f') };
    story.rotate(MASTER, 'm2', { origin: 'declared', source: 'dotenv', idempotency });
    expect(story.keyring.declared).toEqual({ dotenv: digestOf('m2') });
    expect(story.client(MASTER).idempotency).toEqual({ ...idempotency, number: 2 });
    story.rotate(MASTER, 'm3');
    expect(story.keyring.declared).toEqual({ dotenv: digestOf('m2') });
    expect(story.client(MASTER).idempotency).toBeUndefined();
  });

  it('leaves the graces of earlier ones as they are', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do({ kind: 'firstUse', client: MASTER, number: 2 });
    const { retirement } = story.generation('master-1');
    story.now += HOUR;
    story.rotate(MASTER, 'm3', { graceMs: 7 * DAY });
    expect(story.generation('master-1').retirement).toEqual(retirement);
    expect(story.generation('master-2').retirement?.graceMs).toBe(7 * DAY);
    story.now = START + DAY;
    expect(story.do({ kind: 'pass' })).toEqual([
      { kind: 'retired', client: MASTER, generation: 'master-1' },
    ]);
  });

  it('needs something staged', () => {
    const story = createMaster();
    for (const command of [
      { kind: 'commit', client: MASTER, published: true },
      { kind: 'unstage', client: MASTER },
    ] as const) {
      expect(story.refused(command)).toMatchObject({
        code: 'nothing_staged',
        message: 'no rotation of master is under way',
      });
    }
  });
});

describe('a rotation without a grace', () => {
  it('retires the key before it at once, and none else', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += HOUR;
    expect(story.rotate(MASTER, 'm3', { graceMs: 0 }).map(({ kind }) => kind)).toEqual([
      ...['rotated', 'retired'],
    ]);
    expect(story.states(MASTER)).toBe('retiring retired active');
    // Numbers go on behind tombstones.
    story.rotate(MASTER, 'm4');
    expect(story.generation('master-4').digest).toBe(digestOf('m4'));
    expect(story.tombstone('master-2').endedAt).toBe(START + HOUR);
  });

  it('waits for the targets of the new key', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0, published: false });
    expect(story.states(MASTER)).toBe('retiring active');
    expect(story.do({ kind: 'firstUse', client: MASTER, number: 2 })).toEqual([]);
    story.now += HOUR;
    expect(story.do({ kind: 'published', client: MASTER, number: 2 })).toEqual([
      { kind: 'published', client: MASTER, generation: 'master-2' },
      { kind: 'retired', client: MASTER, generation: 'master-1' },
    ]);
    expect(story.tombstone('master-1').endedAt).toBe(START + HOUR);
  });

  it('does not wait beyond the longest grace', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0, published: false, maxGraceMs: HOUR });
    story.now += 2 * HOUR;
    story.do({ kind: 'pass' });
    expect(story.tombstone('master-1')).toMatchObject({
      ...{ state: 'retired', endedAt: START + HOUR },
    });
  });
});

describe('a rotation after a compromise', () => {
  it('revokes every key before it, and what they have in flight is cut', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    const revoked = ['master-1', 'master-2'].map((generation) => {
      return { kind: 'revoked', client: MASTER, generation, compromised: true };
    });
    expect(story.rotate(MASTER, 'm3', { compromised: true, published: false })).toEqual([
      expect.objectContaining({ kind: 'rotated', from: 'master-2', compromised: true }),
      ...revoked,
    ]);
    expect(story.states(MASTER)).toBe('revoked revoked active');
    expect(story.generation('master-3').afterCompromise).toBe(true);
  });

  it('lets what had ended before rest', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { graceMs: 0 });
    story.rotate(MASTER, 'm3', { compromised: true });
    expect(story.states(MASTER)).toBe('retired revoked active');
  });
});

describe('a rotation that is taken back', () => {
  it('leaves the client as it was', () => {
    const story = createMaster();
    const before = story.client(MASTER);
    story.do(staging(MASTER, 'm2'));
    expect(story.do({ kind: 'unstage', client: MASTER })).toEqual([]);
    expect(story.client(MASTER)).toEqual(before);
    story.rotate(MASTER, 'm2');
    expect(story.states(MASTER)).toBe('retiring active');
  });

  it('takes a client with it that never had a key', () => {
    const story = createStory();
    story.add('ci');
    story.do(staging('ci', 'c1'));
    const removed = [{ kind: 'clientRemoved', client: 'ci' }];
    expect(story.do({ kind: 'unstage', client: 'ci' })).toEqual(removed);
    expect(story.keyring.clients.size).toBe(0);
  });

  it('leaves a client removed that was about to come back', () => {
    const story = createStory();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.do({ kind: 'remove', client: 'ci' });
    story.now += 1;
    story.add('ci');
    story.do(staging('ci', 'c2'));
    const removed = [{ kind: 'clientRemoved', client: 'ci' }];
    expect(story.do({ kind: 'unstage', client: 'ci' })).toEqual(removed);
    expect(story.client('ci').removed).toBe(true);
    expect(story.states('ci')).toBe('revoked');
  });

  it('leaves a client there whose key was revoked', () => {
    const story = createMaster();
    story.do({ kind: 'revoke', generation: 'master-1', compromised: false });
    story.do(staging(MASTER, 'm2'));
    story.do({ kind: 'unstage', client: MASTER });
    expect(story.client(MASTER)).toMatchObject({ removed: false, disabled: true });
  });
});

describe('a rollback', () => {
  it('makes the newest retiring key active again, and revokes the one that replaced it', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    story.do({ kind: 'firstUse', client: MASTER, number: 3 });
    story.now += HOUR;
    expect(story.do({ kind: 'rollback', client: MASTER })).toEqual([
      { kind: 'rolledBack', client: MASTER, from: 'master-3', to: 'master-2' },
      { kind: 'revoked', client: MASTER, generation: 'master-3', compromised: false },
    ]);
    expect(story.states(MASTER)).toBe('retiring active revoked');
    expect(story.generation('master-2').retirement).toBeUndefined();
    expect(story.generation('master-1').retirement?.deadline).toBe(START + DAY);
    expect(story.tombstone('master-3').endedAt).toBe(START + HOUR);
    story.rotate(MASTER, 'm4');
    expect(story.states(MASTER)).toBe('retiring retiring revoked active');
  });

  it('has nothing to go back to with one key', () => {
    expect(createMaster().refused({ kind: 'rollback', client: MASTER })).toEqual({
      code: 'nothing_to_roll_back',
      message: 'no key before master-1 is still valid',
      hints: ['`sidecar rotate master` makes a new key'],
    });
  });

  it('has nothing to go back to once the grace is over', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.now += 30 * DAY;
    const { keyring } = story;
    expect(story.refused({ kind: 'rollback', client: MASTER }).code).toBe('nothing_to_roll_back');
    expect(story.keyring).toBe(keyring);
  });

  it('does not go behind a compromise, but up to it', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2', { compromised: true });
    story.rotate(MASTER, 'm3');
    story.do({ kind: 'rollback', client: MASTER });
    expect(story.states(MASTER)).toBe('revoked active revoked');
    expect(story.refused({ kind: 'rollback', client: MASTER })).toMatchObject({
      code: 'no_rollback_after_compromise',
      message: 'the keys before master-2 were revoked as compromised',
    });
  });

  it('is not for a client that is disabled: enable it, or give it a key', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do({ kind: 'disable', client: MASTER });
    expect(story.refused({ kind: 'rollback', client: MASTER })).toMatchObject({
      code: 'client_disabled',
      hints: ['`sidecar clients enable master` first'],
    });
    story.do({ kind: 'revoke', generation: 'master-2', compromised: false });
    expect(story.refused({ kind: 'rollback', client: MASTER })).toMatchObject({
      code: 'client_disabled',
      hints: ['`sidecar rotate master` makes a new key'],
    });
  });

  it('that is for another key than the active one is not made: pressed twice, it is made once', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    const back = { kind: 'rollback', client: MASTER, from: 'master-3' } as const;
    story.do(back);
    expect(story.refused(back)).toEqual({
      code: 'not_the_active_key',
      message: 'the active key of master is master-2 by now: nothing was rolled back',
      hints: ['look at `sidecar status`, and roll master-2 back if that is what you want'],
    });
    expect(story.states(MASTER)).toBe('retiring active revoked');
  });

  it('waits for a rotation that is under way', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do(staging(MASTER, 'm3'));
    expect(story.refused({ kind: 'rollback', client: MASTER }).code).toBe('rotation_under_way');
  });
});
