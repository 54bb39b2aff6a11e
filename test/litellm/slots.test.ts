import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { createSlots } from '../../src/litellm/slots.ts';
import { Secret } from '../../src/secret.ts';
import { eachInFolder, writeTree } from '../support/folder.ts';

const KEY = new Secret('sk-a-key-of-the-upstream');
const OTHER_KEY = new Secret('sk-another-key-of-the-upstream');
const isRoot = process.getuid?.() === 0;

const base = eachInFolder('slots');
let folder: string;

beforeEach(async () => {
  folder = join(base(), 'slots');
  await mkdir(folder);
});

const tree = (name: string, files: Record<string, string>): Promise<string> =>
  writeTree(join(base(), name), files);

const modeOf = async (path: string): Promise<string> =>
  ((await stat(path)).mode & 0o7777).toString(8);
const readId = (): Promise<string> => readFile(join(folder, 'a/id'), 'utf8');
const listing = async (path: string): Promise<string[]> =>
  (await readdir(path, { recursive: true })).sort();

describe('place', () => {
  it('puts the key and a single file as config.yaml in place', async () => {
    const slots = createSlots({ folder });
    const source = join(await tree('etc', { 'prod.yml': 'model_list: []\n' }), 'prod.yml');
    await slots.place('a', { key: KEY, config: source });

    expect(await listing(folder)).toEqual([
      'a',
      'a/config',
      'a/config/config.yaml',
      'a/id',
      'a/master.key',
    ]);
    expect(await readFile(join(folder, 'a/master.key'), 'utf8')).toBe(`${KEY.reveal()}\n`);
    expect(await readFile(join(folder, 'a/config/config.yaml'), 'utf8')).toBe('model_list: []\n');
  });

  it('holds the key alone where no configuration is named', async () => {
    const slots = createSlots({ folder });
    await slots.place('b', { key: KEY, config: undefined });
    expect(await listing(folder)).toEqual(['b', 'b/id', 'b/master.key']);
    const id = (await readFile(join(folder, 'b/id'), 'utf8')).trim();
    const keyDigest = digestOf(KEY.reveal());
    expect(await slots.read('b')).toEqual({ id, configDigest: '', keyDigest });
  });

  it('copies a folder whole, bytes and names as they are, and leaves out what is hidden', async () => {
    const source = await tree('config', {
      'config.yaml': 'not: [yaml',
      'include/models.yaml': '\u0000\ufeff',
      'custom_callbacks.py': 'print("hello")\n',
      '__pycache__/custom_callbacks.cpython-313.pyc': 'x',
      '.env': 'LITELLM_MASTER_KEY=sk-of-the-clients',
      '.config.yaml.swp': 'x',
    });
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    expect(await listing(join(folder, 'a/config'))).toEqual([
      'config.yaml',
      'custom_callbacks.py',
      'include',
      'include/models.yaml',
    ]);
    expect(await readFile(join(folder, 'a/config/config.yaml'), 'utf8')).toBe('not: [yaml');
    expect(await readFile(join(folder, 'a/config/include/models.yaml'), 'utf8')).toBe(
      '\u0000\ufeff',
    );
  });

  it('copies what links point to, as Kubernetes mounts a ConfigMap', async () => {
    const source = await tree('mount', {
      '..2026_01/config.yaml': 'one',
      '..2026_01/sub/x.py': 'x',
    });
    await symlink('..2026_01', join(source, '..data'));
    await symlink('..data/config.yaml', join(source, 'config.yaml'));
    await symlink('..data/sub', join(source, 'sub'));
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    expect(await listing(join(folder, 'a/config'))).toEqual(['config.yaml', 'sub', 'sub/x.py']);
    const copied = await stat(join(folder, 'a/config/config.yaml'));
    expect(copied.isFile()).toBe(true);
    await rm(source, { recursive: true });
    expect(await readFile(join(folder, 'a/config/config.yaml'), 'utf8')).toBe('one');
  });

  it.each([0o000, 0o022, 0o077, 0o177])('sets its modes under umask %o', async (mask) => {
    const source = await tree('config', { 'config.yaml': '', 'include/m.yaml': '' });
    const before = process.umask(mask);
    onTestFinished(() => void process.umask(before));
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    for (const each of ['a', 'a/config', 'a/config/include']) {
      expect([each, await modeOf(join(folder, each))]).toEqual([each, '750']);
    }
    for (const each of [
      'a/id',
      'a/master.key',
      'a/config/config.yaml',
      'a/config/include/m.yaml',
    ]) {
      expect([each, await modeOf(join(folder, each))]).toEqual([each, '640']);
    }
  });

  it.runIf(isRoot)('takes the group of a setgid slots folder, all the way down', async () => {
    await chown(folder, 0, 4000);
    await chmod(folder, 0o2750);
    const source = await tree('config', { 'config.yaml': '', 'include/m.yaml': '' });
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    for (const each of ['a', ...(await listing(join(folder, 'a'))).map((path) => `a/${path}`)]) {
      expect([each, (await stat(join(folder, each))).gid]).toEqual([each, 4000]);
    }
  });

  it('done twice leaves the folder as it was, so that its LiteLLM runs on', async () => {
    const slots = createSlots({ folder });
    const source = await tree('config', { 'config.yaml': 'one' });
    await slots.place('a', { key: KEY, config: source });
    const identity = async () => [(await stat(join(folder, 'a'))).ino, await readId()];
    const before = await identity();
    await utimes(join(source, 'config.yaml'), 1, 1);
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    expect(await identity()).toEqual(before);
    expect(await readdir(folder)).toEqual(['a']);
  });

  it.each([
    ['the key', OTHER_KEY, 'one'],
    ['the configuration', KEY, 'two'],
  ])('replaces a slot where %s differs, under a new id', async (_what, key, text) => {
    const slots = createSlots({ folder });
    const source = await tree('config', { 'config.yaml': 'one' });
    await slots.place('a', { key: KEY, config: source });
    const before = await readId();
    await writeFile(join(source, 'config.yaml'), text);
    await slots.place('a', { key, config: source });
    expect(await readId()).not.toBe(before);
    expect(await readFile(join(folder, 'a/config/config.yaml'), 'utf8')).toBe(text);
    expect(await readFile(join(folder, 'a/master.key'), 'utf8')).toBe(`${key.reveal()}\n`);
    expect(await readdir(folder)).toEqual(['a']);
  });

  it('replaces a slot that somebody damaged', async () => {
    const slots = createSlots({ folder });
    await slots.place('a', { key: KEY, config: undefined });
    await rm(join(folder, 'a/master.key'));
    await slots.place('a', { key: KEY, config: undefined });
    expect((await slots.read('a'))?.keyDigest).toBe(digestOf(KEY.reveal()));
  });

  it('keeps the two slots apart, and verbs called at once in order', async () => {
    const slots = createSlots({ folder });
    const source = await tree('config', { 'config.yaml': 'one' });
    await Promise.all([
      slots.place('a', { key: KEY, config: source }),
      slots.place('b', { key: OTHER_KEY, config: undefined }),
      slots.remove('a'),
      slots.place('a', { key: OTHER_KEY, config: source }),
    ]);
    expect((await slots.read('a'))?.keyDigest).toBe(digestOf(OTHER_KEY.reveal()));
    expect((await slots.read('b'))?.keyDigest).toBe(digestOf(OTHER_KEY.reveal()));
    expect((await readdir(folder)).sort()).toEqual(['a', 'b']);
  });

  it('never shows a folder that is not whole', async () => {
    const slots = createSlots({ folder });
    const files = Array.from({ length: 50 }, (_, n) => [`sub/${n}.yaml`, 'x'.repeat(5000)]);
    const source = await tree('config', { 'config.yaml': 'one', ...Object.fromEntries(files) });
    const placed = slots.place('a', { key: KEY, config: source });
    let seen: string[] = [];
    let looks = 0;
    while (seen.length === 0) {
      if (existsSync(join(folder, 'a'))) seen = await listing(join(folder, 'a/config'));
      looks += 1;
      await new Promise(setImmediate);
    }
    await placed;
    expect(looks).toBeGreaterThan(1);
    expect(seen).toHaveLength(52);
  });
});

