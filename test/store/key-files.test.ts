import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { isWellFormedKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { StartupError } from '../../src/startup-error.ts';
import {
  checkDeclared,
  clientKeyPath,
  madeKeyPath,
  makeStateFolder,
  readKeyFile,
  readOrMakeKey,
  readUpstreamKey,
  slotKeyPath,
  writeKeyFile,
} from '../../src/store/key-files.ts';
import { failAt } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('key-files');
const state = (): string => join(folder(), 'state');

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('a key file', () => {
  it('is made where there is none, for its owner alone', async () => {
    const path = join(folder(), 'state', 'keys', 'master');
    const { key, made } = await readOrMakeKey(path);
    expect([made, isWellFormedKey(key.reveal())]).toEqual([true, true]);
    expect(await readFile(path, 'utf8')).toBe(`${key.reveal()}\n`);
    expect(await mode(path)).toBe(0o600);
    expect(await mode(join(folder(), 'state', 'keys'))).toBe(0o700);
    expect(await readdir(join(folder(), 'state', 'keys'))).toEqual(['master']);
  });

  it('is read again by the next start, whatever stands around the key', async () => {
    const path = join(folder(), 'master');
    const first = await readOrMakeKey(path);
    const second = await readOrMakeKey(path);
    expect(second.made).toBe(false);
    expect(second.key.reveal()).toBe(first.key.reveal());
    await writeFile(path, '\n  sk-edited \r\n');
    expect((await readOrMakeKey(path)).key.reveal()).toBe('sk-edited');
  });

  it.each(['', '\n', ' \n\n'])('that holds %j is an error, not a new key', async (content) => {
    const path = join(folder(), 'master');
    await writeFile(path, content);
    await expect(readOrMakeKey(path)).rejects.toThrow(RangeError);
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  it('that cannot be read or written is an error, and leaves nothing behind', async () => {
    await mkdir(join(folder(), 'is-a-folder'));
    await expect(readOrMakeKey(join(folder(), 'is-a-folder'))).rejects.toMatchObject({
      code: 'EISDIR',
    });
    await writeFile(join(folder(), 'is-a-file'), '');
    const below = join(folder(), 'is-a-file', 'master');
    await expect(readOrMakeKey(below)).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect((await readdir(folder())).sort()).toEqual(['is-a-file', 'is-a-folder']);
  });

  it('is whole or not there where its writing fails', async () => {
    const path = join(folder(), 'x'.repeat(240));
    // The name of the file beside it, from which it is renamed, is longer than a name may be.
    await expect(readOrMakeKey(path)).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
    expect(await readdir(folder())).toEqual([]);
  });
});

describe("a client's key file", () => {
  it('is written over and over, its folder made, and read back', async () => {
    const path = join(folder(), 'keys', 'staging');
    expect(await readKeyFile(path)).toBeUndefined();
    for (const text of ['sk-one', 'sk-two']) {
      await writeKeyFile(path, new Secret(text));
      expect((await readKeyFile(path))?.reveal()).toBe(text);
    }
    expect([await mode(path), await mode(join(folder(), 'keys'))]).toEqual([0o600, 0o700]);
    expect(await readdir(join(folder(), 'keys'))).toEqual(['staging']);
  });

  it('that is empty holds none', async () => {
    const path = join(folder(), 'master');
    await writeFile(path, ' \n');
    expect(await readKeyFile(path)).toBeUndefined();
    await expect(readKeyFile(folder())).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it('is the old one, whole, where the process ends before the rename', async () => {
    const path = join(folder(), 'master');
    await writeKeyFile(path, new Secret('sk-old'));
    failAt(folder(), 'rename master', 'ENDED');
    await expect(writeKeyFile(path, new Secret('sk-new'))).rejects.toThrow('ENDED');
    expect((await readKeyFile(path))?.reveal()).toBe('sk-old');
  });
});

type Keys = Omit<Parameters<typeof readUpstreamKey>[0], 'state'>;
const upstream = (keys: Partial<Keys>) =>
  readUpstreamKey({
    ...{ state: state(), declaredKey: undefined, upstreamKey: undefined, slots: undefined },
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
    expect((await readFile(slotKeyPath(state(), 'a'), 'utf8')).trim()).toBe(key.reveal());
    expect((await upstream({ slots: '/slots' })).key.reveal()).toBe(key.reveal());
    expect(warnings).toEqual([]);
  });

  it('is the one that was set, and nothing is written', async () => {
    const declaredKey = new Secret('sk-declared');
    const { key, warnings } = await upstream({ upstreamKey: new Secret('sk-own'), declaredKey });
    expect([key.reveal(), warnings]).toEqual(['sk-own', []]);
    await expect(stat(state())).rejects.toMatchObject({ code: 'ENOENT' });
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

  it.each([
    ['is empty', Buffer.from('\n'), 'is empty'],
    ['is not text', Buffer.from([0xff, 0xfe, 0x41]), 'it is not UTF-8'],
    ['is far too large', Buffer.alloc(2 * 1024 * 1024, 'x'), 'it is larger than 1MiB'],
  ])('is not made anew where its file %s', async (_, bytes, words) => {
    await mkdir(join(state(), 'upstream'), { recursive: true });
    await writeFile(slotKeyPath(state(), 'a'), bytes);
    const { kind, message, hint } = await failure(upstream({ slots: '/slots' }));
    expect(kind).toBe('state');
    expect(message).toContain(words);
    expect(message).toContain('a.key');
    expect(hint).toContain('delete the file');
  });

  it('is not read where its folder may not be', async () => {
    await mkdir(state(), { recursive: true });
    await writeFile(join(state(), 'upstream'), 'a file in the place of the folder');
    const { kind, hint } = await failure(upstream({ slots: '/slots' }));
    expect(kind).toBe('state');
    expect(hint).toContain('let the user that the sidecar runs as write');
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
    await makeStateFolder(join(state(), 'deeper'));
    await makeStateFolder(join(state(), 'deeper'));
    expect((await stat(join(state(), 'deeper'))).mode & 0o777).toBe(0o700);
  });

  it('that cannot be one is an error with the way out', async () => {
    await writeFile(state(), 'a file');
    const { kind, message, hint } = await failure(makeStateFolder(state()));
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
