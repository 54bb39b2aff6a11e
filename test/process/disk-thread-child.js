/**
 * Writes files through the thread of a built sidecar, and says what it sees, a line of JSON each.
 *
 * argv: folder, what to do
 */
import { createDisk } from '../../dist/parts/disk.js';

const [, , folder = '', what = ''] = process.argv;
const say = (/** @type {object} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const write = (/** @type {import('../../src/store/disk.ts').Disk} */ disk, text = 'x') =>
  disk.run('replace', { path: `${folder}/file`, data: text });

/** @type {Record<string, () => Promise<void>>} */
const DEEDS = {
  /** Nothing is closed: what is idle keeps no process alive. */
  async idle() {
    const disk = createDisk();
    say({ stamp: await write(disk, 'one') });
  },
  /** The loop turns while the thread stands still at a fault point. */
  async faults() {
    /** @type {string[]} */
    const steps = [];
    const disk = createDisk({ fault: (name) => void steps.push(name) });
    await write(disk, 'two');
    say({ steps });
  },
  /** What a fault point throws is what the write fails with; the next one is none the worse. */
  async failing() {
    let on = true;
    const fault = (/** @type {string} */ name) => {
      if (!on || name !== 'sync file') return;
      throw Object.assign(new Error('no room'), { code: 'ENOSPC', syscall: 'fsync' });
    };
    const disk = createDisk({ fault });
    await write(disk, 'old').catch(({ message, code, syscall }) => say({ message, code, syscall }));
    on = false;
    await write(disk, 'new');
    say({ written: true });
  },
  /** Before anybody is served there is no thread. */
  async serving() {
    const threads = () => process.getActiveResourcesInfo().filter((each) => /Port/.test(each));
    const disk = createDisk({ thread: 'later' });
    await write(disk);
    say({ before: threads().length });
    disk.allowThread();
    const writing = write(disk);
    await new Promise((resolve) => setImmediate(resolve));
    say({ after: threads().length });
    await writing;
  },
  /** Closed in the middle: what has begun is carried out. */
  async closing() {
    const disk = createDisk();
    await write(disk, 'before');
    const writing = write(disk, 'after');
    disk.close();
    await writing;
    say({ done: true });
  },
  /** The end of the process does not wait for the thread. */
  async exit() {
    const disk = createDisk();
    await write(disk);
    void write(disk);
    process.exit(7);
  },
};
await DEEDS[what]?.();
