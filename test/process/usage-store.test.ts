import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createUsageThread } from '../../src/store/usage-thread.ts';
import { post } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { serveProcess } from '../support/serve-process.ts';
import { saveUsage, sayUsage } from '../support/usage.ts';
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

/** Asks again and again until an answer breaks off: then the sidecar is dead. */
async function untilItDies(work: () => Promise<void>): Promise<void> {
  try {
    for (;;) await work();
  } catch {}
}

/**
 * Four clients ask and a fifth has the sidecar write, again and again, until it is killed: at some
 * moment, with the thread and the file not there yet, or with both at work.
 *
 * @returns how many requests were sent, and how many were in the file for certain
 */
async function killUnderLoad(
  settings: { SIDECAR_UPSTREAM: string; SIDECAR_STATE: string },
  when: 'while it begins' | 'between two writes',
) {
  const place = { state: settings.SIDECAR_STATE };
  const sidecar = await serveProcess(settings);
  const { port, key } = await sidecar.ready();
  let [sent, answered, written] = [0, 0, 0];
  let hasWritten = (): void => undefined;
  const firstWrite = new Promise<void>((resolve) => {
    hasWritten = resolve;
  });
  const clients = Array.from({ length: 4 }, () =>
    untilItDies(async () => {
      sent += 1;
      await post({ port, key });
      answered += 1;
    }),
  );
  const writer = untilItDies(async () => {
    // A request is counted a moment after its client has the answer.
    const before = answered - clients.length;
    if ((await saveUsage(place)).up) written = Math.max(written, before);
    hasWritten();
  });
  if (when === 'between two writes') await firstWrite;
  await sleep(Math.random() * 300);
  sidecar.signal('SIGKILL');
  await Promise.all([...clients, writer]);
  await sidecar.clear();
  return { sent, written };
}

const KILLS = 12;
const A_WHILE_MS = 120_000;

it(
  'a sidecar that is killed while it writes has nothing twice, and all that it said it had written',
  async () => {
    const upstream = await startFakeUpstream(sayUsage);
    onTestFinished(upstream.stop);
    const settings = {
      SIDECAR_UPSTREAM: upstream.url,
      SIDECAR_STATE: join(await temporaryFolder(), 'state'),
    };
    let stored = 0;
    for (let nth = 0; nth < KILLS; nth += 1) {
      const { sent, written } = await killUnderLoad(
        settings,
        nth % 3 === 0 ? 'while it begins' : 'between two writes',
      );
      const thread = threadOn(join(settings.SIDECAR_STATE, 'usage.db'));
      const { groups } = await thread.ask('read', { by: 'client', from: 0 });
      thread.close();
      const [{ requests = 0, metered = 0, input = 0, output = 0 } = {}] = groups;
      expect(requests).toBeGreaterThanOrEqual(stored + written);
      expect(requests).toBeLessThanOrEqual(stored + sent);
      expect([input, output]).toEqual([metered * 10, metered * 20]);
      stored = requests;
    }
    expect(stored).toBeGreaterThan(0);
  },
  A_WHILE_MS,
);
