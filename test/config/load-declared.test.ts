import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ConfigPlaces,
  loadConfig,
  openDeclaredPlaces,
  openUpstreamKeyPlaces,
} from '../../src/config/load.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'declared-'));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(cwd, name), content);
  return join(cwd, name);
};
const open = (env: ConfigPlaces['env'] = {}) => openDeclaredPlaces({ env, cwd });
type Places = ReturnType<typeof open>;

/** With the key in plain, so that it can be compared. */
const readFrom = async (places: Places) => {
  const reading = await places.read();
  if ('fault' in reading) return reading;
  return reading.value && { ...reading.value, key: reading.value.key.reveal() };
};
const read = (env?: ConfigPlaces['env']) => readFrom(open(env));

describe('the declared key, read anew', () => {
  it('is nothing where nothing is declared', async () => {
    expect(await read({ LITELLM_MASTER_KEY: '  ' })).toBeUndefined();
    write('.env', 'LITELLM_MASTER_KEY=\nLITELLM_MASTER_KEY_FILE=\n');
    expect(await read()).toBeUndefined();
  });

  it('comes from its file, then from .env, then from the environment', async () => {
    const env = { LITELLM_MASTER_KEY: 'sk-environment' };
    expect(await read(env)).toEqual({
      source: 'environment',
      where: 'LITELLM_MASTER_KEY in the environment',
      key: 'sk-environment',
    });
    const dotenv = write('.env', '\uFEFFLITELLM_MASTER_KEY="sk-dotenv" # mine\r\n');
    const inDotenv = {
      source: 'dotenv',
      where: `LITELLM_MASTER_KEY in ${dotenv}`,
      key: 'sk-dotenv',
    };
    expect(await read(env)).toEqual(inDotenv);
    const path = write('master.key', ' sk-file\n\n');
    const inFile = {
      source: 'file',
      where: `the file ${path}, which LITELLM_MASTER_KEY_FILE names`,
      key: 'sk-file',
    };
    expect(await read({ LITELLM_MASTER_KEY_FILE: 'master.key' })).toEqual(inFile);
    // An empty name is none, as compose hands on empty variables.
    expect(await read({ ...env, LITELLM_MASTER_KEY_FILE: '' })).toEqual(inDotenv);
  });

  it('follows the files between two readings', async () => {
    const places = open({ LITELLM_MASTER_KEY: 'sk-environment' });
    const dotenv = join(cwd, '.env');
    expect(await readFrom(places)).toMatchObject({ key: 'sk-environment' });
    write('.env', 'LITELLM_MASTER_KEY=sk-one');
    expect(await readFrom(places)).toMatchObject({ key: 'sk-one' });
    write('.env', 'LITELLM_MASTER_KEY_FILE=./k');
    write('k', 'sk-two');
    expect(await readFrom(places)).toMatchObject({ source: 'file', key: 'sk-two' });
    rmSync(dotenv);
    expect(await readFrom(places)).toMatchObject({ key: 'sk-environment' });
  });

  it('is read from the file that SIDECAR_ENV_FILE names, or the caller', async () => {
    write('a.env', 'LITELLM_MASTER_KEY=sk-a');
    write('b.env', 'LITELLM_MASTER_KEY=sk-b');
    const env = { SIDECAR_ENV_FILE: 'a.env' };
    expect(await read(env)).toMatchObject({ key: 'sk-a' });
    const given = openDeclaredPlaces({ env, cwd, envFile: join(cwd, 'b.env') });
    expect(await readFrom(given)).toMatchObject({ key: 'sk-b' });
  });

  it('does not mind malformed lines beside its own', async () => {
    write('.env', 'SIDECAR_PORT 4100\nSIDECAR_TYPO=x\n<<<<\nLITELLM_MASTER_KEY=sk-a\nA="b\n');
    expect(await read()).toMatchObject({ key: 'sk-a' });
  });
});

