import { describe, expect, it } from 'vitest';
import { changesOf, EMPTY_FIELDS, fieldsOf, newClientOf } from '../../console/client-fields.ts';
import {
  endedBy,
  endingOf,
  isInUse,
  type KeyVerb,
  rotationKeyOf,
  wantsForce,
  whatWillHappen,
} from '../../console/key-words.ts';
import { timelineOf } from '../../console/timeline.ts';
import { ago, ahead, client, DAY, generation, HOUR, NOW, retiring } from '../cli/fake-admin.ts';

const GRACES = { grace: '1d', maxGrace: '30d' };
const REVOKED = generation({ id: 'master-1', state: 'revoked', validUntil: ago(DAY) });
const CLIENT = client({
  publish: [],
  generations: [generation({ inFlight: 2 }), retiring({ inFlight: 1 }), REVOKED],
});

const rotate = (ending: 'grace' | 'at-once' | 'leaked') => ({ kind: 'rotate', ending }) as const;

describe('what a verb will do is said before', () => {
  it.each<[string, KeyVerb, readonly string[]]>([
    ['a rotation with grace', rotate('grace'), []],
    ['one without', rotate('at-once'), ['master-3']],
    ['one of a leaked key', rotate('leaked'), ['master-3', 'master-2']],
    ['a rollback', { kind: 'rollback' }, ['master-3']],
    ['a revocation', { kind: 'revoke', id: 'master-2', leaked: false }, ['master-2']],
    ['one of an ended key', { kind: 'revoke', id: 'master-1', leaked: false }, []],
    ['disabling', { kind: 'disable' }, ['master-3', 'master-2']],
    ['enabling', { kind: 'enable' }, []],
    ['removing', { kind: 'remove' }, ['master-3', 'master-2']],
  ])('%s: which keys end', (_, verb, ids) => {
    expect(endedBy(verb, CLIENT).map(({ id }) => id)).toEqual(ids);
  });

  it('wants a word more where the sidecar would refuse', () => {
    const verbs: KeyVerb[] = [
      ...[rotate('grace'), rotate('at-once'), rotate('leaked')],
      ...[false, true].map((leaked) => ({ kind: 'revoke', id: 'master-3', leaked }) as const),
      ...([{ kind: 'rollback' }, { kind: 'disable' }, { kind: 'remove' }] as const),
    ];
    expect(verbs.map(wantsForce)).toEqual([false, true, false, true, false, false, false, true]);
    const idle = { recentCallers: 0, inFlight: 0 };
    expect(isInUse(generation(idle))).toBe(false);
    expect(isInUse(generation({ ...idle, inFlight: 1 }))).toBe(true);
    expect(isInUse(generation({ ...idle, recentCallers: 1 }))).toBe(true);
  });

  it('names the grace of a rotation, and the keys that keep their ends', () => {
    expect(whatWillHappen(rotate('grace'), CLIENT, GRACES)).toEqual([
      'A new key of master is made, and is good at once.',
      'master-3 stays good for 1d after the new key is first used with success, and for 30d at most.',
      'master-2 keeps the end it has.',
    ]);
  });

  it.each([
    ...[...['0', '0s', '00h', ' 0 '].map((grace) => ['grace', grace, 'at-once'] as const)],
    ...[...['', '10s', '1d', '0x', '00'].map((grace) => ['grace', grace, 'grace'] as const)],
    ...[['leaked', '0', 'leaked'] as const, ['at-once', '7d', 'at-once'] as const],
  ])('takes %s with “%s” for %s', (chosen, grace, ending) => {
    expect(endingOf(chosen, grace)).toBe(ending);
    const said = whatWillHappen(rotate(endingOf(chosen, grace)), CLIENT, { ...GRACES, grace });
    expect(said.includes('master-3 ends at once.')).toBe(ending === 'at-once');
  });

  it('counts what a leaked key has under way', () => {
    expect(whatWillHappen(rotate('leaked'), CLIENT, GRACES)).toEqual([
      'A new key of master is made, and is good at once.',
      'Every older key is revoked at once: master-3, master-2.',
      '3 requests under way, streams included, are cut.',
      'There is no way back: no rollback goes behind this.',
    ]);
  });

  it('names where the new key is written, and that a disabled client stays so', () => {
    const target = { target: 'file:/run/keys/master', state: 'published' } as const;
    const publish = [{ ...target, error: null, nextTryAt: null }];
    const said = whatWillHappen(rotate('grace'), { ...CLIENT, publish, state: 'disabled' }, GRACES);
    expect(said.slice(-2)).toEqual([
      'It is written to file:/run/keys/master.',
      'master stays disabled: no key of it is taken.',
    ]);
  });

  it('says of a rollback which key comes back, and which is lost', () => {
    expect(whatWillHappen({ kind: 'rollback' }, CLIENT, GRACES)).toEqual([
      'master-2 is the key of master again.',
      'master-3 is revoked at once, for good.',
      'The sidecar does not keep the key of master-2: only those who hold it have it.',
    ]);
  });

  it('says that a client is left without a key', () => {
    const verb = { kind: 'revoke', id: 'master-3', leaked: false } as const;
    expect(whatWillHappen(verb, CLIENT, GRACES)).toContain(
      'It is the active key: master has none then, until it is rotated.',
    );
  });
});

