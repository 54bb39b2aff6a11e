import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../src/keyring/digest.ts';
import { Secret } from '../../src/secret.ts';
import { ConfigTreeError } from '../../src/upstream/config-tree.ts';
import { createSlots } from '../../src/upstream/slots.ts';

const KEY = new Secret('sk-a-key-of-the-upstream');
const OTHER_KEY = new Secret('sk-another-key-of-the-upstream');
const isRoot = process.getuid?.() === 0;

let base: string;
let folder: string;
let umask: number;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'slots-'));
  folder = join(base, 'slots');
  await mkdir(folder);
  umask = process.umask();
});

afterEach(async () => {
  process.umask(umask);
  await rm(base, { recursive: true, force: true });
});

/** Writes a tree of files below the test's own folder and returns its path. */
const tree = async (name: string, files: Record<string, string>): Promise<string> => {
  const root = join(base, name);
  await mkdir(root, { recursive: true });
  const write = async ([path, content]: [string, string]): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  await Promise.all(Object.entries(files).map(write));
  return root;
};

const modeOf = async (path: string): Promise<string> =>
  ((await stat(path)).mode & 0o7777).toString(8);
const inodeOf = async (path: string): Promise<number> => (await stat(path)).ino;
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
    expect(await slots.read('b')).toEqual({ configDigest: '', keyDigest: digestOf(KEY.reveal()) });
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
    process.umask(mask);
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
    const before = [await inodeOf(join(folder, 'a')), await readFile(join(folder, 'a/id'), 'utf8')];
    await utimes(join(source, 'config.yaml'), 1, 1);
    await createSlots({ folder }).place('a', { key: KEY, config: source });
    const after = [await inodeOf(join(folder, 'a')), await readFile(join(folder, 'a/id'), 'utf8')];
    expect(after).toEqual(before);
    expect(await readdir(folder)).toEqual(['a']);
  });

  it.each([
    ['the key', OTHER_KEY, 'one'],
    ['the configuration', KEY, 'two'],
  ])('replaces a slot where %s differs, under a new id', async (_what, key, text) => {
    const slots = createSlots({ folder });
    const source = await tree('config', { 'config.yaml': 'one' });
    await slots.place('a', { key: KEY, config: source });
    const before = await readFile(join(folder, 'a/id'), 'utf8');
    await writeFile(join(source, 'config.yaml'), text);
    await slots.place('a', { key, config: source });
    expect(await readFile(join(folder, 'a/id'), 'utf8')).not.toBe(before);
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

describe('a configuration that cannot be used', () => {
  const refused = async (config: string): Promise<string> => {
    const slots = createSlots({ folder });
    await slots.place('a', { key: KEY, config: undefined });
    const before = await inodeOf(join(folder, 'a'));
    const error = await slots.place('a', { key: OTHER_KEY, config }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConfigTreeError);
    await expect(slots.digestConfig(config)).rejects.toThrow(error.message);
    // The slot is as it was, and nothing half-made stands beside it.
    expect(await readdir(folder)).toEqual(['a']);
    expect(await inodeOf(join(folder, 'a'))).toBe(before);
    return error.message.replaceAll(base, '');
  };

  it('is not there', async () => {
    expect(await refused(join(base, 'none.yaml'))).toBe('/none.yaml does not exist');
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

it('refuses an empty key', async () => {
  const placed = createSlots({ folder }).place('a', { key: new Secret(''), config: undefined });
  await expect(placed).rejects.toThrow('a slot needs a key');
  expect(await readdir(folder)).toEqual([]);
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
      '.keep/x': 'x',
    });
    expect(await createSlots({ folder }).read('a')).toBeUndefined();
    expect((await readdir(folder)).sort()).toEqual(['.keep', 'b']);
  });

  it('fails where there is no slots folder, and works once there is one', async () => {
    await rename(folder, `${folder}-away`);
    const slots = createSlots({ folder });
    await expect(slots.read('a')).rejects.toThrow('ENOENT');
    await rename(`${folder}-away`, folder);
    expect(await slots.read('a')).toBeUndefined();
  });
});

describe('digests', () => {
  it('are the same of a file, of a folder with that file, and of the slot made from it', async () => {
    const slots = createSlots({ folder });
    const source = await tree('c', { 'config.yaml': 'one' });
    const digest = await slots.digestConfig(source);
    expect(await slots.digestConfig(join(source, 'config.yaml'))).toBe(digest);
    await slots.place('a', { key: KEY, config: source });
    expect(await slots.read('a')).toEqual({
      configDigest: digest,
      keyDigest: digestOf(KEY.reveal()),
    });
  });

  it('do not change by what Python or an editor writes beside config.yaml', async () => {
    const slots = createSlots({ folder });
    const source = await tree('c', { 'config.yaml': 'one' });
    const digest = await slots.digestConfig(source);
    await tree('c', { '__pycache__/x.pyc': 'x', '.config.yaml.swp': 'x' });
    expect(await slots.digestConfig(source)).toBe(digest);
  });

  it.each([
    ['a content', { 'config.yaml': 'two', 'x/y': '' }],
    ['a name', { 'config.yaml': 'one', 'x/z': '' }],
    ['a file more', { 'config.yaml': 'one', 'x/y': '', z: '' }],
    ['a border between name and content', { 'config.yaml': 'one', x: '/y' }],
  ])('change with %s', async (_what, files) => {
    const slots = createSlots({ folder });
    const before = await slots.digestConfig(await tree('c', { 'config.yaml': 'one', 'x/y': '' }));
    expect(await slots.digestConfig(await tree('d', files))).not.toBe(before);
  });
});
