import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import { changedLimits } from '../../src/keyring/client-limits.ts';
import type { ClientChanges, Command } from '../../src/keyring/command.ts';
import { findKey, snapshotOf } from '../../src/keyring/snapshot.ts';
import { adding, createMaster, createStory, DAY, HOUR, START, staging } from './story.ts';

describe('a client that is added', () => {
  it('has no key, and is disabled until it has one', () => {
    const story = createStory();
    const expiresAt = START + DAY;
    expect(story.add('ci', { allowFrom: ['10.0.0.0/8'], expiresAt })).toEqual([
      { kind: 'clientAdded', client: 'ci' },
    ]);
    expect(story.client('ci')).toEqual({
      ...{ name: 'ci', scopes: ['inference'], allowFrom: ['10.0.0.0/8'], createdAt: START },
      ...{
        expiresAt,
        disabled: true,
        disabledByHand: false,
        namesEndUsers: false,
        limits: undefined,
        models: [],
        inFile: false,
        removed: false,
        lastNumber: 0,
        generations: [],
      },
      ...{ staged: undefined, idempotency: undefined },
    });
    expect(story.refused({ kind: 'enable', client: 'ci' }).code).toBe('no_active_key');
    // That a first key enables it is not worth a word.
    expect(story.rotate('ci', 'c1').map(({ kind }) => kind)).toEqual(['rotated']);
    expect(story.client('ci').disabled).toBe(false);
  });

  it('has each scope once, in their order', () => {
    const story = createStory();
    story.add('ci', { scopes: ['passthrough', 'inference', 'passthrough'] });
    expect(story.client('ci').scopes).toEqual(['inference', 'passthrough']);
  });

  it('has a name of its own', () => {
    const story = createMaster();
    expect(story.refused(adding(MASTER))).toMatchObject({
      code: 'client_exists',
      hints: ['`sidecar rotate master` gives it a new key'],
    });
  });

  it.each(['', 'Ci', 'qa-', 'a'.repeat(40), 'sk-pasted-by-mistake'])(
    'has no name such as %j, which is not repeated',
    (name) => {
      const { code, message, hints } = createStory().refused(adding(name));
      expect(code).toBe('bad_client_name');
      if (name !== '') expect([message, ...hints].join(' ')).not.toContain(name);
    },
  );

  it.each([[[]], [['everything']], [['inference', 'admin']]])('has no scopes %j', (scopes) => {
    const refused = createStory().refused(adding('ci', { scopes: scopes as never[] }));
    expect(refused.code).toBe('bad_scopes');
    expect(refused.message).toContain('inference, passthrough, full');
  });

  it.each([START, START - 1, 0, Number.NaN, Infinity])('does not expire at %d', (expiresAt) => {
    expect(createStory().refused(adding('ci', { expiresAt })).code).toBe('bad_expiry');
  });

  it('that is master has every scope and no end', () => {
    const story = createStory();
    const scopes = ['inference', 'passthrough'] as const;
    expect(story.refused(adding(MASTER, { scopes })).code).toBe('bad_scopes');
    expect(story.refused(adding(MASTER, { expiresAt: START + 1 })).code).toBe('bad_expiry');
    expect(story.keyring.clients.size).toBe(0);
  });
});

const setting = (client: string, changes: ClientChanges): Command => ({
  ...{ kind: 'setClient', client, changes },
});

