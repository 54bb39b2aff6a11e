import { mkdir, mkdtemp, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConfigTreeError, digestOfTree, readConfigTree } from '../../src/litellm/config.ts';
import { createConfigWatch } from '../../src/litellm/config-watch.ts';
import type { Watch } from '../../src/watch.ts';

// Before any test fakes them.
const soon = globalThis.setImmediate;

let base: string;
let watches: Watch[] = [];
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'config-watch-'));
});
afterEach(async () => {
  vi.useRealTimers();
  for (const watch of watches) watch.stop();
  watches = [];
  await rm(base, { recursive: true, force: true });
});

const at = (...path: string[]): string => join(base, ...path);
const digest = async (source: string): Promise<string> =>
  digestOfTree(await readConfigTree(source));

/** What it tells, an error by its message; `settleMs` stays under what a test waits. */
function follow(source: string, times = { pollMs: 5, settleMs: 5 }) {
  const told: string[] = [];
  const onChanged = (now: string | ConfigTreeError): void => {
    told.push(typeof now === 'string' ? now : now.message.replaceAll(base, ''));
  };
  const watch = createConfigWatch({ source, onChanged, ...times });
  watches.push(watch);
  const tells = (expected: readonly string[]): Promise<void> =>
    vi.waitFor(() => expect(told).toEqual(expected), { timeout: 5000, interval: 5 });
  return { watch, told, tells };
}

describe('a configuration that is followed', () => {
  it('is told once as it is, and again as it becomes', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'one');
    const { watch, told, tells } = follow(file);
    const one = await digest(file);
    await tells([one]);
    await watch.check();
    await writeFile(file, 'two');
    const two = await digest(file);
    await tells([one, two]);
    // Same size, same name, another file.
    await writeFile(at('new'), 'six');
    await rename(at('new'), file);
    const six = await digest(file);
    await tells([one, two, six]);
    await watch.check();
    expect(told).toHaveLength(3);
  });

  it('may lie in a file of a folder in the folder', async () => {
    await mkdir(at('c', 'hooks'), { recursive: true });
    await writeFile(at('c', 'config.yaml'), 'x');
    await writeFile(at('c', 'hooks', 'a.py'), 'a');
    const { tells } = follow(at('c'));
    const told = [await digest(at('c'))];
    await tells(told);
    const becomes = async (): Promise<void> => {
      told.push(await digest(at('c')));
      await tells(told);
    };
    await writeFile(at('c', 'hooks', 'a.py'), 'b');
    await becomes();
    await writeFile(at('c', 'hooks', 'b.py'), 'b');
    await becomes();
    await unlink(at('c', 'hooks', 'a.py'));
    await becomes();
    expect(new Set(told).size).toBe(4);
  });

  it('may be swapped as Kubernetes swaps it', async () => {
    const version = async (name: string, text: string): Promise<void> => {
      await mkdir(at('c', name), { recursive: true });
      await writeFile(at('c', name, 'config.yaml'), text);
      await symlink(name, at('c', '..data_tmp'));
      await rename(at('c', '..data_tmp'), at('c', '..data'));
    };
    await version('..1', 'one');
    await symlink('..data/config.yaml', at('c', 'config.yaml'));
    const { tells } = follow(at('c'));
    const one = await digest(at('c'));
    await tells([one]);
    await version('..2', 'two');
    const two = await digest(at('c'));
    expect(two).not.toBe(one);
    await tells([one, two]);
  });

  it('may lie behind a link, and change there', async () => {
    await mkdir(at('c'));
    await writeFile(at('real.yaml'), 'one');
    await symlink('../real.yaml', at('c', 'config.yaml'));
    const { tells } = follow(at('c'));
    const one = await digest(at('c'));
    await tells([one]);
    await writeFile(at('real.yaml'), 'two');
    await tells([one, await digest(at('c'))]);
  });

  it('may go, be another thing, and come back', async () => {
    await mkdir(at('c'));
    await writeFile(at('c', 'config.yaml'), 'one');
    const { watch, told, tells } = follow(at('c'));
    const one = await digest(at('c'));
    await tells([one]);
    await rename(at('c'), at('away'));
    const gone = '/c does not exist';
    await tells([one, gone]);
    // An error that lasts is told once.
    await watch.check();
    await watch.check();
    await mkdir(at('c'));
    const empty = '/c is a folder without a config.yaml';
    await tells([one, gone, empty]);
    await rm(at('c'), { recursive: true });
    await rename(at('away'), at('c'));
    await tells([one, gone, empty, one]);
    expect(told).toHaveLength(4);
  });

  it('is told as an error where it is one from the start', async () => {
    const { tells } = follow(at('none.yaml'));
    await tells(['/none.yaml does not exist']);
    await writeFile(at('none.yaml'), '');
    await tells(['/none.yaml does not exist', await digest(at('none.yaml'))]);
  });

  it('is not told again where it was only touched', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'one');
    const { watch, told } = follow(file, { pollMs: 60_000, settleMs: 5 });
    await watch.check();
    await utimes(file, 1, 1);
    await watch.check();
    await writeFile(at('.config.yaml.swp'), 'an editor');
    await watch.check();
    expect(told).toHaveLength(1);
  });

  it('is read again where an error may have passed without a trace', async () => {
    await mkdir(at('c'));
    await writeFile(at('c', 'config.yaml'), 'one');
    const { watch, told } = follow(at('c'), { pollMs: 60_000, settleMs: 5 });
    const tree = await import('../../src/litellm/config.ts');
    await watch.check();
    // A file system whose stamps say nothing.
    vi.spyOn(tree, 'stampsOf').mockResolvedValue('the same');
    await rename(at('c'), at('away'));
    await watch.check();
    await rename(at('away'), at('c'));
    await watch.check();
    const one = await digest(at('c'));
    expect(told).toEqual([one, '/c does not exist', one]);
  });
});

