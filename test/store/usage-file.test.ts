import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFileStore } from '../../src/store/file-store.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('usage-file');

describe('who used what', () => {
  it('is none where it is damaged, with a word', async () => {
    const usage = new Map([['master-1', { lastAt: 1, count: 1, callers: [] }]]);
    await createFileStore({ folder: folder() }).saveUsage(usage);
    const file = join(folder(), 'usage.json');
    const text = await readFile(file, 'utf8');
    for (const bad of ['', '{', text.replace('"count":1', '"count":2'), text.slice(9)]) {
      await writeFile(file, bad);
      const store = createFileStore({ folder: folder() });
      expect(await store.loadUsage()).toEqual(new Map());
      expect(store.warnings.join()).toMatch(/usage.json is damaged/);
    }
    await writeFile(file, text);
    expect(await createFileStore({ folder: folder() }).loadUsage()).toEqual(usage);
  });

  it('is saved or refused, and a full disk says so', async () => {
    const store = createFileStore({ folder: join(folder(), 'gone') });
    await expect(store.saveUsage(new Map())).rejects.toThrow(/usage.json cannot be saved/);
  });
});
