import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { createDisk } from '../../src/store/disk.ts';
import { readKeyFile, readOrMakeKey, writeKeyFile } from '../../src/store/key-files.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'key-file-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('a key file', () => {
  it('is made where there is none, for its owner alone', async () => {
    const path = join(folder, 'state', 'keys', 'master');
    const { key, made } = await readOrMakeKey(path, () => 'sk-made');
    expect({ made, key: key.reveal() }).toEqual({ made: true, key: 'sk-made' });
    expect(await readFile(path, 'utf8')).toBe('sk-made\n');
    expect(await mode(path)).toBe(0o600);
    expect(await mode(join(folder, 'state', 'keys'))).toBe(0o700);
    expect(await readdir(join(folder, 'state', 'keys'))).toEqual(['master']);
  });

  it('is read again by the next start, whatever stands around the key', async () => {
    const path = join(folder, 'master');
    const first = await readOrMakeKey(path, generateKey);
    const second = await readOrMakeKey(path, generateKey);
    expect(second.made).toBe(false);
    expect(second.key.reveal()).toBe(first.key.reveal());
    await writeFile(path, '\n  sk-edited \r\n');
    expect((await readOrMakeKey(path, generateKey)).key.reveal()).toBe('sk-edited');
  });

  it.each(['', '\n', ' \n\n'])('that holds %j is an error, not a new key', async (content) => {
    const path = join(folder, 'master');
    await writeFile(path, content);
    await expect(readOrMakeKey(path, generateKey)).rejects.toThrow(RangeError);
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  it('that cannot be read or written is an error, and leaves nothing behind', async () => {
    await mkdir(join(folder, 'is-a-folder'));
    await expect(readOrMakeKey(join(folder, 'is-a-folder'), generateKey)).rejects.toMatchObject({
      code: 'EISDIR',
    });
    await writeFile(join(folder, 'is-a-file'), '');
    const below = join(folder, 'is-a-file', 'master');
    await expect(readOrMakeKey(below, generateKey)).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect((await readdir(folder)).sort()).toEqual(['is-a-file', 'is-a-folder']);
  });

  it('is whole or not there where its writing fails', async () => {
    const path = join(folder, 'x'.repeat(240));
    // The name of the file beside it, from which it is renamed, is longer than a name may be.
    await expect(readOrMakeKey(path, generateKey)).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a client's key file", () => {
  it('is written over and over, its folder made, and read back', async () => {
    const path = join(folder, 'keys', 'staging');
    expect(await readKeyFile(path)).toBeUndefined();
    for (const text of ['sk-one', 'sk-two']) {
      await writeKeyFile(path, new Secret(text), createDisk());
      expect((await readKeyFile(path))?.reveal()).toBe(text);
    }
    expect([await mode(path), await mode(join(folder, 'keys'))]).toEqual([0o600, 0o700]);
    expect(await readdir(join(folder, 'keys'))).toEqual(['staging']);
  });

  it('that is empty holds none', async () => {
    const path = join(folder, 'master');
    await writeFile(path, ' \n');
    expect(await readKeyFile(path)).toBeUndefined();
    await expect(readKeyFile(folder)).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it('is the old one, whole, where the process ends before the rename', async () => {
    const path = join(folder, 'master');
    await writeKeyFile(path, new Secret('sk-old'), createDisk());
    const fault = (step: string): void => {
      if (step === 'rename master') throw new Error('ended');
    };
    const ended = writeKeyFile(path, new Secret('sk-new'), createDisk({ fault }));
    await expect(ended).rejects.toThrow('ended');
    expect((await readKeyFile(path))?.reveal()).toBe('sk-old');
  });
});
