import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { createFileStore } from '../../src/store/file-store.ts';
import { onDiskSteps } from '../support/disk-steps.ts';
import { keyringOf } from '../support/keyrings.ts';
import { dotenv, file, key, open, openOnDisk } from './publisher-disk.ts';

const WRITE_ONLY = constants.O_WRONLY | constants.O_NONBLOCK;
const TIMED_OUT = 'no answer from the disk within 5 s';

describe('a publisher', () => {
  it('writes files and dotenv files, of the client alone', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'publisher-'));
    try {
      await mkdir(join(folder, 'ci'));
      await writeFile(join(folder, '.env'), 'A=1 # one\n');
      const steps: string[] = [];
      onDiskSteps(folder, (step) => void steps.push(step));
      const opened = open([
        file(join(folder, 'master')),
        dotenv(join(folder, '.env'), 'ONE'),
        dotenv(join(folder, '.env'), 'TWO'),
        file(join(folder, 'ci/key'), 'ci'),
      ]);
      expect(await opened.publisher.publish('master', 1, key(1))).toBe(true);
      expect(await readFile(join(folder, 'master'), 'utf8')).toBe('sk-key-1\n');
      expect(await readFile(join(folder, '.env'), 'utf8')).toBe(
        'A=1 # one\nONE=sk-key-1\nTWO=sk-key-1\n',
      );
      expect(await readdir(join(folder, 'ci'))).toEqual([]);
      expect(await opened.publisher.publish('ci', 1, key(2))).toBe(true);
      expect(await readFile(join(folder, 'ci/key'), 'utf8')).toBe('sk-key-2\n');
      expect(opened.publisher.targets('master')).toEqual(
        ['file:/master', 'dotenv:/.env#ONE', 'dotenv:/.env#TWO'].map((target) => ({
          target: target.replace(':', `:${folder}`),
          ...{ state: 'published', error: null, nextTryAt: null },
        })),
      );
      // What the caller hears of success by the answer it does not hear again.
      expect([opened.published, opened.failures]).toEqual([[], []]);
      expect(steps.filter((step) => step.startsWith('rename'))).toHaveLength(4);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('has nothing to do for a client without targets', async () => {
    const opened = open([file('/nowhere', 'ci')]);
    expect(await opened.publisher.publish('master', 1, key(1))).toBe(true);
    expect(opened.publisher.targets('master')).toEqual([]);
    expect(opened.publisher.targets('ci')).toMatchObject([{ state: 'published' }]);
  });

  it('sees at the start what cannot be written, and says so once, until it can', async () => {
    vi.useFakeTimers();
    const folder = await mkdtemp(join(tmpdir(), 'publisher-'));
    try {
      const path = join(folder, 'a/key');
      const { publisher, notes } = open([file(path), file(join(folder, 'good'))]);
      await publisher.tryAll();
      const message = `the next key of master cannot be published to file:${path}: the folder ${folder}/a is not there: make it, and let the sidecar write it`;
      expect(notes).toEqual([message]);
      expect(publisher.warnings()).toEqual([
        expect.objectContaining({ code: 'publish_target_unwritable', message }),
      ]);
      await publisher.tryAll();
      expect(notes).toHaveLength(1);
      await mkdir(join(folder, 'a'));
      await vi.advanceTimersByTimeAsync(60_000);
      await vi.waitUntil(() => publisher.warnings().length === 0);
      expect(await readdir(join(folder, 'a'))).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says what fails, tries again, and tells once when the last one has it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'publisher-'));
    try {
      const [one, two] = [join(folder, 'a/key'), join(folder, 'b/key')];
      const opened = open([file(one), file(two)]);
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      expect(await opened.publisher.publish('master', 3, key(3))).toBe(false);
      const missing = `the folder ${folder}/a is not there: make it, and let the sidecar write it`;
      expect(opened.failures).toContain(`${one}: ${missing}`);
      expect(opened.publisher.targets('master')[0]).toMatchObject({
        target: `file:${one}`,
        state: 'pending',
        error: missing,
      });
      await mkdir(join(folder, 'a'));
      vi.advanceTimersByTime(1000);
      await vi.waitFor(() => {
        expect(opened.publisher.targets('master')[0]?.state).toBe('published');
      });
      expect(opened.published).toEqual([]);
      await mkdir(join(folder, 'b'));
      vi.advanceTimersByTime(5000);
      await vi.waitFor(() => expect(opened.published).toEqual(['master-3']));
      expect(await readFile(two, 'utf8')).toBe('sk-key-3\n');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a target that fails', () => {
  it('is tried by the table, each failure told, and shown with its next try', async () => {
    const { disk, publisher, failures, published } = openOnDisk([file('/a')]);
    const first = publisher.publish('master', 1, key(1));
    for (const wait of [1000, 5000, 15_000, 60_000, 300_000, 300_000]) {
      await vi.advanceTimersByTimeAsync(0);
      await disk.end('/a sk-key-1', new Error('full'));
      expect(publisher.targets('master')).toEqual([
        {
          target: 'file:/a',
          state: 'pending',
          error: 'full',
          nextTryAt: new Date(Date.now() + wait).toISOString(),
        },
      ]);
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(disk.under()).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(publisher.targets('master')).toMatchObject([{ error: 'full', nextTryAt: null }]);
    }
    expect(await first).toBe(false);
    expect(failures).toEqual(Array(6).fill('/a: full'));
    await disk.end('/a sk-key-1');
    expect(published).toEqual(['master-1']);
    expect(publisher.targets('master')).toEqual([
      { target: 'file:/a', state: 'published', error: null, nextTryAt: null },
    ]);
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect([disk.under(), published]).toEqual([[], ['master-1']]);
  });

  it('and works again while another one is waited for is told by the answer alone', async () => {
    const { disk, publisher, published } = openOnDisk([file('/a'), file('/b')]);
    const answer = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(0);
    await disk.end('/a sk-key-1', new Error('full'));
    await vi.advanceTimersByTimeAsync(1000);
    await disk.end('/a sk-key-1');
    await disk.end('/b sk-key-1');
    expect(await answer).toBe(true);
    expect(published).toEqual([]);
  });

  it('is left alone when a newer key comes, and the older one is never told of', async () => {
    const { disk, publisher, published } = openOnDisk([file('/a'), file('/b')]);
    const older = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(0);
    await disk.end('/a sk-key-1', new Error('full'));
    await disk.end('/b sk-key-1');
    expect(await older).toBe(false);
    const newer = publisher.publish('master', 2, key(2));
    await vi.advanceTimersByTimeAsync(0);
    expect(disk.under()).toEqual(['/a sk-key-2', '/b sk-key-2']);
    await disk.end('/a sk-key-2');
    await disk.end('/b sk-key-2');
    expect(await newer).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect([disk.under(), published]).toEqual([[], []]);
  });

  it('is not said to have a key that was forgotten while it was written', async () => {
    const { disk, publisher, published } = openOnDisk([file('/a')]);
    const answer = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(0);
    publisher.forget('master');
    await disk.end('/a sk-key-1');
    expect(await answer).toBe(false);
    expect(published).toEqual([]);
  });

  it('is tried no more once its key is forgotten, or all is closed', async () => {
    const { disk, publisher, published } = openOnDisk([file('/a'), file('/b', 'ci')]);
    const answers = ['master', 'ci'].map((client) => publisher.publish(client, 1, key(1)));
    await vi.advanceTimersByTimeAsync(0);
    await disk.end('/a sk-key-1', new Error('full'));
    await disk.end('/b sk-key-1', new Error('full'));
    expect(await Promise.all(answers)).toEqual([false, false]);
    publisher.forget('master');
    expect(publisher.targets('master')).toMatchObject([{ state: 'published', nextTryAt: null }]);
    expect(publisher.targets('ci')).toMatchObject([{ state: 'pending' }]);
    await vi.advanceTimersByTimeAsync(999);
    publisher.close();
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect([disk.under(), published]).toEqual([[], []]);
    const last = publisher.publish('ci', 2, key(2));
    await vi.advanceTimersByTimeAsync(0);
    await disk.end('/b sk-key-2', new Error('full'));
    expect(await last).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a disk that hangs', () => {
  it('holds a rotation up for five seconds, and others not at all', async () => {
    const { disk, publisher, failures, published } = openOnDisk([file('/a'), file('/b')]);
    const answer = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(0);
    await disk.end('/b sk-key-1');
    expect(publisher.targets('master').map(({ state }) => state)).toEqual(['pending', 'published']);
    await vi.advanceTimersByTimeAsync(4999);
    expect(failures).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await answer).toBe(false);
    expect(failures).toEqual([`/a: ${TIMED_OUT}`]);
    // It is waited for again, not written a second time.
    await vi.advanceTimersByTimeAsync(6000);
    expect(failures).toEqual([`/a: ${TIMED_OUT}`, `/a: ${TIMED_OUT}`]);
    expect(disk.under()).toEqual(['/a sk-key-1']);
    await disk.end('/a sk-key-1');
    expect(published).toEqual(['master-1']);
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect(disk.under()).toEqual([]);
  });

  it('keeps others from being written only where it is not alone, and no more than two', async () => {
    const { disk, publisher, failures } = openOnDisk([file('/a'), file('/b'), file('/c')]);
    const answer = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(0);
    expect(disk.under()).toEqual(['/a sk-key-1', '/b sk-key-1']);
    await vi.advanceTimersByTimeAsync(5000);
    expect(await answer).toBe(false);
    expect(failures).toEqual([
      ...[`/a: ${TIMED_OUT}`, `/b: ${TIMED_OUT}`],
      '/c: other writes are under way, and get no answer from their disks',
    ]);
    await disk.end('/b sk-key-1');
    expect(disk.under()).toEqual(['/a sk-key-1', '/c sk-key-1']);
    // A key that is withdrawn while it waits for its turn is written nowhere.
    void publisher.publish('master', 2, key(2));
    await vi.advanceTimersByTimeAsync(0);
    publisher.forget('master');
    await disk.end('/a sk-key-1');
    await disk.end('/c sk-key-1');
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect(disk.under().filter((each) => !each.startsWith('/b'))).toEqual([]);
  });

  it('really hangs, twice, and the keyring is saved and other files are read all the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'publisher-'));
    const fifos = ['one', 'two', 'three', 'four'].map((name) => join(folder, name));
    try {
      for (const each of fifos) execFileSync('mkfifo', [each]);
      const { publisher } = open(fifos.map((each) => dotenv(each, 'KEY')));
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const answer = publisher.publish('master', 1, key(1));
      vi.advanceTimersByTime(5000);
      expect(await answer).toBe(false);
      vi.useRealTimers();
      const store = createFileStore({ folder });
      expect(await store.save(keyringOf([]), 0)).toBe(1);
      expect(await store.load()).toMatchObject({ version: 1 });
      publisher.forget('master');
    } finally {
      // The two reads that hang end once somebody writes there.
      await vi.waitFor(() => {
        for (const each of fifos.slice(0, 2)) {
          if (statSync(each).isFIFO()) closeSync(openSync(each, WRITE_ONLY));
          expect(statSync(each).isFile()).toBe(true);
        }
      });
      await rm(folder, { recursive: true });
    }
  });

  it('and fails after a second wait is left alone until the next try', async () => {
    const { disk, publisher } = openOnDisk([file('/a')]);
    void publisher.publish('master', 1, key(1));
    // Two tries of five seconds, and the wait of one second between them.
    await vi.advanceTimersByTimeAsync(11_000);
    await disk.end('/a sk-key-1', new Error('late'));
    await vi.advanceTimersByTimeAsync(4999);
    expect(disk.under()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(disk.under()).toEqual(['/a sk-key-1']);
  });

  it('for an older key is no failure of the newer one', async () => {
    const { disk, publisher, failures } = openOnDisk([file('/a')]);
    const older = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(3000);
    void publisher.publish('master', 2, key(2));
    await vi.advanceTimersByTimeAsync(4000);
    expect(await older).toBe(false);
    expect(failures).toEqual([]);
    expect(publisher.targets('master')).toMatchObject([{ error: null, nextTryAt: null }]);
    await disk.end('/a sk-key-1');
    expect(disk.under()).toEqual(['/a sk-key-2']);
  });

  it('and fails in the end is tried again, and that failure is not told twice', async () => {
    const { disk, publisher, failures, published } = openOnDisk([file('/a')]);
    const answer = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(5000);
    expect(await answer).toBe(false);
    await disk.end('/a sk-key-1', new Error('late'));
    expect(failures).toEqual([`/a: ${TIMED_OUT}`]);
    await vi.advanceTimersByTimeAsync(1000);
    await disk.end('/a sk-key-1');
    expect(published).toEqual(['master-1']);
  });

  it('does not bring an old key back: the newer one is written behind it', async () => {
    const { disk, publisher, published } = openOnDisk([file('/a')]);
    const older = publisher.publish('master', 1, key(1));
    await vi.advanceTimersByTimeAsync(5000);
    const newer = publisher.publish('master', 2, key(2));
    await vi.advanceTimersByTimeAsync(0);
    expect(disk.under()).toEqual(['/a sk-key-1']);
    await disk.end('/a sk-key-1');
    expect(publisher.targets('master')).toMatchObject([{ state: 'pending' }]);
    expect(disk.under()).toEqual(['/a sk-key-2']);
    await disk.end('/a sk-key-2');
    expect(await Promise.all([older, newer])).toEqual([false, true]);
    expect([disk.held.get('/a'), published]).toEqual(['sk-key-2', []]);
  });

  it('lets a key be passed over whose turn had not come', async () => {
    const { disk, publisher } = openOnDisk([dotenv('/e', 'A'), dotenv('/e', 'B', 'ci')]);
    const ci = publisher.publish('ci', 1, key(1));
    const passed = publisher.publish('master', 2, key(2));
    const last = publisher.publish('master', 3, key(3));
    await vi.advanceTimersByTimeAsync(0);
    expect(disk.under()).toEqual(['/e#B sk-key-1']);
    await disk.end('/e#B sk-key-1');
    expect(disk.under()).toEqual(['/e#A sk-key-3']);
    await disk.end('/e#A sk-key-3');
    expect(await Promise.all([ci, passed, last])).toEqual([true, false, true]);
  });
});
