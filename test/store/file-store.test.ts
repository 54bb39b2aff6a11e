import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { diskError, failAt, onDiskSteps } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';
import { settledOf, withLines } from '../support/keyrings.ts';
import { describeKeyStore } from './key-store-contract.ts';
import { first, linesOf, master, second } from './stage.ts';

const folder = eachInFolder('file-store');

describeKeyStore('the store in files', async () => {
  const place = await mkdtemp(join(folder(), 'place-'));
  return { open: () => createFileStore({ folder: place }), audit: () => linesOf(place) };
});

describe('the files of a store', () => {
  it('are for their owner alone, and nothing else is left beside them', async () => {
    const store = createFileStore({ folder: folder() });
    await store.save(withLines(master(1), ['a']), 0);
    await store.save(withLines(withLines(master(2), ['a']), ['b']), 1);
    await store.saveUsage(new Map());
    const names = (await readdir(folder())).sort();
    expect(names).toEqual(['audit.jsonl', 'keyring.json', 'keyring.json.bak', 'usage.json']);
    for (const name of names) {
      expect((await stat(join(folder(), name))).mode & 0o777).toBe(0o600);
    }
  });

  it('are the one before, too: putting the backup back is one save back', async () => {
    const store = createFileStore({ folder: folder() });
    for (const [at, each] of [1, 2, 3].entries()) await store.save(master(each), at);
    const backup = await readFile(join(folder(), 'keyring.json.bak'));
    await writeFile(join(folder(), 'keyring.json'), backup);
    const again = createFileStore({ folder: folder() });
    expect(await again.load()).toStrictEqual({ keyring: master(2), version: 2 });
    await expect(store.save(master(4), 3)).rejects.toThrow('was saved by somebody else');
    expect(await again.save(master(4), 2)).toBe(3);
  });

  it('are swept of what a crash left', async () => {
    const left = '.keyring.json.0b1c2d3e-0000-4000-8000-000000000000';
    await writeFile(join(folder(), left), 'half');
    await writeFile(join(folder(), '.keyring.json.mine'), 'not ours');
    expect(await createFileStore({ folder: folder() }).load()).toBeUndefined();
    expect(await readdir(folder())).toEqual(['.keyring.json.mine']);
  });
});

const POINTS = [
  'create keyring.json',
  'write keyring.json',
  'sync keyring.json',
  'rename keyring.json.bak',
  'rename keyring.json',
  'sync the folder of keyring.json',
];

describe('a disk without links', () => {
  it('has a backup all the same', async () => {
    const steps: string[] = [];
    onDiskSteps(folder(), (step) => {
      steps.push(step);
      if (step.startsWith('link')) throw diskError('ENOTSUP');
    });
    const store = createFileStore({ folder: folder() });
    await store.save(first, 0);
    const before = await readFile(join(folder(), 'keyring.json'), 'utf8');
    await store.save(second, 1);
    expect(steps).toContain('copy keyring.json.bak');
    expect(await readFile(join(folder(), 'keyring.json.bak'), 'utf8')).toBe(before);
    expect((await readdir(folder())).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describe('a save that fails', () => {
  it.each(POINTS)('at %j leaves what was before, and the next one succeeds', async (point) => {
    const state = failAt(folder(), point);
    const store = createFileStore({ folder: folder() });
    state.on = false;
    const one = withLines(master(1), ['one']);
    await store.save(one, 0);
    await store.save(settledOf(one), 1);
    state.on = true;
    const lost = withLines({ ...one, clients: master(2).clients }, ['lost']);
    await expect(store.save(lost, 2)).rejects.toThrow(/keyring.json cannot be saved: EIO/);
    const expected = { keyring: settledOf(one), version: 2 };
    expect(await createFileStore({ folder: folder() }).load()).toStrictEqual(expected);
    expect(await linesOf(folder())).toHaveLength(1);
    expect((await readdir(folder())).filter((name) => name.startsWith('.'))).toEqual([]);
    state.on = false;
    const next = withLines({ ...one, clients: master(3).clients }, ['next']);
    expect(await store.save(next, 2)).toBe(3);
    expect((await readdir(folder())).filter((name) => name.startsWith('.'))).toEqual([]);
    const after = createFileStore({ folder: folder() });
    expect(await after.load()).toStrictEqual({ keyring: settledOf(next), version: 3 });
    expect(after.warnings).toEqual([]);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 2 });
  });

  it.each(POINTS.filter((point) => !point.includes('bak')))(
    'at %j leaves nothing where nothing was',
    async (point) => {
      const state = failAt(folder(), point);
      const store = createFileStore({ folder: folder() });
      await expect(store.save(master(1), 0)).rejects.toThrow(/keyring.json cannot be saved: EIO/);
      expect(await readdir(folder())).toEqual([]);
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
    failAt(folder(), 'write keyring.json', code);
    const store = createFileStore({ folder: folder() });
    const saving = store.save(master(1), 0);
    await expect(saving).rejects.toMatchObject({
      name: 'StoreError',
      message: expect.stringContaining(`keyring.json cannot be saved: ${code}`),
      hint: expect.stringMatching(hint),
    });
    await expect(saving).rejects.toHaveProperty('hint', expect.stringContaining(folder()));
  });

  it('passes on what is no error of the system', async () => {
    onDiskSteps(folder(), () => {
      throw new TypeError('a mistake');
    });
    await expect(createFileStore({ folder: folder() }).save(master(1), 0)).rejects.toThrow(
      TypeError,
    );
  });

  it('finds the keyring gone, and says how it comes back', async () => {
    const store = createFileStore({ folder: folder() });
    await store.save(master(1), 0);
    await store.save(master(2), 1);
    await rm(join(folder(), 'keyring.json'));
    await expect(store.save(master(3), 2)).rejects.toMatchObject({
      message: expect.stringMatching(/is gone, while the sidecar was running/),
      hint: expect.stringContaining('cp '),
    });
    await rm(folder(), { recursive: true });
    await expect(store.save(master(3), 2)).rejects.toThrow(/is gone, while the sidecar/);
  });
});

const mountSmall = (at: string): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', at]).status === 0;

/** Only root may mount; elsewhere the same is injected above. */
function canMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'small-'));
  const can = mountSmall(at);
  if (can) spawnSync('umount', [at]);
  rmdirSync(at);
  return can;
}

describe.runIf(canMount())('a disk that is really full', () => {
  it('refuses the save, keeps what was, and takes the next one when there is room', async () => {
    expect(mountSmall(folder())).toBe(true);
    try {
      const store = createFileStore({ folder: folder() });
      await store.save(first, 0);
      const filler = join(folder(), 'filler');
      await writeFile(filler, Buffer.alloc(64 * 1024)).catch(() => undefined);
      await expect(store.save(second, 1)).rejects.toMatchObject({
        message: expect.stringMatching(/keyring.json cannot be saved: ENOSPC/),
        hint: expect.stringContaining('free some space'),
      });
      await expect(store.saveUsage(new Map())).rejects.toThrow(
        /usage.json cannot be saved: ENOSPC/,
      );
      expect(await createFileStore({ folder: folder() }).load()).toMatchObject({ version: 1 });
      await rm(filler);
      expect(await store.save(second, 1)).toBe(2);
      expect(await verifyAudit(folder())).toEqual({ ok: true, count: 2 });
    } finally {
      spawnSync('umount', [folder()]);
    }
  });
});
