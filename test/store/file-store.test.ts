import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Keyring } from '../../src/keyring/keyring.ts';
import { type AuditRepair, verifyAudit } from '../../src/store/audit-log.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { clientOf, keyringOf, settledOf, withLines } from '../support/keyrings.ts';
import { describeKeyStore } from './key-store-contract.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-store-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const linesOf = async (place: string): Promise<readonly string[]> => {
  const text = await readFile(join(place, 'audit.jsonl'), 'utf8').catch(() => '');
  return text.split('\n').slice(0, -1);
};

describeKeyStore('the store in files', async () => {
  const place = await mkdtemp(join(folder, 'place-'));
  return { open: () => createFileStore({ folder: place }), audit: () => linesOf(place) };
});

const master = (generations: number): Keyring => keyringOf([clientOf('master', generations)]);

/** Fails at the named point, until it is told not to. */
function failAt(point: string, code = 'EIO') {
  const state = { on: true, points: [] as string[] };
  const fault = (name: string): void => {
    state.points.push(name);
    if (!state.on || name !== point) return;
    throw Object.assign(new Error(`${code}: no way, write`), { code, syscall: 'write' });
  };
  return { fault, state };
}

describe('the files of a store', () => {
  it('are for their owner alone, and nothing else is left beside them', async () => {
    const store = createFileStore({ folder });
    await store.save(withLines(master(1), ['a']), 0);
    await store.save(withLines(withLines(master(2), ['a']), ['b']), 1);
    await store.saveUsage(new Map());
    const names = (await readdir(folder)).sort();
    expect(names).toEqual(['audit.jsonl', 'keyring.json', 'keyring.json.bak', 'usage.json']);
    for (const name of names) {
      expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
    }
  });

  it('are the one before, too: putting the backup back is one save back', async () => {
    const store = createFileStore({ folder });
    for (const [at, each] of [1, 2, 3].entries()) await store.save(master(each), at);
    const backup = await readFile(join(folder, 'keyring.json.bak'));
    await writeFile(join(folder, 'keyring.json'), backup);
    const again = createFileStore({ folder });
    expect(await again.load()).toStrictEqual({ keyring: master(2), version: 2 });
    await expect(store.save(master(4), 3)).rejects.toMatchObject({ kind: 'conflict' });
    expect(await again.save(master(4), 2)).toBe(3);
  });

  it('are swept of what a crash left', async () => {
    const left = '.keyring.json.0b1c2d3e-0000-4000-8000-000000000000';
    await writeFile(join(folder, left), 'half');
    await writeFile(join(folder, '.keyring.json.mine'), 'not ours');
    expect(await createFileStore({ folder }).load()).toBeUndefined();
    expect(await readdir(folder)).toEqual(['.keyring.json.mine']);
  });
});

const POINTS = [
  'create keyring.json',
  'write keyring.json',
  'sync keyring.json',
  'link keyring.json.bak',
  'rename keyring.json.bak',
  'rename keyring.json',
  'sync the folder of keyring.json',
  'after keyring.json',
];

