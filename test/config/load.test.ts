import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConfigPlaces, loadConfig, parseDotenv } from '../../src/config/load.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-config-'));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const UPSTREAM = { SIDECAR_UPSTREAM: 'http://litellm:4000' };
const load = (env: ConfigPlaces['env'] = {}) => loadConfig({ env: { ...UPSTREAM, ...env }, cwd });
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(cwd, name), content);
  return join(cwd, name);
};

function good(env?: ConfigPlaces['env']) {
  const loaded = load(env);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.mistakes));
  return loaded;
}

function mistakesOf(env?: ConfigPlaces['env']) {
  const loaded = load(env);
  return loaded.ok ? [] : loaded.mistakes;
}

describe('.env', () => {
  it('names publish targets that start where the sidecar was started', () => {
    write('.env', 'SIDECAR_PUBLISH="file:./key,dotenv:.env#API_KEY"');
    expect(good().config.publish.map(({ path }) => path)).toEqual([
      join(cwd, 'key'),
      join(cwd, '.env'),
    ]);
  });

  it('may be missing', () => {
    const loaded = good({ NOT_SET: undefined });
    expect(loaded.config.declaredKey).toBeUndefined();
    expect(loaded.envFile).toBe(join(cwd, '.env'));
  });

  it('is read beside the environment, which wins', () => {
    write('.env', 'SIDECAR_PORT=1\nSIDECAR_OPS_PORT=2\nLITELLM_MASTER_KEY=sk-from-dotenv\n');
    const { config, origins } = good({ SIDECAR_PORT: '3', LITELLM_MASTER_KEY: 'sk-from-env' });
    expect([config.port, config.opsPort]).toEqual([3, 2]);
    expect(config.declaredKey?.reveal()).toBe('sk-from-dotenv');
    expect(origins).toMatchObject({ port: 'environment', opsPort: '.env', declaredKey: '.env' });
  });

  it('may have a byte order mark, as editors on Windows leave it', () => {
    write('.env', '\uFEFFSIDECAR_PORT=1\r\n');
    expect(good().config.port).toBe(1);
  });

  it('is the file that SIDECAR_ENV_FILE names, or the caller', () => {
    write('a.env', 'SIDECAR_PORT=1');
    write('b.env', 'SIDECAR_PORT=2');
    const named = good({ SIDECAR_ENV_FILE: 'a.env' });
    expect([named.config.port, named.envFile]).toEqual([1, join(cwd, 'a.env')]);
    const env = { ...UPSTREAM, SIDECAR_ENV_FILE: 'a.env' };
    const given = loadConfig({ env, cwd, envFile: join(cwd, 'b.env') });
    expect(given).toMatchObject({ ok: true, config: { port: 2 }, envFile: join(cwd, 'b.env') });
    expect(good({ SIDECAR_ENV_FILE: 'missing.env' }).config.port).toBe(4000);
  });

  it('may not be a folder', () => {
    mkdirSync(join(cwd, '.env'));
    expect(mistakesOf()).toEqual([
      {
        name: '.env',
        found: `${join(cwd, '.env')}: it is a folder`,
        allowed: 'a text file in UTF-8, or nothing at all',
        hint: 'docker makes a folder where a file that it shall mount is missing: remove it',
      },
    ]);
  });

  it('may not be anything but UTF-8', () => {
    write('.env', Buffer.from('SIDECAR_STATE=/gr\xfc\xdfe', 'latin1'));
    expect(mistakesOf().map(({ name, found }) => [name, found])).toEqual([
      ['.env', `${join(cwd, '.env')}: it is not UTF-8`],
    ]);
  });

  it('may not lie below a file', () => {
    write('file', '');
    expect(mistakesOf({ SIDECAR_ENV_FILE: 'file/.env' }).map(({ found }) => found)).toEqual([
      `${join(cwd, 'file/.env')}: it cannot be read (ENOTDIR)`,
    ]);
  });

  it('may not be without an end', () => {
    expect(mistakesOf({ SIDECAR_ENV_FILE: '/dev/zero' }).map(({ found }) => found)).toEqual([
      '/dev/zero: it is larger than 1MiB',
    ]);
  });

  it('adds its mistakes to the others', () => {
    write('.env', 'SIDECAR_PORT 1\nSIDECAR_HOLD=5\n');
    expect(mistakesOf({ SIDECAR_TYPO: 'x' }).map(({ name }) => name)).toEqual([
      'SIDECAR_PORT',
      'SIDECAR_HOLD',
      'SIDECAR_TYPO',
    ]);
  });

  it('says once that a line sets nothing, not also that the setting is missing', () => {
    write('.env', 'SIDECAR_UPSTREAM http://litellm:4000\n');
    expect(mistakesOf({ SIDECAR_UPSTREAM: '' }).map(({ found }) => found)).toEqual([
      'line 1 of .env, which sets nothing',
    ]);
  });

  it('hands on its warnings', () => {
    write('.env', 'LITELLM_MASTER_KEY=sk-one-two#three\n');
    expect(good({ LITELLM_MASTER_KEY: 'sk-other' }).warnings).toEqual([
      'LITELLM_MASTER_KEY in .env ends before a #: put the value in quotes to keep it',
      'LITELLM_MASTER_KEY stands in environment with another value: .env counts',
    ]);
  });
});

