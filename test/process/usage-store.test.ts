import { spawnSync } from 'node:child_process';
import { copyFile, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createUsageThread } from '../../src/store/usage-thread.ts';
import { HOUR, usageRow } from '../usage/rows.ts';

const PROGRAM = new URL('../../dist/parts/usage-worker.js', import.meta.url);

const succeeds = (program: string, ...args: string[]): boolean =>
  spawnSync(program, args).status === 0;

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-usage-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function threadOn(path: string, program = PROGRAM) {
  const moved: string[] = [];
  const thread = createUsageThread({ program, path, onMoved: (where) => moved.push(where) });
  onTestFinished(thread.close);
  const requests = async (): Promise<number> => {
    const { groups } = await thread.ask('read', { by: 'client', from: 0 });
    return groups.reduce((sum, each) => sum + each.requests, 0);
  };
  return { ...thread, moved, requests };
}

const batch = (id: string, rows = 1) => ({
  ...{ id, at: HOUR },
  rows: Array.from({ length: rows }, (_, nth) => usageRow({ model: `${id}-${nth}` })),
});

describe('the thread that writes usage.db', () => {
  it('answers in order, and tells faults by their kind', async () => {
    const path = join(await temporaryFolder(), 'usage.db');
    const thread = threadOn(path);
    const asked = [
      ...['one', 'two', 'two'].map((id) => thread.ask('write', batch(id))),
      thread.requests(),
    ];
    expect(await Promise.all(asked)).toEqual([undefined, undefined, undefined, 2]);
    await writeFile(path, 'no database '.repeat(500));
    await thread.ask('write', batch('three'));
    expect(thread.moved).toEqual([`${path}.damaged-1`]);
    expect(await thread.requests()).toBe(1);
    const other = threadOn(join(path, 'no-folder', 'usage.db'));
    await expect(other.ask('write', batch('one'))).rejects.toMatchObject({ fault: 'failed' });
  });

  it('that cannot begin is told each time, and begins once it can', async () => {
    const folder = await temporaryFolder();
    const program = join(folder, 'worker.mjs');
    const thread = threadOn(join(folder, 'usage.db'), new URL(`file://${program}`));
    for (let times = 0; times < 2; times += 1) {
      await expect(thread.ask('write', batch('one'))).rejects.toThrow(/the thread of .* failed/);
    }
    await writeFile(program, `import ${JSON.stringify(PROGRAM.href)};`);
    await thread.ask('write', batch('one'));
    expect(await thread.requests()).toBe(1);
  });

  it('says so where the library is not installed', async () => {
    const folder = await temporaryFolder();
    await cp(new URL('../../dist', import.meta.url), join(folder, 'dist'), { recursive: true });
    const program = new URL(`file://${join(folder, 'dist/parts/usage-worker.js')}`);
    const thread = threadOn(join(folder, 'usage.db'), program);
    const missing = { fault: 'missing', message: expect.stringContaining('libsql') };
    await expect(thread.ask('write', batch('one'))).rejects.toMatchObject(missing);
  });

  it('tells who waits that it ends', async () => {
    const thread = threadOn(join(await temporaryFolder(), 'usage.db'));
    const asked = thread.ask('write', batch('one'));
    thread.close();
    await expect(asked).rejects.toThrow('the sidecar ends');
  });
});

const SMALL = ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs'];

/** Only root may mount, and in a container not even that one. */
async function findMount(): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-mount-'));
  const mounted = succeeds('mount', ...SMALL, folder) && succeeds('umount', folder);
  await rm(folder, { recursive: true, force: true });
  return mounted;
}

describe.runIf(await findMount())('usage.db on a disk', () => {
  const smallDisk = async (): Promise<string> => {
    const folder = await temporaryFolder();
    expect(succeeds('mount', ...SMALL, folder)).toBe(true);
    onTestFinished(() => void succeeds('umount', '--lazy', folder));
    return folder;
  };

  it('that is full keeps what it has, and takes the same batch once there is room', async () => {
    const folder = await smallDisk();
    const thread = threadOn(join(folder, 'usage.db'));
    await thread.ask('write', batch('one'));
    const filler = join(folder, 'filler');
    await expect(writeFile(filler, Buffer.alloc(1024 * 1024))).rejects.toThrow(/ENOSPC/);
    const large = batch('large', 400);
    for (let times = 0; times < 2; times += 1) {
      await expect(thread.ask('write', large)).rejects.toMatchObject({ fault: 'full' });
    }
    expect(await thread.requests()).toBe(1);
    await rm(filler);
    await thread.ask('write', large);
    expect(await thread.requests()).toBe(401);
  });

  it('that is read-only is told as that, and read', async () => {
    const [before, folder] = [join(await temporaryFolder(), 'usage.db'), await smallDisk()];
    await threadOn(before).ask('write', batch('one'));
    const thread = threadOn(join(folder, 'usage.db'));
    const remount = (how: string): void =>
      expect(succeeds('mount', '-o', `remount,${how}`, folder)).toBe(true);
    remount('ro');
    await expect(thread.ask('write', batch('two'))).rejects.toMatchObject({ fault: 'readonly' });
    remount('rw');
    await copyFile(before, join(folder, 'usage.db'));
    remount('ro');
    await expect(thread.ask('write', batch('two'))).rejects.toMatchObject({ fault: 'readonly' });
    expect(await thread.requests()).toBe(1);
    remount('rw');
    await thread.ask('write', batch('two'));
    expect(await thread.requests()).toBe(2);
  });
});