it('refuses an empty key', async () => {
  const slots = createSlots({ folder });
  await expect(slots.place('a', { key: new Secret(''), config: undefined })).rejects.toThrow('key');
});

describe('remove', () => {
  it('takes the slot and what was in it away, and can be done twice', async () => {
    const slots = createSlots({ folder });
    await slots.place('a', { key: KEY, config: undefined });
    await slots.remove('a');
    await slots.remove('a');
    expect(await readdir(folder)).toEqual([]);
    expect(await slots.read('a')).toBeUndefined();
  });
});

describe('the first verb', () => {
  it('deletes what a crash left behind, and nothing else', async () => {
    await tree('slots', {
      '.a.tmp-1/master.key': 'x',
      '.b.gone-2/master.key': 'x',
      'b/master.key': 'sk-b',
      'b/id': '1',
    });
    expect(await createSlots({ folder }).read('a')).toBeUndefined();
    expect((await readdir(folder)).sort()).toEqual(['b']);
  });

  it('fails where there is no slots folder, and works once there is one', async () => {
    await rename(folder, `${folder}-away`);
    const slots = createSlots({ folder });
    await expect(slots.read('a')).rejects.toThrow('ENOENT');
    await rename(`${folder}-away`, folder);
    expect(await slots.read('a')).toBeUndefined();
  });
});