describe('a key file', () => {
  it('is read, trimmed, and named as the origin', () => {
    const path = write('master.key', ' sk-from-file\r\n\n');
    write('.env', 'LITELLM_MASTER_KEY=sk-from-dotenv\n');
    const { config, origins, warnings } = good({ LITELLM_MASTER_KEY_FILE: path });
    expect(config.declaredKey?.reveal()).toBe('sk-from-file');
    expect(origins.declaredKey).toBe(path);
    expect(warnings).toEqual([
      `LITELLM_MASTER_KEY stands in .env with another value: ${path} counts`,
    ]);
  });

  it('is looked for where the sidecar was started', () => {
    const path = write('up.key', 'sk-up');
    const { config, origins } = good({ SIDECAR_UPSTREAM_KEY_FILE: './up.key' });
    expect(config.upstreamKey?.reveal()).toBe('sk-up');
    expect(origins.upstreamKey).toBe(path);
  });

  it.each([
    ['missing', undefined, 'it is not there'],
    ['empty', '', 'it is empty'],
    ['blank', ' \n\n', 'it is empty'],
    ['not UTF-8', Buffer.from([0x73, 0x6b, 0xff]), 'it is not UTF-8'],
  ])('may not be %s', (_what, content, fault) => {
    if (content !== undefined) write('master.key', content);
    expect(mistakesOf({ LITELLM_MASTER_KEY_FILE: './master.key' })).toEqual([
      {
        name: 'LITELLM_MASTER_KEY_FILE',
        found: `./master.key (environment): ${fault}`,
        allowed: 'the path of a file that holds the key, in UTF-8',
      },
    ]);
  });

  it('may not be a folder', () => {
    expect(mistakesOf({ SIDECAR_UPSTREAM_KEY_FILE: cwd }).map(({ found }) => found)).toEqual([
      `${cwd} (environment): it is a folder`,
    ]);
  });

  it('with what no header may hold is a mistake of the key, and the key is not shown', () => {
    const path = write('up.key', 'sk-line-one\nsk-line-two\n');
    const mistakes = mistakesOf({ SIDECAR_UPSTREAM_KEY_FILE: path });
    expect(mistakes.map(({ name, found }) => [name, found])).toEqual([
      ['SIDECAR_UPSTREAM_KEY', `a value that is not shown (${path})`],
    ]);
  });

  it('is not shown where a key stands in the place of its name', () => {
    const mistakes = mistakesOf({ LITELLM_MASTER_KEY_FILE: 'Yh7dKw0qLz' });
    expect(mistakes).toEqual([
      {
        name: 'LITELLM_MASTER_KEY_FILE',
        found: 'a value (environment): it is not there',
        allowed: 'the path of a file that holds the key, in UTF-8',
        hint: 'it names a file, such as ./master.key; a key itself goes elsewhere',
      },
    ]);
  });
});

describe('the text of a .env', () => {
  it('is read as dotenv reads it', () => {
    const text = `# a comment
export SIDECAR_PORT=4100\r
SIDECAR_HOLD = "5s"  # quoted
OPENAI_API_KEY='a#b'
SIDECAR_HOST: 127.0.0.1
SIDECAR_STATE=$HOME/state
`;
    const { source, mistakes, warnings } = parseDotenv(text);
    expect(source).toEqual({
      name: '.env',
      values: {
        SIDECAR_PORT: '4100',
        SIDECAR_HOLD: '5s',
        OPENAI_API_KEY: 'a#b',
        SIDECAR_HOST: '127.0.0.1',
        SIDECAR_STATE: '$HOME/state',
      },
    });
    expect([mistakes, warnings]).toEqual([[], []]);
  });

  it.each(['SIDECAR_PORT 4100', 'SIDECAR_PORT', 'SIDECAR_PORT:4100', 'export SIDECAR_PORT  '])(
    'has no line that sets nothing: %j',
    (line) => {
      expect(parseDotenv(`A=b\r\n${line}\r\nC=d`).mistakes).toEqual([
        {
          name: 'SIDECAR_PORT',
          found: 'line 2 of .env, which sets nothing',
          allowed: 'SIDECAR_PORT=value',
        },
      ]);
    },
  );

  it('leaves the lines of others alone', () => {
    expect(parseDotenv('OPENAI_API_KEY sk-x\nsome prose\nOPENAI_KEY=a#b')).toMatchObject({
      mistakes: [],
      warnings: [],
    });
  });

  it.each(['LITELLM_MASTER_KEY=sk-abc#def', 'export LITELLM_MASTER_KEY = sk-abc#def'])(
    'is warned about where a value is cut at a #, without the value: %s',
    (line) => {
      expect(parseDotenv(line).warnings).toEqual([
        'LITELLM_MASTER_KEY in .env ends before a #: put the value in quotes to keep it',
      ]);
    },
  );

  it.each([
    'LITELLM_MASTER_KEY="sk-abc#def"',
    "LITELLM_MASTER_KEY='sk-abc#def'",
    'LITELLM_MASTER_KEY=sk-abc # a comment',
    'LITELLM_MASTER_KEY= # a comment',
    '# LITELLM_MASTER_KEY=sk-abc#def',
  ])('is not where it is meant: %s', (line) => {
    expect(parseDotenv(line).warnings).toEqual([]);
  });
});
