import { describe, expect, it } from 'vitest';
import { contradictions } from '../../src/config/checks.ts';
import { publishTargets } from '../../src/config/kinds.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/secret.ts';

const names = (config: Parameters<typeof contradictions>[0]): string[] =>
  contradictions(config).map(({ name }) => name);

describe('two listeners', () => {
  const both = { port: 4000, opsPort: 4000 };

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['127.0.0.1', '::'],
  ])('cannot share a port on %s and %s', (host, opsHost) => {
    expect(contradictions({ ...both, host, opsHost })).toEqual([
      {
        name: 'SIDECAR_OPS_PORT',
        found: '4000, as for SIDECAR_PORT',
        allowed: 'a port of its own',
      },
    ]);
  });

  it.each([
    { ...both, host: '127.0.0.1', opsHost: '127.0.0.2' },
    { host: '::', port: 4000, opsHost: '::', opsPort: 4001 },
    { host: '::', port: 0, opsHost: '::', opsPort: 0 },
    { ...both, host: '::' },
  ])('may be %j', (config) => {
    expect(names(config)).toEqual([]);
  });
});

describe('what is kept for second tries', () => {
  it.each([
    [1024, 1023, ['SIDECAR_REPLAY_TOTAL']],
    [1024, 1024, []],
    [1024, 0, []],
    [0, 0, []],
    [undefined, 1, []],
  ])('%s for one and %s in all', (replayBytes, replayTotalBytes, expected) => {
    expect(
      names({ ...(replayBytes === undefined ? {} : { replayBytes }), replayTotalBytes }),
    ).toEqual(expected);
  });
});

describe('two places for LiteLLM', () => {
  const upstreams = [new URL('http://a:4000'), new URL('http://a:4002')] as const;

  it('want the folder of the slots', () => {
    expect(names({ upstreams, slots: undefined })).toEqual(['SIDECAR_UPSTREAM']);
  });

  it('are right with it, and one place is right without', () => {
    expect(names({ upstreams, slots: '/slots' })).toEqual([]);
    expect(names({ upstreams: [upstreams[0]], slots: undefined })).toEqual([]);
    // What was wrong by itself is said already.
    expect(names({ upstreams })).toEqual([]);
  });
});

describe('a grace', () => {
  it('is at most the longest one', () => {
    expect(contradictions({ graceMs: 7_200_001, maxGraceMs: 7_200_000 })).toEqual([
      {
        name: 'SIDECAR_GRACE',
        found: '7200001ms',
        allowed: 'at most SIDECAR_MAX_GRACE, which is 2h',
      },
    ]);
    expect(names({ graceMs: 1000, maxGraceMs: 1000 })).toEqual([]);
    expect(names({ graceMs: 1000 })).toEqual([]);
  });
});

describe('a schedule', () => {
  const target = { client: 'master', kind: 'file', path: '/run/key', variable: '' } as const;

  it('wants somewhere to publish', () => {
    expect(contradictions({ rotateEveryMs: 3_600_000, publish: [] })).toEqual([
      {
        name: 'SIDECAR_ROTATE_EVERY',
        found: '1h, and no SIDECAR_PUBLISH',
        allowed: 'a schedule together with SIDECAR_PUBLISH',
        hint:
          'a schedule that nobody hears of is a time bomb: publish the key with ' +
          'SIDECAR_PUBLISH=file:… or rotate by hand',
      },
    ]);
  });

  it('is right with it, and none is right without', () => {
    expect(names({ rotateEveryMs: 3_600_000, publish: [target] })).toEqual([]);
    expect(names({ rotateEveryMs: 0, publish: [] })).toEqual([]);
    // What was wrong by itself is said already.
    expect(names({ rotateEveryMs: 3_600_000 })).toEqual([]);
  });
});

describe('one LiteLLM after the other', () => {
  const upstreams = [new URL('http://a:4000'), new URL('http://a:4002')] as const;
  const both = { upstreams, slots: '/slots' };

  it('wants both slots for a schedule', () => {
    const every = { upstreamRotateEveryMs: 3_600_000 };
    expect(contradictions({ ...every, upstreams: [upstreams[0]], slots: '/slots' })).toEqual([
      {
        name: 'SIDECAR_UPSTREAM_ROTATE_EVERY',
        found: '1h, and no second slot',
        allowed: 'a schedule together with SIDECAR_SLOTS and two places in SIDECAR_UPSTREAM',
      },
    ]);
    expect(names({ ...every, ...both })).toEqual([]);
    expect(names({ ...every, upstreams: [upstreams[0]] })).toEqual([]);
    expect(
      names({ upstreamRotateEveryMs: 0, upstreams: [upstreams[0]], slots: undefined }),
    ).toEqual([]);
  });

  it('wants both slots and a configuration for reloads by themselves', () => {
    const config = { autoReload: true, ...both };
    expect(names({ ...config, litellmConfig: undefined })).toEqual(['SIDECAR_AUTO_RELOAD']);
    expect(
      names({ ...config, upstreams: [upstreams[0]], litellmConfig: '/config/config.yaml' }),
    ).toEqual(['SIDECAR_AUTO_RELOAD']);
    expect(names({ ...config, litellmConfig: '/config/config.yaml' })).toEqual([]);
    expect(names({ ...config, autoReload: false, litellmConfig: undefined })).toEqual([]);
  });
});