it('names a rotation after the newest key, also where that was rolled back', () => {
  expect(rotationKeyOf(CLIENT)).toBe('console-rotate-master-3');
  const rolledBack = [generation({ id: 'master-4', state: 'revoked' }), generation()];
  expect(rotationKeyOf({ ...CLIENT, generations: rolledBack })).toBe('console-rotate-master-4');
  expect(rotationKeyOf({ ...CLIENT, generations: [] })).toBe('console-rotate-master');
});

describe('the line of time', () => {
  const at = (line: ReturnType<typeof timelineOf>, percent: number): number =>
    line.from + ((line.to - line.from) * percent) / 100;
  const minute = (ms: number): number => Math.round(ms / 60_000);

  it('goes from the first making to the last deadline, with a margin', () => {
    const line = timelineOf(CLIENT.generations, NOW);
    const [active, old] = line.rows;
    expect(minute(at(line, active?.from ?? 0))).toBe(minute(NOW - 2 * HOUR));
    expect(minute(at(line, active?.to ?? 0))).toBe(minute(NOW));
    expect(active?.ahead).toBeUndefined();
    expect(minute(at(line, old?.from ?? 0))).toBe(minute(NOW - 32 * DAY));
    expect(minute(at(line, old?.to ?? 0))).toBe(minute(NOW));
    expect(minute(at(line, old?.ahead ?? 0))).toBe(minute(Date.parse(ahead(23 * HOUR + 600_000))));
    expect(old?.from).toBeGreaterThan(1);
    expect(old?.ahead).toBeLessThan(99);
  });

  it('ends a key that has ended where it ended, and marks its uses', () => {
    const line = timelineOf([REVOKED], NOW);
    const [row] = line.rows;
    expect(minute(at(line, row?.to ?? 0))).toBe(minute(NOW - DAY));
    expect(minute(at(line, row?.firstUsed ?? 0))).toBe(
      minute(Date.parse(REVOKED.firstUsedAt ?? '')),
    );
    expect(timelineOf([generation({ firstUsedAt: null })], NOW).rows[0]?.firstUsed).toBeUndefined();
  });

  it('is there for a client without keys, and for one that was made this second', () => {
    expect(timelineOf([], NOW).now).toBeCloseTo(98, 0);
    const { from, to } = timelineOf([generation({ createdAt: ago(0) })], NOW);
    expect(to - from).toBeGreaterThanOrEqual(600_000);
  });
});

describe('the form of a client', () => {
  it('sends what was written, as it was written', () => {
    const fields = {
      ...EMPTY_FIELDS,
      ...{ name: ' ci ', expires: '90d', allowFrom: '10.0.0.0/8, 192.0.2.7', models: 'gpt-4o*' },
      ...{ rpm: '1.5k', mode: 'record' as const },
    };
    expect(newClientOf(fields)).toEqual({
      ...{ name: 'ci', scopes: ['inference'], expires: '90d', models: ['gpt-4o*'] },
      ...{ allowFrom: ['10.0.0.0/8', '192.0.2.7'], namesEndUsers: false },
      limits: { rpm: '1.5k', mode: 'record' },
    });
    expect(newClientOf({ ...EMPTY_FIELDS, name: 'ci' })).not.toHaveProperty('limits');
  });

  const limits = {
    rpm: 60,
    parallel: null,
    tokensPerDay: null,
    usdPerDay: 5,
    mode: 'refuse',
  } as const;
  const before = fieldsOf(client({ limits, models: ['a'], allowFrom: ['10.0.0.0/8'] }));

  it('sends of a change that alone which differs', () => {
    expect(changesOf(before, before)).toEqual({});
    expect(changesOf(before, { ...before, rpm: '' })).toEqual({ limits: { rpm: null } });
    const cleared = { ...before, rpm: '', usdPerDay: ' ' };
    const none = { rpm: null, usdPerDay: null };
    expect(changesOf(before, cleared)).toEqual({ limits: none });
    expect(changesOf(before, { ...cleared, mode: 'record' })).toEqual({ limits: none });
    expect(changesOf(before, { ...before, mode: 'record' })).toEqual({
      limits: { mode: 'record' },
    });
    expect(changesOf(before, { ...before, models: '', allowFrom: '10.0.0.0/8 ' })).toEqual({
      models: [],
    });
    expect(changesOf(before, { ...before, expires: 'never' })).toEqual({ expires: null });
    expect(changesOf(before, { ...before, expires: '90d', namesEndUsers: true })).toEqual({
      ...{ expires: '90d', namesEndUsers: true },
    });
  });
});
