import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/parse.ts';
import { EVERY_SETTING } from '../../src/config/settings.ts';
import { DOTENV, ENVIRONMENT, type Source } from '../../src/config/sources.ts';

const environment = (values: Record<string, string>): Source => ({ name: ENVIRONMENT, values });
const dotenv = (values: Record<string, string>): Source => ({ name: DOTENV, values });
const keyFile = (name: string, values: Record<string, string>): Source => ({
  name,
  values,
  keyFile: true,
});

const UPSTREAM = { SIDECAR_UPSTREAM: 'http://litellm:4000' };

function good(...sources: readonly Source[]) {
  const parsed = parseConfig(sources);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.mistakes));
  return parsed;
}

function mistakesOf(...sources: readonly Source[]) {
  const parsed = parseConfig(sources);
  return parsed.ok ? [] : parsed.mistakes;
}

describe('a configuration', () => {
  it('is the defaults, where only the upstream is set', () => {
    const { config, origins, warnings } = good(environment(UPSTREAM));
    expect({ ...config, upstreams: config.upstreams.map(String) }).toEqual({
      host: '0.0.0.0',
      port: 4000,
      opsHost: '127.0.0.1',
      opsPort: 4001,
      state: './state',
      upstreams: ['http://litellm:4000/'],
      upstreamKey: undefined,
      declaredKey: undefined,
      slots: undefined,
      litellmConfig: undefined,
      reports: undefined,
      autoReload: false,
      upstreamRotateEveryMs: 0,
      handoverTimeoutMs: 300_000,
      probationMs: 90_000,
      saltKeySet: false,
      graceMs: 86_400_000,
      maxGraceMs: 30 * 86_400_000,
      rotateEveryMs: 0,
      publish: [],
      opsNames: [],
      litellmMetrics: false,
      adminToken: undefined,
      rootPath: '',
      publicUrl: undefined,
      keyHeader: undefined,
      keepProviderAuth: false,
      inferencePaths: [],
      denyPaths: [],
      allowPaths: [],
      managementAllowFrom: [],
      trustedProxies: [],
      failuresPerMinute: 20,
      corsOrigins: [],
      bodyLimit: 0,
      replayBytes: 1024 ** 2,
      replayTotalBytes: 64 * 1024 ** 2,
      holdMs: 30_000,
      holdMax: 1000,
      headersTimeoutMs: 30_000,
      keepAliveMs: 125_000,
      uploadIdleMs: 60_000,
      connectTimeoutMs: 5000,
      answerTimeoutMs: 0,
      usageKeepMs: 400 * 86_400_000,
      drainDelayMs: 5000,
      drainMs: 600_000,
      logLevel: 'info',
      logFormat: 'auto',
      logSample: 1,
      logSlowMs: 30_000,
      beginTraces: true,
    });
    expect(origins).toMatchObject({ upstreams: 'environment', port: 'default' });
    expect(warnings).toEqual([]);
  });

  it('takes each value from the first source that has one, and says which', () => {
    const { config, origins } = good(
      environment({ ...UPSTREAM, SIDECAR_PORT: '1', SIDECAR_HOLD: '  ', SIDECAR_DRAIN: '' }),
      dotenv({ SIDECAR_PORT: '2', SIDECAR_HOLD: '3s' }),
    );
    expect([config.port, config.holdMs, config.drainMs]).toEqual([1, 3000, 600_000]);
    expect([origins.port, origins.holdMs, origins.drainMs]).toEqual([
      ...['environment', '.env', 'default'],
    ]);
  });

  it('is trimmed', () => {
    expect(good(environment({ ...UPSTREAM, SIDECAR_PORT: ' 80\n' })).config.port).toBe(80);
  });
});