describe('a client that is changed', () => {
  it('is what was said, and otherwise as it was; the event has old and new', () => {
    const story = createStory();
    const limits = changedLimits(undefined, { rpm: 60, usdPerDay: 5 });
    story.add('ci', { allowFrom: ['10.0.0.0/8'], expiresAt: START + DAY, limits });
    story.rotate('ci', 'c1');
    const before = story.client('ci');
    const changes = { limits: { rpm: 120, tokensPerDay: 2e6, mode: 'record' }, models: ['gpt-*'] };
    expect(story.do(setting('ci', changes as ClientChanges))).toEqual([
      {
        ...{ kind: 'clientChanged', client: 'ci' },
        changes: {
          rpm: '60 → 120',
          tokensPerDay: 'none → 2000000',
          limitMode: 'refuse → record',
          models: 'all → gpt-*',
        },
      },
    ]);
    expect(story.client('ci')).toEqual({
      ...before,
      limits: {
        ...{ rpm: 120, parallel: undefined, tokensPerDay: 2e6, usdPerDay: 5, mode: 'record' },
      },
      models: ['gpt-*'],
    });
    const { generation } = findKey(snapshotOf(story.keyring), 'c1', () => story.now);
    expect([generation?.limits, generation?.models]).toEqual([
      story.client('ci').limits,
      ['gpt-*'],
    ]);
  });

  it('loses what is taken off it', () => {
    const story = createStory();
    const limits = changedLimits(undefined, { rpm: 60, parallel: 4, mode: 'record' });
    const places = { allowFrom: ['10.0.0.0/8'], models: ['mock'], namesEndUsers: true };
    story.add('ci', { ...places, expiresAt: START + DAY, limits });
    story.do(setting('ci', { limits: { rpm: undefined } }));
    expect(story.client('ci').limits).toMatchObject({ rpm: undefined, parallel: 4 });
    story.do(setting('ci', { limits: { parallel: undefined } }));
    expect(story.client('ci').limits).toBeUndefined();
    story.do(setting('ci', { limits: { rpm: 1 } }));
    const all = { limits: undefined, expiresAt: undefined, allowFrom: [], models: [] };
    expect(story.do(setting('ci', { ...all, namesEndUsers: false }))).toMatchObject([
      {
        changes: {
          rpm: '1 → none',
          models: 'mock → all',
          allowFrom: '10.0.0.0/8 → anywhere',
          expiresAt: '2026-01-02T00:00:00.000Z → never',
          namesEndUsers: 'yes → no',
        },
      },
    ]);
    expect(story.client('ci')).toMatchObject({ ...all, namesEndUsers: false });
  });

  it('is the same keyring, without an event, where nothing changes', () => {
    const story = createStory();
    story.add('ci', { limits: changedLimits(undefined, { rpm: 60 }) });
    const before = story.keyring;
    expect(story.do(setting('ci', { limits: { rpm: 60 }, models: [] }))).toEqual([]);
    expect(story.do(setting('ci', {}))).toEqual([]);
    expect(story.keyring).toBe(before);
  });

  it('has no end in the past, and no mode without a limit', () => {
    const story = createStory();
    story.add('ci');
    expect(story.refused(setting('ci', { expiresAt: START })).code).toBe('bad_expiry');
    const mode = { limits: { mode: 'record' } } as const;
    expect(story.refused(setting('ci', mode)).code).toBe('bad_limits');
    const limits = changedLimits(undefined, mode.limits);
    expect(story.refused(adding('qa', { limits })).message).toContain('nothing to record');
    expect(story.refused(setting('ic', mode)).code).toBe('unknown_client');
  });

  it('that is master may be limited, has no end, and keeps its scope', () => {
    const story = createMaster();
    story.do(setting(MASTER, { limits: { usdPerDay: 5 }, models: ['mock'] }));
    expect(story.client(MASTER)).toMatchObject({ scopes: ['full'], limits: { usdPerDay: 5 } });
    expect(story.refused(setting(MASTER, { expiresAt: START + DAY }))).toMatchObject({
      ...{ code: 'bad_expiry', message: 'master does not expire' },
    });
  });
});