describe('no state', () => {
  const none = { state: undefined, declaredKey: undefined, clientsFile: '/config/clients.yaml' };

  it('is right with a file of clients, or a declared key', () => {
    expect(names(none)).toEqual([]);
    const declared = { declaredKey: new Secret('sk-declared-by-these-tests-0123456789') };
    expect(names({ ...none, ...declared, clientsFile: undefined })).toEqual([]);
  });

  it('wants one of the two: a key that is made would be kept nowhere', () => {
    expect(contradictions({ ...none, clientsFile: undefined })).toMatchObject([
      {
        name: 'SIDECAR_STATE',
        found: 'none, and no client: neither LITELLM_MASTER_KEY nor SIDECAR_CLIENTS is set',
      },
    ]);
  });

  it('tells at once of all that wants a state, of each with the reason', () => {
    const publish = publishTargets.read('file:/run/master');
    if (!('value' in publish)) throw new Error('no target');
    const mistakes = contradictions({
      ...{ ...none, publish: publish.value, rotateEveryMs: 86_400_000 },
      ...{ upstreams: [new URL('http://a:4000')], slots: '/slots', reports: '/reports' },
      ...{ litellmConfig: '/config', upstreamRotateEveryMs: 86_400_000, autoReload: true },
    });
    expect(mistakes.map(({ name, found }) => `${name}: ${found}`)).toEqual([
      'SIDECAR_PUBLISH: file:/run/master, beside SIDECAR_STATE=none',
      'SIDECAR_ROTATE_EVERY: 1d, beside SIDECAR_STATE=none',
      'SIDECAR_SLOTS: /slots, beside SIDECAR_STATE=none',
      'SIDECAR_REPORTS: /reports, beside SIDECAR_STATE=none',
      'SIDECAR_UPSTREAM_ROTATE_EVERY: 1d, beside SIDECAR_STATE=none',
      'SIDECAR_AUTO_RELOAD: true, beside SIDECAR_STATE=none',
    ]);
    expect(mistakes.every(({ hint = '' }) => hint.length > 20)).toBe(true);
  });

  it('is fine with the defaults of all of these', () => {
    const loaded = loadConfig({
      env: { SIDECAR_UPSTREAM: 'http://a:4000', SIDECAR_STATE: 'none', SIDECAR_CLIENTS: './c' },
      cwd: '/srv',
    });
    expect(loaded).toMatchObject({ ok: true, state: undefined, config: { state: undefined } });
  });
});

const mistakesOf = (text: string, state = './state', cwd = '/srv') => {
  const targets = publishTargets.read(text);
  if (!('value' in targets)) throw new Error(targets.hint);
  return contradictions({ publish: targets.value, state }, cwd).map(({ found }) => found);
};

describe('publish targets', () => {
  it.each([
    'file:/a,file:/b,dotenv:/c#A,dotenv:/c#B,ci=dotenv:/c#C',
    'file:/srv/state/master,file:/srv/state/published/keyring',
    'file:/srv/keys/master,file:/srv/statekeys/master',
    'dotenv:/srv/state/.env#KEY',
  ])('may be %s', (text) => {
    expect(mistakesOf(text)).toEqual([]);
  });

  it.each([
    ['file:/a,file:/a', 'file:/a, twice'],
    ['file:/srv/a,ci=file:./b/../a', 'file:/srv/a, twice'],
    ['dotenv:/a#K,dotenv:/a#L,ci=dotenv:/a#K', 'dotenv:/a#K, twice'],
    ['file:/a,dotenv:/a#K', 'dotenv:/a#K, which is another kind of target, too'],
    ['dotenv:/a#K,file:/a', 'file:/a, which is another kind of target, too'],
  ])('may not be %s', (text, found) => {
    expect(mistakesOf(text)).toEqual([found]);
  });

  it.each([
    'keys/master',
    'keys/sub/other',
    'upstream/a.key',
    'keyring.json',
    'keyring.json.bak',
    'audit.jsonl',
    'admin.sock',
    'usage.json',
  ])('may not be what the sidecar keeps for itself: %s', (name) => {
    const why = 'where the sidecar keeps what is its own (SIDECAR_STATE)';
    expect(mistakesOf(`file:/srv/state/${name}`)).toEqual([`file:/srv/state/${name}, ${why}`]);
    expect(mistakesOf(`file:./x/${name}`, '/srv/x')).toEqual([`file:/srv/x/${name}, ${why}`]);
  });

  it('are not judged by a state folder that was wrong itself', () => {
    const publish = [{ client: 'master', kind: 'file', path: '/keys/a', variable: '' }] as const;
    expect(contradictions({ publish }, '/')).toEqual([]);
    expect(contradictions({}, '/')).toEqual([]);
  });
});