describe('the declared key', () => {
  const key = (n: number): Record<string, string> => ({ LITELLM_MASTER_KEY: `sk-number-${n}` });
  const path = '/run/secrets/key';
  const named = { LITELLM_MASTER_KEY_FILE: path };

  it.each([
    ['its file', [keyFile(path, key(1)), environment({ ...named }), dotenv(key(2))], 1, path],
    ['its file', [keyFile(path, key(1)), environment(key(3)), dotenv({ ...named })], 1, path],
    ['.env', [environment(key(3)), dotenv(key(2))], 2, '.env'],
    ['the environment', [environment(key(3)), dotenv({})], 3, 'environment'],
  ])('comes from %s first', (_where, sources, n, origin) => {
    const { config, origins } = good(...sources, environment(UPSTREAM));
    expect(config.declaredKey?.reveal()).toBe(`sk-number-${n}`);
    expect(origins.declaredKey).toBe(origin);
  });

  it('is warned about where another place declares another, without either', () => {
    const { warnings } = good(environment({ ...UPSTREAM, ...key(3) }), dotenv(key(2)));
    expect(warnings).toEqual([
      'LITELLM_MASTER_KEY stands in environment with another value: .env counts',
    ]);
    const same = good(environment({ ...UPSTREAM, ...key(2) }), dotenv(key(2)));
    expect(same.warnings).toEqual([]);
  });

  it('beside it, a setting of .env that the environment overrides is warned about', () => {
    const file = dotenv({ SIDECAR_HOLD: '10s', SIDECAR_DRAIN: '60s', SIDECAR_GRACE: '1h' });
    const { warnings } = good(
      environment({ ...UPSTREAM, SIDECAR_HOLD: '30s', SIDECAR_DRAIN: '60s' }),
      file,
    );
    expect(warnings).toEqual([
      "SIDECAR_HOLD in .env does not count: the environment (the compose file's, say) has another value",
    ]);
  });

  it('may not stand beside the name of its file', () => {
    const both = environment({ ...UPSTREAM, ...key(3), ...named });
    expect(mistakesOf(keyFile(path, key(1)), both)).toEqual([
      {
        name: 'LITELLM_MASTER_KEY',
        found: 'LITELLM_MASTER_KEY (environment) and LITELLM_MASTER_KEY_FILE (environment)',
        allowed: 'one of the two',
      },
    ]);
  });

  it('is not judged here', () => {
    const { config } = good(environment({ ...UPSTREAM, LITELLM_MASTER_KEY: 'sk-1234' }));
    expect(config.declaredKey?.reveal()).toBe('sk-1234');
  });
});

describe('any other secret', () => {
  it('may not stand beside the name of its file, wherever the two are', () => {
    const sources = [
      keyFile('/key', { SIDECAR_UPSTREAM_KEY: 'sk-a' }),
      environment({ ...UPSTREAM, SIDECAR_UPSTREAM_KEY: 'sk-b' }),
      dotenv({ SIDECAR_UPSTREAM_KEY_FILE: '/key' }),
    ];
    expect(mistakesOf(...sources).map(({ found }) => found)).toEqual([
      'SIDECAR_UPSTREAM_KEY (environment) and SIDECAR_UPSTREAM_KEY_FILE (.env)',
    ]);
  });
});

describe('publish targets', () => {
  it('are absolute: relative ones start where the sidecar was started', () => {
    const values = { ...UPSTREAM, SIDECAR_PUBLISH: 'file:keys/../a,ci=dotenv:/srv/.env#KEY' };
    const parsed = parseConfig([environment(values)], '/srv/app');
    expect(parsed).toMatchObject({
      config: {
        publish: [
          { client: 'master', kind: 'file', path: '/srv/app/a', variable: '' },
          { client: 'ci', kind: 'dotenv', path: '/srv/.env', variable: 'KEY' },
        ],
      },
    });
  });

  it('show no key in a mistake between them', () => {
    const twice = { ...UPSTREAM, SIDECAR_PUBLISH: 'file:/sk-topsecret,file:/sk-topsecret' };
    expect(mistakesOf(environment(twice)).map(({ found }) => found)).toEqual(['file:/sk-…, twice']);
  });
});

describe('a schedule', () => {
  const every = (text: string) =>
    good(environment({ ...UPSTREAM, SIDECAR_PUBLISH: 'file:/k', SIDECAR_ROTATE_EVERY: text }));

  it('shorter than the grace is warned about', () => {
    expect(every('23h').warnings).toEqual([
      'SIDECAR_ROTATE_EVERY (23h) is shorter than SIDECAR_GRACE (1d): several keys are in their ' +
        'grace at a time, and 8 are the most',
    ]);
    expect(every('1d').warnings).toEqual([]);
  });
});

