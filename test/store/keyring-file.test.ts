import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { seal } from '../../src/store/sealed.ts';
import { eachInFolder } from '../support/folder.ts';
import { clientOf, generationOf, keyringOf } from '../support/keyrings.ts';
import { first, saveBoth } from './stage.ts';

const folder = eachInFolder('keyring-file');
const path = (): string => join(folder(), 'keyring.json');
const load = () => createFileStore({ folder: folder() }).load();

describe('a keyring file that was damaged', () => {
  it.each([
    ['half of it', (bytes: Buffer) => bytes.subarray(0, bytes.length / 2), /half written/],
    ['nothing', () => Buffer.alloc(0), /it is empty/],
    ['zeros', (bytes: Buffer) => Buffer.alloc(bytes.length), /does not read as JSON/],
    [
      'another digit',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"version": 2', '"version": 3')),
      /does not match its checksum/,
    ],
    [
      'other spaces',
      (bytes: Buffer) => Buffer.from(JSON.stringify(JSON.parse(bytes.toString()))),
      /does not match its checksum/,
    ],
  ])('with %s says so, and names the backup', async (_name, damage, reason) => {
    const bytes = damage(await saveBoth(folder()));
    await writeFile(path(), bytes);
    const loading = load();
    await expect(loading).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringMatching(reason),
      hint: expect.stringContaining(`reads well: stop the sidecar, and cp ${path()}.bak ${path()}`),
    });
    await expect(loading).rejects.toHaveProperty('message', expect.stringContaining(path()));
    await expect(loading).rejects.toHaveProperty(
      'message',
      expect.not.stringContaining(digestOf('master-1')),
    );
    expect(await readFile(path())).toEqual(bytes);
    await expect(createFileStore({ folder: folder() }).save(first, 2)).rejects.toMatchObject({
      kind: 'damaged',
    });
    await cp(`${path()}.bak`, path());
    expect(await load()).toMatchObject({ version: 1 });
  });

  it('says that the backup is damaged, too, or that there is none', async () => {
    await saveBoth(folder());
    await writeFile(path(), '{');
    await writeFile(`${path()}.bak`, '');
    await expect(load()).rejects.toHaveProperty(
      'hint',
      expect.stringMatching(/either: it is empty/),
    );
    await rm(`${path()}.bak`);
    await expect(load()).rejects.toHaveProperty('hint', expect.stringMatching(/no backup/));
  });

  it.each([
    ['{"format":4,"keyring":"sealed otherwise"}', 'newer'],
    ['{"format":3}', 'damaged'],
    ['{"format":2}', 'damaged'],
    ['{"format":1}', 'damaged'],
    ['{"format":0}', 'damaged'],
    ['{"format":"4"}', 'damaged'],
    ['null', 'damaged'],
  ])('that says %s is %s', async (text, kind) => {
    await writeFile(path(), text);
    await expect(load()).rejects.toMatchObject({ kind });
    if (kind === 'newer') {
      await expect(load()).rejects.toThrow(/was written by a newer sidecar/);
      await expect(createFileStore({ folder: folder() }).save(first, 0)).rejects.toMatchObject({
        kind,
      });
    }
  });

  const whole = {
    format: 3,
    version: 1,
    keyring: {
      changedAt: 5,
      declared: {},
      audit: { count: 0, head: '', pending: [] as string[] },
      clients: [] as unknown[],
      tombstones: { count: 0, sum: digestOf(''), list: [] as unknown[] },
    },
  };
  const sealed = (content: unknown) => seal(JSON.stringify(content, null, 2).slice(0, -2));

  it.each([
    ['a field that is missing', { ...whole, version: undefined }, /its field version is wrong/],
    ['one too many', { ...whole, sk: 'sk-secret' }, /its fields are wrong/],
    [
      'a digest that is a key',
      { ...whole, keyring: { ...whole.keyring, declared: { file: 'sk-secret' } } },
      /its field keyring.declared.file is wrong/,
    ],
    [
      'a broken rule',
      { ...whole, keyring: { ...whole.keyring, audit: { count: 3, head: '', pending: [] } } },
      /it breaks a rule: the count of audit lines/,
    ],
    [
      'two clients of one name',
      {
        ...whole,
        keyring: { ...whole.keyring, clients: [clientOf('ci', 1), clientOf('ci', 2)] },
      },
      /two of its clients have one name/,
    ],
  ])(
    'that is sealed and has %s is an error that quotes nothing',
    async (_name, content, reason) => {
      await writeFile(path(), sealed(content));
      const loading = load();
      await expect(loading).rejects.toMatchObject({
        kind: 'damaged',
        message: expect.stringMatching(reason),
      });
      await expect(loading).rejects.not.toThrow(/sk-secret/);
      await writeFile(path(), sealed(whole));
      expect(await load()).toMatchObject({ version: 1 });
    },
  );

  it('is never written with a number that JSON does not have', async () => {
    const client = clientOf('ci', 1, { expiresAt: Infinity });
    const store = createFileStore({ folder: folder() });
    await expect(store.save(keyringOf([client]), 0)).rejects.toThrow(/not finite/);
    const once = clientOf('ci', 1, { generations: [generationOf('ci', 1)] });
    expect(await store.save(keyringOf([once]), 0)).toBe(1);
  });
});

describe('a keyring file that is not there', () => {
  it('is an error where its backup or its audit is: how to go back, and how to start anew', async () => {
    await saveBoth(folder());
    await rm(path());
    await expect(load()).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringMatching(/is gone, though .*keyring.json.bak and .*audit.jsonl/),
      hint: expect.stringMatching(/cp .*; or to start anew, move .*bak and .*jsonl away/),
    });
    await expect(createFileStore({ folder: folder() }).save(first, 0)).rejects.toMatchObject({
      kind: 'damaged',
    });
    await rm(`${path()}.bak`);
    await expect(load()).rejects.toMatchObject({
      kind: 'damaged',
      hint: expect.stringMatching(/no backup that can be read; to start anew, move .*jsonl away/),
    });
    await rm(join(folder(), 'audit.jsonl'));
    expect(await load()).toBeUndefined();
  });

  it('is nothing where its folder is not there', async () => {
    const store = createFileStore({ folder: join(folder(), 'gone') });
    expect(await store.load()).toBeUndefined();
    await expect(store.save(first, 0)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('is an error where it cannot be read', async () => {
    await mkdir(path());
    await expect(load()).rejects.toMatchObject({ kind: 'unavailable' });
    await rename(path(), join(folder(), 'other'));
    await writeFile(join(folder(), 'file'), '');
    const store = createFileStore({ folder: join(folder(), 'file') });
    await expect(store.load()).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