describe('a save that fails', () => {
  it.each(POINTS)('at %j leaves what was before, and the next one succeeds', async (point) => {
    const { fault, state } = failAt(point);
    const store = createFileStore({ folder, fault });
    state.on = false;
    const one = withLines(master(1), ['one']);
    await store.save(one, 0);
    await store.save(settledOf(one), 1);
    state.on = true;
    const lost = withLines({ ...one, clients: master(2).clients }, ['lost']);
    await expect(store.save(lost, 2)).rejects.toMatchObject({ kind: 'unavailable' });
    const expected = { keyring: settledOf(one), version: 2 };
    expect(await createFileStore({ folder }).load()).toStrictEqual(expected);
    expect(await linesOf(folder)).toHaveLength(1);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
    state.on = false;
    const next = withLines({ ...one, clients: master(3).clients }, ['next']);
    expect(await store.save(next, 2)).toBe(3);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
    const after = createFileStore({ folder });
    expect(await after.load()).toStrictEqual({ keyring: settledOf(next), version: 3 });
    expect(after.warnings).toEqual([]);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 2 });
  });

  it.each(POINTS.filter((point) => !point.includes('bak')))(
    'at %j leaves nothing where nothing was',
    async (point) => {
      const { fault, state } = failAt(point);
      const store = createFileStore({ folder, fault });
      await expect(store.save(master(1), 0)).rejects.toMatchObject({ kind: 'unavailable' });
      expect(await readdir(folder)).toEqual([]);
      state.on = false;
      expect(await store.save(master(1), 0)).toBe(1);
    },
  );

  it.each([
    ['ENOSPC', /free some space/],
    ['EDQUOT', /quota/],
    ['EROFS', /mount/],
    ['EACCES', /let the user/],
    ['EIO', /look at the disk/],
    ['ENOENT', /gone/],
    ['EMFILE', /look at/],
  ])('of %s says what to do', async (code, hint) => {
    const { fault } = failAt('write keyring.json', code);
    const store = createFileStore({ folder, fault });
    const saving = store.save(master(1), 0);
    await expect(saving).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining(`keyring.json cannot be saved: ${code}`),
      hint: expect.stringMatching(hint),
    });
    await expect(saving).rejects.toHaveProperty('hint', expect.stringContaining(folder));
  });

  it('passes on what is no error of the system', async () => {
    const fault = (): never => {
      throw new TypeError('a mistake');
    };
    await expect(createFileStore({ folder, fault }).save(master(1), 0)).rejects.toThrow(TypeError);
  });

  it('finds the keyring gone, and says how it comes back', async () => {
    const store = createFileStore({ folder });
    await store.save(master(1), 0);
    await store.save(master(2), 1);
    await rm(join(folder, 'keyring.json'));
    await expect(store.save(master(3), 2)).rejects.toMatchObject({
      kind: 'conflict',
      hint: expect.stringContaining('cp '),
    });
    await rm(folder, { recursive: true });
    await expect(store.save(master(3), 2)).rejects.toMatchObject({ kind: 'conflict' });
  });
});

const AUDIT_POINTS = ['append to audit.jsonl', 'sync audit.jsonl', 'after audit.jsonl'];

describe('an audit that cannot be written', () => {
  it.each(AUDIT_POINTS)('at %j gets its lines later, each once', async (point) => {
    const { fault, state } = failAt(point, 'ENOSPC');
    const store = createFileStore({ folder, fault });
    let keyring = withLines(master(1), ['one']);
    expect(await store.save(keyring, 0)).toBe(1);
    expect(store.warnings.join()).toMatch(/audit cannot be written.*ENOSPC.*kept beside/);
    expect(await linesOf(folder)).toEqual([]);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 1 });
    keyring = withLines(keyring, ['two']);
    expect(await store.save(keyring, 1)).toBe(2);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 2 });
    state.on = false;
    keyring = withLines(keyring, ['three']);
    await store.save(keyring, 2);
    expect(store.warnings).toEqual([]);
    expect(await linesOf(folder)).toHaveLength(3);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 3 });
  });

  it('gets them with the next load', async () => {
    const { fault } = failAt('append to audit.jsonl', 'EROFS');
    const store = createFileStore({ folder, fault });
    const one = withLines(master(1), ['one', 'two']);
    await store.save(one, 0);
    const two = withLines(one, ['three']);
    await store.save(two, 1);
    const repairs: AuditRepair[] = [];
    const next = createFileStore({ folder, onRepair: (repair) => repairs.push(repair) });
    expect(await next.load()).toStrictEqual({ keyring: settledOf(two), version: 2 });
    expect(repairs).toMatchObject([{ kind: 'appended', lines: 3 }]);
    expect(next.warnings).toEqual(['3 lines were appended that the audit lacked']);
    expect(await linesOf(folder)).toHaveLength(3);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 3 });
  });

  it('is no reason not to load: what it lacks is brought by the next save', async () => {
    const { fault, state } = failAt('append to audit.jsonl', 'EROFS');
    const one = withLines(master(1), ['one']);
    await createFileStore({ folder, fault }).save(one, 0);
    const repairs: AuditRepair[] = [];
    const store = createFileStore({ folder, fault, onRepair: (each) => repairs.push(each) });
    expect(await store.load()).toStrictEqual({ keyring: settledOf(one), version: 1 });
    expect(repairs).toEqual([]);
    state.on = false;
    await store.save(withLines(one, ['two']), 1);
    expect(repairs).toMatchObject([{ kind: 'appended', lines: 1 }]);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 2 });
    expect(await linesOf(folder)).toHaveLength(2);
  });

  it('is told of a caller who lost lines', async () => {
    const store = createFileStore({ folder });
    const lost = settledOf(withLines(master(1), ['one']));
    await expect(store.save(lost, 0)).rejects.toThrow(/audit lines before 2/);
    expect(await readdir(folder)).toEqual([]);
  });
});