describe('mistakes', () => {
  it('come all at once, in the order of the table, unknown names last', () => {
    const mistakes = mistakesOf(
      environment({
        SIDECAR_UPSTERAM: 'http://litellm:4000',
        SIDECAR_PORT: '70000',
        SIDECAR_HOLD: '5',
        SIDECAR_REPLAY_BYTES: '1M',
      }),
      dotenv({ SIDECAR_LOG_LEVEL: 'warning' }),
    );
    expect(mistakes).toEqual([
      {
        name: 'SIDECAR_UPSTREAM',
        found: 'nothing',
        allowed: expect.stringContaining('one http URL'),
        hint: 'such as http://litellm:4000',
      },
      {
        name: 'SIDECAR_PORT',
        found: '"70000" (environment)',
        allowed: 'a port from 1 to 65535, or 0 for a free one',
      },
      {
        name: 'SIDECAR_REPLAY_BYTES',
        found: '"1M" (environment)',
        allowed: expect.stringContaining('a size with its unit'),
        hint: 'did you mean 1MiB?',
      },
      {
        name: 'SIDECAR_HOLD',
        found: '"5" (environment)',
        allowed: expect.stringContaining('a duration with its unit'),
        hint: 'did you mean 5s?',
      },
      {
        name: 'SIDECAR_LOG_LEVEL',
        found: '"warning" (.env)',
        allowed: 'fatal, error, warn, info, debug, trace, silent',
        hint: 'did you mean warn?',
      },
      {
        name: 'SIDECAR_UPSTERAM',
        found: 'a name that is not known (environment)',
        allowed: 'the names in .env.example',
        hint: 'did you mean SIDECAR_UPSTREAM?',
      },
    ]);
  });

  it.each([
    ['a short upstream key', { SIDECAR_UPSTREAM_KEY: 'top \u0000' }],
    ['a bad upstream key', { SIDECAR_UPSTREAM_KEY: 'top secret\u0000value' }],
    ['a misspelt name', { SIDECAR_UPSTREAM_KYE: 'top secret\u0000value' }],
    ['a URL with a password', { SIDECAR_UPSTREAM: 'http://me:top secret\u0000value@litellm' }],
    ['a URL with a comma', { SIDECAR_UPSTREAM: 'http://me:top,secret\u0000value@litellm' }],
    ['the public URL', { SIDECAR_PUBLIC_URL: 'https://top:secret\u0000value@llm.example' }],
    ['a key where a port belongs', { SIDECAR_PORT: 'sk-top-secret\u0000value' }],
    ['a key in a path', { SIDECAR_ROOT_PATH: 'sk-topsecret\u0000value' }],
  ])('do not show %s', (_what, values) => {
    const mistakes = mistakesOf(environment({ ...UPSTREAM, ...values }));
    expect(mistakes).toHaveLength(1);
    expect(JSON.stringify(mistakes)).not.toMatch(/top|secret|\\u0000/);
  });
});

describe('whatever the sources hold', () => {
  const names = EVERY_SETTING.flatMap(({ name }) => [name, `${name}_FILE`, `${name}X`]);
  const name = fc.oneof(fc.constantFrom(...names), fc.string());
  const nasty = fc.constantFrom('0', '5', '1s', ',', '/', '/*', 'http://a', 'tcp://a', '::', 'sk-');
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), nasty);
  const values = fc.dictionary(name, text, { maxKeys: 12 });
  const source = fc.record({ name: fc.constantFrom(ENVIRONMENT, DOTENV, '/key'), values });

  it('there is a configuration or a list of mistakes, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.array(source, { maxLength: 3 }), (sources) => {
        const parsed = parseConfig(sources);
        if (parsed.ok) expect(parsed.config.upstreams.length).toBeGreaterThan(0);
        else expect(parsed.mistakes.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('no mistake holds a secret, even where it was put into other settings too', () => {
    // Letters that stand in no name, no hint and no phrase of ours.
    const secret = fc.string({ unit: fc.constantFrom(...'ЖЩЮЯ@,:/ '), minLength: 8 });
    const kept = secret.filter((each) => /[ЖЩЮЯ]{6}/.test(each));
    const field = fc.constantFrom(...EVERY_SETTING.map((each) => each.name));
    fc.assert(
      fc.property(kept, fc.array(field, { minLength: 1, maxLength: 6 }), (value, fields) => {
        const wrongly = Object.fromEntries(fields.map((each) => [each, `x${value.trim()}y`]));
        const declared = { SIDECAR_TYPO: value, ...wrongly, LITELLM_MASTER_KEY: value };
        const upstreamKey = { name: DOTENV, values: { SIDECAR_UPSTREAM_KEY: value } };
        const parsed = parseConfig([{ name: ENVIRONMENT, values: declared }, upstreamKey]);
        expect(parsed.ok).toBe(false);
        expect(JSON.stringify(parsed)).not.toMatch(/[ЖЩЮЯ]{6}/);
      }),
      { numRuns: 300 },
    );
  });
});