describe('a client that is removed', () => {
  it('loses every key, those that are staged included', () => {
    const story = createStory();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.rotate('ci', 'c2');
    story.now += HOUR;
    story.do(staging('ci', 'c3'));
    const revoked = ['ci-1', 'ci-2', 'ci-3'].map((generation) => {
      return { kind: 'revoked', client: 'ci', generation, compromised: false };
    });
    expect(story.do({ kind: 'remove', client: 'ci' })).toEqual([
      ...revoked,
      { kind: 'clientRemoved', client: 'ci' },
    ]);
    expect(story.states('ci')).toBe('revoked revoked revoked');
    expect(story.tombstone('ci-3').endedAt).toBe(START + HOUR);
    expect(story.client('ci')).toMatchObject({
      ...{
        removed: true,
        disabled: true,
        disabledByHand: false,
        staged: undefined,
        idempotency: undefined,
      },
    });
  });

  it('keeps the tombstones that it had', () => {
    const story = createStory();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.rotate('ci', 'c2', { graceMs: 0 });
    story.now += HOUR;
    expect(story.do({ kind: 'remove', client: 'ci' }).map(({ kind }) => kind)).toEqual([
      ...['revoked', 'clientRemoved'],
    ]);
    expect(story.states('ci')).toBe('retired revoked');
    expect(story.tombstone('ci-1').endedAt).toBe(START);
  });

  it('is unknown to every verb', () => {
    const story = createStory();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.do({ kind: 'remove', client: 'ci' });
    for (const kind of ['disable', 'enable', 'remove', 'rollback', 'unstage'] as const) {
      expect(story.refused({ kind, client: 'ci' })).toMatchObject({
        code: 'unknown_client',
        hints: ['`sidecar clients list` shows them'],
      });
    }
    expect(story.refused(staging('ci', 'c2')).code).toBe('unknown_client');
    // A request or a retry that was under way comes too late for nothing.
    expect(story.do({ kind: 'firstUse', client: 'ci', number: 1 })).toEqual([]);
    expect(story.do({ kind: 'published', client: 'ci', number: 1 })).toEqual([]);
  });

  it('may come back, with its tombstones and numbers that go on', () => {
    const story = createStory();
    story.add('ci');
    story.rotate('ci', 'c1');
    story.do({ kind: 'remove', client: 'ci' });
    story.now += DAY;
    story.add('ci', { scopes: ['full'] });
    expect(story.client('ci')).toMatchObject({ scopes: ['full'], createdAt: START + DAY });
    story.rotate('ci', 'c2');
    expect(story.states('ci')).toBe('revoked active');
    expect(story.refused(staging('ci', 'c1')).code).toBe('key_is_tombstone');
  });

  it('leaves no trace where it never had a key', () => {
    const story = createStory();
    story.add('ci');
    story.do({ kind: 'remove', client: 'ci' });
    expect(story.keyring.clients.size).toBe(0);
  });

  it('is not master', () => {
    const fault = createMaster().refused({ kind: 'remove', client: MASTER });
    expect(fault).toMatchObject({ code: 'master_stays', message: 'master cannot be removed' });
  });
});

describe('a client that is disabled', () => {
  it('keeps its keys and their deadlines', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.do({ kind: 'firstUse', client: MASTER, number: 2 });
    expect(story.do({ kind: 'disable', client: MASTER })).toEqual([
      { kind: 'clientDisabled', client: MASTER },
    ]);
    story.now += DAY;
    expect(story.do({ kind: 'pass' })).toEqual([
      { kind: 'retired', client: MASTER, generation: 'master-1' },
    ]);
    expect(story.do({ kind: 'enable', client: MASTER })).toEqual([
      { kind: 'clientEnabled', client: MASTER },
    ]);
    expect(story.states(MASTER)).toBe('retired active');
  });

  it('is not disabled twice, nor enabled twice', () => {
    const story = createMaster();
    expect(story.refused({ kind: 'enable', client: MASTER }).code).toBe('client_enabled');
    story.do({ kind: 'disable', client: MASTER });
    expect(story.refused({ kind: 'disable', client: MASTER }).code).toBe('client_disabled');
  });

  it('may be in the middle of a rotation, whose end does not enable it', () => {
    const story = createMaster();
    story.do(staging(MASTER, 'm2'));
    story.do({ kind: 'disable', client: MASTER });
    story.do({ kind: 'commit', client: MASTER, published: true });
    expect(story.client(MASTER).disabled).toBe(true);
  });

  it.each([false, true])('stays so whatever keys it is given; compromised: %s', (compromised) => {
    const story = createMaster();
    story.do({ kind: 'disable', client: MASTER });
    expect(story.rotate(MASTER, 'm2', { compromised }).map(({ kind }) => kind)).not.toContain(
      'clientEnabled',
    );
    story.do({ kind: 'revoke', generation: 'master-2', compromised });
    story.rotate(MASTER, 'm3');
    expect(story.client(MASTER)).toMatchObject({ disabled: true, disabledByHand: true });
    for (const key of ['m1', 'm2', 'm3']) {
      const { fault } = findKey(snapshotOf(story.keyring), key, () => story.now);
      expect([key, fault]).toEqual([key, 'revoked_key']);
    }
    story.do({ kind: 'enable', client: MASTER });
    expect(findKey(snapshotOf(story.keyring), 'm3', () => story.now).fault).toBeUndefined();
  });

  it('may be one that a rotation would have enabled: its key was revoked', () => {
    const story = createMaster();
    story.do({ kind: 'revoke', generation: 'master-1', compromised: false });
    story.do({ kind: 'disable', client: MASTER });
    story.rotate(MASTER, 'm2');
    expect(story.client(MASTER).disabled).toBe(true);
  });
});