describe('a place that should have the key and cannot be read', () => {
  it.each([
    ['is missing', undefined, 'it is not there'],
    ['is empty', ' \n', 'it is empty'],
    ['is not UTF-8', Buffer.from([0x73, 0x6b, 0xff]), 'it is not UTF-8'],
    ['has no end', Buffer.alloc(1024 * 1024 + 1, 'x'), 'it is larger than 1MiB'],
  ])('is a fault: a key file that %s', async (_what, content, fault) => {
    if (content !== undefined) write('k', content);
    const env = { LITELLM_MASTER_KEY_FILE: './k' };
    write('.env', 'LITELLM_MASTER_KEY=sk-elsewhere');
    expect(await read(env)).toEqual({
      fault: `the file ${join(cwd, 'k')}, which LITELLM_MASTER_KEY_FILE names: ${fault}`,
    });
  });

  it('is a fault: a pipe that nobody writes to, and it is not waited for', async () => {
    execFileSync('mkfifo', [join(cwd, 'k')]);
    expect(await read({ LITELLM_MASTER_KEY_FILE: './k' })).toMatchObject({
      fault: expect.stringContaining('it is empty'),
    });
  });

  it.each([
    ['a folder', () => mkdirSync(join(cwd, '.env')), ': it is a folder'],
    ['no UTF-8', () => write('.env', Buffer.from([0xff])), ': it is not UTF-8'],
  ])('is a fault: a .env that is %s', async (_what, make, fault) => {
    make();
    expect(await read({ LITELLM_MASTER_KEY: 'sk-environment' })).toEqual({
      fault: `${join(cwd, '.env')}${fault}`,
    });
  });

  it.each(['LITELLM_MASTER_KEY', 'LITELLM_MASTER_KEY_FILE'])(
    'is a fault: a line for %s that sets nothing',
    async (name) => {
      write('.env', `A=b\n${name} sk-mistyped\n`);
      const reading = await read({ LITELLM_MASTER_KEY: 'sk-environment' });
      expect(reading).toEqual({
        fault: `${name}: line 2 of .env, which sets nothing; write ${name}=value`,
      });
    },
  );

  it('is a fault: the key beside the name of its file', async () => {
    write('.env', 'LITELLM_MASTER_KEY=sk-a\nLITELLM_MASTER_KEY_FILE=/k\n');
    expect(await read()).toEqual({
      fault: 'LITELLM_MASTER_KEY and LITELLM_MASTER_KEY_FILE both stand in .env: keep one of them',
    });
  });

  it('is a fault: a folder of .env that was there before', async () => {
    const folder = join(cwd, 'config');
    const env = { LITELLM_MASTER_KEY: 'sk-environment', SIDECAR_ENV_FILE: 'config/.env' };
    const places = open(env);
    for (let times = 0; times < 2; times++) {
      expect(await readFrom(places)).toMatchObject({ key: 'sk-environment' });
    }
    mkdirSync(folder);
    write('config/.env', 'LITELLM_MASTER_KEY=sk-a');
    expect(await readFrom(places)).toMatchObject({ key: 'sk-a' });
    rmSync(folder, { recursive: true });
    const gone = { fault: `${folder}, the folder of .env, is gone` };
    expect(await readFrom(places)).toEqual(gone);
    expect(await readFrom(places)).toEqual(gone);
    mkdirSync(folder);
    expect(await readFrom(places)).toMatchObject({ key: 'sk-environment' });
  });
});

describe('whatever is declared', () => {
  const text = fc.constantFrom(undefined, '', ' ', 'sk-one', 'sk-two', '"sk-three"', 'k', './k');
  const line = fc.tuple(fc.constantFrom('LITELLM_MASTER_KEY', 'LITELLM_MASTER_KEY_FILE'), text);

  it('is read as at the start', async () => {
    const declared = fc.record({
      env: fc.array(line, { maxLength: 3 }),
      dotenv: fc.array(line, { maxLength: 3 }),
      file: fc.constantFrom(undefined, '', 'sk-in-file\n'),
    });
    await fc.assert(
      fc.asyncProperty(declared, async ({ env, dotenv, file }) => {
        rmSync(join(cwd, 'k'), { force: true });
        if (file !== undefined) write('k', file);
        write('.env', dotenv.map(([name, value]) => `${name}=${value ?? ''}\n`).join(''));
        const surroundings = {
          env: { ...Object.fromEntries(env), SIDECAR_UPSTREAM: 'http://litellm:4000' },
          cwd,
        };
        const loaded = loadConfig(surroundings);
        const reading = await readFrom(openDeclaredPlaces(surroundings));
        if (loaded.ok) {
          const key = loaded.config.declaredKey?.reveal();
          expect(reading).toEqual(key === undefined ? undefined : expect.objectContaining({ key }));
        } else {
          expect(reading).toMatchObject({ fault: expect.any(String) });
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("the key of somebody else's LiteLLM, read anew", () => {
  const readUpstream = (env: ConfigPlaces['env'] = {}) =>
    readFrom(openUpstreamKeyPlaces({ env, cwd }));

  it('comes from its file, then from the environment, then from .env, as at the start', async () => {
    expect(await readUpstream({ LITELLM_MASTER_KEY: 'sk-of-the-clients' })).toBeUndefined();
    const dotenv = write('.env', 'SIDECAR_UPSTREAM_KEY=sk-dotenv\n');
    expect(await readUpstream()).toEqual({
      source: 'dotenv',
      where: `SIDECAR_UPSTREAM_KEY in ${dotenv}`,
      key: 'sk-dotenv',
    });
    const env = { SIDECAR_UPSTREAM_KEY: 'sk-environment' };
    expect(await readUpstream(env)).toMatchObject({ source: 'environment', key: 'sk-environment' });
    const path = write('up.key', 'sk-file\n');
    expect(await readUpstream({ SIDECAR_UPSTREAM_KEY_FILE: 'up.key' })).toEqual({
      source: 'file',
      where: `the file ${path}, which SIDECAR_UPSTREAM_KEY_FILE names`,
      key: 'sk-file',
    });
    write('up.key', '');
    expect(await readUpstream({ SIDECAR_UPSTREAM_KEY_FILE: 'up.key' })).toEqual({
      fault: `the file ${path}, which SIDECAR_UPSTREAM_KEY_FILE names: it is empty`,
    });
  });
});
