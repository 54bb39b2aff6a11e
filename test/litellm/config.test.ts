import { once } from 'node:events';
import { chmod, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { ConfigTreeError, lookAtConfig } from '../../src/litellm/config.ts';
import { createSlots } from '../../src/litellm/slots.ts';
import { Secret } from '../../src/secret.ts';
import { eachInFolder, writeTree } from '../support/folder.ts';

const KEY = new Secret('sk-a-key-of-the-upstream');
const OTHER_KEY = new Secret('sk-another-key-of-the-upstream');
const isRoot = process.getuid?.() === 0;

const base = eachInFolder('config-tree');
let folder: string;

beforeEach(async () => {
  folder = join(base(), 'slots');
  await mkdir(folder);
});

const tree = (name: string, files: Record<string, string>): Promise<string> =>
  writeTree(join(base(), name), files);

describe('a configuration that cannot be used', () => {
  const refused = async (config: string): Promise<string> => {
    const slots = createSlots({ folder });
    await slots.place('a', { key: KEY, config: undefined });
    const before = (await stat(join(folder, 'a'))).ino;
    const error = await slots.place('a', { key: OTHER_KEY, config }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConfigTreeError);
    expect(await lookAtConfig(config)).toEqual(error);
    // The slot is as it was, and nothing half-made stands beside it.
    expect(await readdir(folder)).toEqual(['a']);
    expect((await stat(join(folder, 'a'))).ino).toBe(before);
    return error.message.replaceAll(base(), '');
  };

  it('is not there', async () => {
    expect(await refused(join(base(), 'none.yaml'))).toBe('/none.yaml does not exist');
  });

  it('stands below a file', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    expect(await refused(join(source, 'config.yaml/x'))).toBe(
      '/c/config.yaml/x does not exist: a part of the path is a file',
    );
  });

  it('is a folder without a config.yaml', async () => {
    expect(await refused(await tree('c', { 'litellm.yaml': '', 'sub/config.yaml': '' }))).toBe(
      '/c is a folder without a config.yaml',
    );
  });

  it('has a folder in the place of config.yaml', async () => {
    expect(await refused(await tree('c', { 'config.yaml/x': '' }))).toBe(
      '/c is a folder without a config.yaml',
    );
  });

  it('has a broken link', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    await symlink('nowhere', join(source, 'models.yaml'));
    expect(await refused(source)).toBe('/c/models.yaml does not exist, or is a broken link');
  });

  it('has a link that leads back to the folder', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    await symlink('.', join(source, 'again'));
    expect(await refused(source)).toMatch(/again is a link that leads back to itself$/);
  });

  it('has a socket in it', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    const server = createServer().listen(join(source, 'sock'));
    await once(server, 'listening');
    try {
      expect(await refused(source)).toBe('/c/sock is neither a file nor a folder');
    } finally {
      server.close();
    }
  });

  it('is a whole project', async () => {
    const files = Array.from({ length: 2001 }, (_, n) => [`${n}.js`, '']);
    expect(
      await refused(await tree('c', { 'config.yaml': '', ...Object.fromEntries(files) })),
    ).toBe('/c has more than 2000 entries: name config.yaml itself, or a folder of its own');
  });

  it('has a large file beside it', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    await writeFile(join(source, 'model.bin'), Buffer.alloc(33 * 1024 * 1024));
    expect(await refused(source)).toMatch(/has more than 32 MiB/);
  });

  it.runIf(!isRoot)('cannot be read', async () => {
    const source = await tree('c', { 'config.yaml': '' });
    await chmod(join(source, 'config.yaml'), 0);
    expect(await refused(source)).toBe(
      '/c/config.yaml cannot be read by this user: permission denied',
    );
  });
});

describe('digests', () => {
  it('are the same of a file, of a folder with that file, and of the slot made from it', async () => {
    const slots = createSlots({ folder });
    const source = await tree('c', { 'config.yaml': 'one' });
    const digest = await lookAtConfig(source);
    expect(await lookAtConfig(join(source, 'config.yaml'))).toBe(digest);
    await slots.place('a', { key: KEY, config: source });
    expect(await slots.read('a')).toMatchObject({
      configDigest: digest,
      keyDigest: digestOf(KEY.reveal()),
    });
  });

  it('do not change by what Python or an editor writes beside config.yaml', async () => {
    const source = await tree('c', { 'config.yaml': 'one' });
    const digest = await lookAtConfig(source);
    await tree('c', { '__pycache__/x.pyc': 'x', '.config.yaml.swp': 'x' });
    expect(await lookAtConfig(source)).toBe(digest);
  });

  it.each([
    ['a content', { 'config.yaml': 'two', 'x/y': '' }],
    ['a name', { 'config.yaml': 'one', 'x/z': '' }],
    ['a file more', { 'config.yaml': 'one', 'x/y': '', z: '' }],
    ['a border between name and content', { 'config.yaml': 'one', x: '/y' }],
  ])('change with %s', async (_what, files) => {
    const before = await lookAtConfig(await tree('c', { 'config.yaml': 'one', 'x/y': '' }));
    expect(await lookAtConfig(await tree('d', files))).not.toBe(before);
  });
});
