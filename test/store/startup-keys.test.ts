import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isWellFormedKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { StartupError } from '../../src/startup-error.ts';
import {
  checkDeclared,
  clientKeyPath,
  madeKeyPath,
  makeStateFolder,
  readUpstreamKey,
  slotKeyPath,
} from '../../src/store/key-files.ts';

let state = '';
beforeEach(async () => {
  state = join(await mkdtemp(join(tmpdir(), 'startup-')), 'state');
});
afterEach(async () => {
  await rm(dirname(state), { recursive: true, force: true });
});

type Keys = Omit<Parameters<typeof readUpstreamKey>[0], 'state'>;
const upstream = (keys: Partial<Keys>) =>
  readUpstreamKey({
    ...{ state, declaredKey: undefined, upstreamKey: undefined, slots: undefined },
    ...keys,
  });

const failure = async (failing: Promise<unknown> | (() => unknown)): Promise<StartupError> => {
  const work = async (): Promise<unknown> =>
    typeof failing === 'function' ? failing() : await failing;
  const error: unknown = await work().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartupError);
  return error as StartupError;
};

describe('the key that LiteLLM runs with', () => {
  it('is made where a launcher reads slots, and is the same at each start', async () => {
    const { key, warnings } = await upstream({
      slots: '/slots',
      upstreamKey: new Secret('sk-not-this-one'),
    });
    expect(isWellFormedKey(key.reveal())).toBe(true);
    expect((await readFile(slotKeyPath(state, 'a'), 'utf8')).trim()).toBe(key.reveal());
    expect((await upstream({ slots: '/slots' })).key.reveal()).toBe(key.reveal());
    expect(warnings).toEqual([]);
  });

  it('is the one that was set, and nothing is written', async () => {
    const declaredKey = new Secret('sk-declared');
    const { key, warnings } = await upstream({ upstreamKey: new Secret('sk-own'), declaredKey });
    expect([key.reveal(), warnings]).toEqual(['sk-own', []]);
    await expect(stat(state)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('may be the key of the clients, with a warning that does not hold it', async () => {
    const declaredKey = new Secret('a8Fj3k2L9sdfL3kQ7z');
    const { key, warnings } = await upstream({ declaredKey });
    expect(key).toBe(declaredKey);
    expect(warnings).toEqual([expect.stringContaining('the key that clients hold')]);
    expect(warnings.join()).not.toContain(declaredKey.reveal());
  });

  it('must be said by something', async () => {
    const { kind, hint } = await failure(upstream({}));
    expect(kind).toBe('configuration');
    expect(hint).toContain('SIDECAR_UPSTREAM_KEY');
  });

  it('is not made anew where its file is empty', async () => {
    await mkdir(join(state, 'upstream'), { recursive: true });
    await writeFile(slotKeyPath(state, 'a'), '\n');
    const { kind, message } = await failure(upstream({ slots: '/slots' }));
    expect(kind).toBe('state');
    expect(message).toContain('is empty');
  });

  it('is printed by nothing that prints it', async () => {
    const keys = await upstream({ upstreamKey: new Secret('sk-litellm-runs-with-this') });
    const printed = [inspect(keys, { depth: 9 }), JSON.stringify(keys), `${keys.key}`].join();
    expect(printed).not.toContain('runs-with-this');
    expect(printed).toContain('[secret]');
  });
});

describe('a declared key', () => {
  it('is refused where everybody knows it', async () => {
    const error = await failure(() => checkDeclared(new Secret('sk-1234')));
    expect(error.kind).toBe('configuration');
    expect(error.message).toContain('everybody knows');
    expect(error.message).not.toContain('1234');
    expect(error.hint).toContain('sidecar key new');
  });

  it('is warned about where it is short, and not where it is long', () => {
    expect(checkDeclared(new Secret('a8Fj3k2L9sdfL3kQ7z'))).toEqual({
      warning: expect.stringMatching(/^LITELLM_MASTER_KEY: .*18 characters/),
    });
    expect(checkDeclared(new Secret('a8Fj3k2L9sdfL3kQ7za8Fj3k2L9sdfL3kQ7z'))).toEqual({});
  });
});

describe('the state folder', () => {
  it('is made for its owner alone, and may be there', async () => {
    await makeStateFolder(join(state, 'deeper'));
    await makeStateFolder(join(state, 'deeper'));
    expect((await stat(join(state, 'deeper'))).mode & 0o777).toBe(0o700);
  });

  it('that cannot be one is an error with the way out', async () => {
    await writeFile(state, 'a file');
    const { kind, message, hint } = await failure(makeStateFolder(state));
    expect(kind).toBe('state');
    expect(message).toContain('the state folder cannot be used');
    expect(hint).toContain('SIDECAR_STATE');
    expect((await failure(upstream({ slots: '/slots' }))).kind).toBe('state');
  });

  it('holds a file for the newest key of each client', () => {
    expect(clientKeyPath('/state', 'staging')).toBe('/state/keys/staging');
    expect(madeKeyPath('/state')).toBe('/state/keys/master');
  });
});
