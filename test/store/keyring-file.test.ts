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
      name: 'StoreError',
      message: expect.stringMatching(reason),
      hint: expect.stringContaining(`reads well: stop the sidecar, and cp ${path()}.bak ${path()}`),
    });
    await expect(loading).rejects.toHaveProperty('message', expect.stringContaining(path()));
    await expect(loading).rejects.toHaveProperty(
      'message',
      expect.not.stringContaining(digestOf('master-1')),
    );
    expect(await readFile(path())).toEqual(bytes);
    await expect(createFileStore({ folder: folder() }).save(first, 2)).rejects.toThrow(reason);
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

  it.each(['{"format":2}', '{"format":1}', '{"format":0}', '{"format":"3"}', 'null'])(
    'that says %s is damaged',
    async (text) => {
      await writeFile(path(), text);
      await expect(load()).rejects.toThrow(/cannot be used: it does not match its checksum/);
    },
  );

  it('that a newer sidecar wrote says so', async () => {
    await writeFile(path(), '{"format":3,"keyring":"sealed otherwise"}');
    const error = {
      message: `${path()} cannot be used: it was written by a newer sidecar`,
      hint: 'run a sidecar at least as new as the one before this',
    };
    await expect(load()).rejects.toMatchObject(error);
    const saving = createFileStore({ folder: folder() }).save(first, 0);
    await expect(saving).rejects.toMatchObject(error);
  });

  const whole = {
    format: 2,
    version: 1,
    keyring: {
      changedAt: 5,
      sureAt: 5,
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
        name: 'StoreError',
        message: expect.stringMatching(reason),
      });
      await expect(loading).rejects.not.toThrow(/sk-secret/);
      await writeFile(path(), sealed(whole));
      expect(await load()).toMatchObject({ version: 1 });
    },
  );

  type List = { count: number; sum: string; list: { state: string }[] };

  it.each<[string, (of: List) => void, string]>([
    ['were cut', ({ list }) => list.pop(), 'its tombstones were cut: 1 of 2 are there'],
    ['are all gone', ({ list }) => list.splice(0), 'its tombstones were cut: 0 of 2 are there'],
    [
      'are more than it counts',
      (of) => {
        of.count = 1;
      },
      'it has 2 tombstones, and counts 1',
    ],
    ['stand twice', ({ list }) => list.push(...list), 'two of its tombstones are the same key'],
    [
      'were edited',
      ({ list: [one] }) => Object.assign(one ?? {}, { state: 'revoked' }),
      'its tombstones do not match their checksum: one was changed, or they were moved',
    ],
    [
      'were moved',
      ({ list }) => list.reverse(),
      'its tombstones do not match their checksum: one was changed, or they were moved',
    ],
    [
      'were cut, and counted anew',
      (of) => {
        of.list.pop();
        of.count = 1;
      },
      'its tombstones do not match their checksum: one was changed, or they were moved',
    ],
  ])(
    'of which the tombstones %s says so, though it is sealed anew',
    async (_name, edit, reason) => {
      const keyring = keyringOf([clientOf('master', 4)]);
      const store = createFileStore({ folder: folder() });
      for (const version of [0, 1]) await store.save(keyring, version);
      const content = JSON.parse(await readFile(path(), 'utf8')) as typeof whole;
      edit(content.keyring.tombstones as List);
      await writeFile(path(), sealed({ ...content, sum: undefined }));
      await expect(load()).rejects.toMatchObject({
        name: 'StoreError',
        message: `${path()} cannot be used: ${reason}`,
        hint: expect.stringContaining(
          `reads well: stop the sidecar, and cp ${path()}.bak ${path()}`,
        ),
      });
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
      name: 'StoreError',
      message: expect.stringMatching(/is gone, though .*keyring.json.bak and .*audit.jsonl/),
      hint: expect.stringMatching(/cp .*; or to start anew, move .*bak and .*jsonl away/),
    });
    await expect(createFileStore({ folder: folder() }).save(first, 0)).rejects.toThrow(
      /keyring.json is gone, though/,
    );
    await rm(`${path()}.bak`);
    await expect(load()).rejects.toMatchObject({
      message: expect.stringMatching(/is gone, though .*audit.jsonl is there/),
      hint: expect.stringMatching(/no backup that can be read; to start anew, move .*jsonl away/),
    });
    await rm(join(folder(), 'audit.jsonl'));
    expect(await load()).toBeUndefined();
  });

  it('is nothing where its folder is not there', async () => {
    const store = createFileStore({ folder: join(folder(), 'gone') });
    expect(await store.load()).toBeUndefined();
    await expect(store.save(first, 0)).rejects.toThrow(/keyring.json cannot be saved: ENOENT/);
  });

  it('is an error where it cannot be read', async () => {
    await mkdir(path());
    await expect(load()).rejects.toThrow(/keyring.json cannot be read: EISDIR/);
    await rename(path(), join(folder(), 'other'));
    await writeFile(join(folder(), 'file'), '');
    const store = createFileStore({ folder: join(folder(), 'file') });
    await expect(store.load()).rejects.toThrow(/keyring.json cannot be read: ENOTDIR/);
  });
});