describe('a look', () => {
  /** Lets what is under way go on until it waits for its second reading. */
  const firstReading = async (): Promise<void> => {
    while (vi.getTimerCount() === 0) await new Promise((wake) => soon(wake));
  };
  const LONG = { pollMs: 1_000_000, settleMs: 1000 };

  beforeEach(() => {
    // The poll's own timer is no pause.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
  });

  it('does not believe what is half written', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'half');
    const { watch, told } = follow(file, LONG);
    const looked = watch.check();
    await firstReading();
    await writeFile(file, 'half and half');
    vi.advanceTimersByTime(1000);
    await firstReading();
    expect(told).toEqual([]);
    vi.advanceTimersByTime(999);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1);
    await looked;
    expect(told).toEqual([await digest(file)]);
  });

  it('sees what changed while it was under way', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'one');
    const { watch, told } = follow(file, LONG);
    const first = watch.check();
    await firstReading();
    vi.advanceTimersByTime(1000);
    await first;
    await writeFile(file, 'two');
    const second = watch.check();
    await firstReading();
    vi.advanceTimersByTime(1000);
    await second;
    expect(told).toHaveLength(2);
    expect(told[1]).toBe(await digest(file));
  });

  it('tells nothing once it was stopped', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'one');
    const { watch, told } = follow(file, LONG);
    const looked = watch.check();
    await firstReading();
    watch.stop();
    vi.advanceTimersByTime(1000);
    await looked;
    expect(told).toEqual([]);
    await watch.check();
    expect(told).toEqual([]);
  });

  it('reads no file where no stamp changed', async () => {
    const file = at('config.yaml');
    await writeFile(file, 'one');
    const { watch } = follow(file, LONG);
    const first = watch.check();
    await firstReading();
    vi.advanceTimersByTime(1000);
    await first;
    const tree = await import('../../src/litellm/config.ts');
    const reads = vi.spyOn(tree, 'lookAtConfig');
    await watch.check();
    expect(reads).not.toHaveBeenCalled();
    // It would have been seen.
    await writeFile(file, 'two');
    const second = watch.check();
    await firstReading();
    vi.advanceTimersByTime(1000);
    await second;
    expect(reads).toHaveBeenCalledTimes(2);
  });
});
