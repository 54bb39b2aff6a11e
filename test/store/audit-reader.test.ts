import { appendFile, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Keyring } from '../../src/keyring/keyring.ts';
import { readAudit, verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { eachInFolder } from '../support/folder.ts';
import { entryOf, keyringOf, withLines } from '../support/keyrings.ts';

const folder = eachInFolder('audit-reader');
const path = (): string => join(folder(), 'audit.jsonl');

const many = (count: number, of = 'line'): string[] =>
  Array.from({ length: count }, (_, at) => `${of} ${at + 1} ${'x'.repeat(at % 90)}`);

async function write(count: number): Promise<Keyring> {
  const keyring = withLines(keyringOf([]), many(count));
  await createFileStore({ folder: folder() }).save(keyring, 0);
  return keyring;
}

const seqs = async (after: number, limit: number): Promise<readonly number[]> =>
  (await readAudit(folder(), { after, limit })).lines.map(({ seq }) => seq);

describe('reading the audit', () => {
  it('finds nothing where there is none', async () => {
    expect(await readAudit(folder(), { after: 0, limit: 10 })).toEqual({ lines: [], count: 0 });
    await writeFile(path(), '');
    expect(await readAudit(folder(), { after: 0, limit: 10 })).toEqual({ lines: [], count: 0 });
    await expect(verifyAudit(folder())).rejects.toThrow(/keyring.json is gone, though/);
  });

  it('gives the lines after a number, the oldest first, and the count of all', async () => {
    await write(3000);
    expect((await stat(path())).size).toBeGreaterThan(500_000);
    for (const after of [0, 1, 2, 500, 1499, 1500, 2222, 2997]) {
      expect(await seqs(after, 3)).toEqual([after + 1, after + 2, after + 3]);
    }
    expect(await seqs(2999, 3)).toEqual([3000]);
    expect(await seqs(3000, 3)).toEqual([]);
    expect(await seqs(9999, 3)).toEqual([]);
    expect(await seqs(0, Infinity)).toHaveLength(3000);
    const { lines, count } = await readAudit(folder(), { after: 7, limit: 1 });
    expect(lines[0]).toMatchObject({ ...entryOf(many(8)[7] ?? ''), seq: 8 });
    expect(count).toBe(3000);
  });

  it('reads little of a long one for what is new', async () => {
    await write(3000);
    const text = await readFile(path(), 'utf8');
    // Whatever stands far before what is asked for is not looked at.
    await writeFile(path(), text.replaceAll(/^\{"seq":(\d{1,3}),/gm, '{"seq":9$1,'));
    expect(await seqs(2990, 3)).toEqual([2991, 2992, 2993]);
  });

  it('leaves out what is torn or no line', async () => {
    await write(2);
    await appendFile(path(), 'what\n{"seq":3,"prev":""}\n{"seq":4');
    expect(await seqs(1, 9)).toEqual([2, 3]);
    expect(await readAudit(folder(), { after: 3, limit: 9 })).toEqual({ lines: [], count: 3 });
  });

  it('reads a line that is longer than a block, and letters that a block cuts', async () => {
    const long = ['é'.repeat(70_000), 'short', 'ü'.repeat(33_001)];
    await createFileStore({ folder: folder() }).save(withLines(keyringOf([]), long), 0);
    const { lines, count } = await readAudit(folder(), { after: 0, limit: 9 });
    expect(lines.map(({ detail }) => detail?.['why'])).toEqual(long);
    expect(count).toBe(3);
    expect(await seqs(2, 9)).toEqual([3]);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 3 });
  });
});

describe('verifying the audit', () => {
  it('is content where there is nothing', async () => {
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 0 });
  });

  it('finds what was done to a file, and the line', async () => {
    await write(1000);
    await createFileStore({ folder: folder() }).save({ ...(await loaded()), changedAt: 9e15 }, 1);
    const text = await readFile(path(), 'utf8');
    const lines = text.split('\n');
    const put = (each: readonly string[]): Promise<void> => writeFile(path(), each.join('\n'));
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 1000 });
    await put(lines.with(776, (lines[776] ?? '').replace('alice', 'malice')));
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 777 });
    await put(lines.toSpliced(4, 1));
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 5 });
    await put(lines.with(4, lines[900] ?? '').with(900, lines[4] ?? ''));
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 5 });
    await put([...lines.slice(0, 990), '']);
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 991 });
    await put([...lines.slice(0, -1), '{}', '']);
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1001 });
    await put([...lines.slice(0, -1), '{"seq":1001']);
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1001 });
    await put(lines.slice(0, -1));
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1000 });
    await rm(path());
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1 });
  });

  const loaded = async (): Promise<Keyring> =>
    (await createFileStore({ folder: folder() }).load())?.keyring ?? keyringOf([]);

  it('is an error where there is no keyring to hold it against', async () => {
    await write(2);
    await writeFile(join(folder(), 'keyring.json'), '{');
    await expect(verifyAudit(folder())).rejects.toThrow(/keyring.json cannot be used/);
  });
});
