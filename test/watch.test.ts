import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createFolderWatch, type FolderWatch } from '../src/watch.ts';

let root = '';
let watch: FolderWatch | undefined;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'folder-watch-'));
});
afterEach(async () => {
  watch?.stop();
  await rm(root, { recursive: true });
});

/** Opens, in place of Node's watches, ones that the test ends. */
function counted() {
  const open: { readonly folder: string; event(name: string | null): void; end(): void }[] = [];
  let events = 0;
  const made = createFolderWatch(
    () => {
      events += 1;
    },
    (folder, event, end) => {
      const entry = { folder, event, end };
      open.push(entry);
      return { close: () => void open.splice(open.indexOf(entry), 1) };
    },
  );
  watch = made;
  return {
    watch: made,
    open,
    folders: () => open.map(({ folder }) => folder),
    events: () => events,
  };
}

describe('the folders of files', () => {
  it('are watched once each, and no longer than their files are asked for', async () => {
    const { watch, folders } = counted();
    await mkdir(join(root, 'a'));
    await watch.follow([join(root, 'a/one'), join(root, 'a/two'), join(root, 'three')]);
    await watch.follow([join(root, 'a/one'), join(root, 'three')]);
    expect(folders().sort()).toEqual([root, join(root, 'a')].sort());
    await watch.follow([join(root, 'three')]);
    expect(folders()).toEqual([root]);
    watch.stop();
    expect(folders()).toEqual([]);
    await watch.follow([join(root, 'three')]);
    expect(folders()).toEqual([]);
  });

  it('that are not there are met when they come, and anew when they are others', async () => {
    const { watch, open, folders } = counted();
    const files = [join(root, 'a/file')];
    await watch.follow(files);
    expect(folders()).toEqual([]);
    await mkdir(join(root, 'a'));
    await watch.follow(files);
    const [first] = open;
    await mkdir(join(root, 'b'));
    await rename(join(root, 'a'), join(root, 'c'));
    await rename(join(root, 'b'), join(root, 'a'));
    await watch.follow(files);
    expect(folders()).toEqual([join(root, 'a')]);
    expect(open[0]).not.toBe(first);
    // At once, so that it may get the number that the one before it had.
    const [second] = open;
    await rm(join(root, 'a'), { recursive: true });
    await mkdir(join(root, 'a'));
    await watch.follow(files);
    expect(folders()).toEqual([join(root, 'a')]);
    expect(open[0]).not.toBe(second);
    await rm(join(root, 'a'), { recursive: true });
    await watch.follow(files);
    expect(folders()).toEqual([]);
  });

  it('are met anew where a watch ended, and left to the poll where none can be had', async () => {
    const { watch, open, folders } = counted();
    const files = [join(root, 'file')];
    await watch.follow(files);
    open[0]?.end();
    expect(folders()).toEqual([]);
    await watch.follow(files);
    expect(folders()).toEqual([root]);
    const none = createFolderWatch(
      () => undefined,
      () => {
        throw new Error('ENOSPC');
      },
    );
    await none.follow(files);
    none.stop();
  });

  it('tell of these files, of links on the way to them, and of nothing else', async () => {
    const { watch, open, events } = counted();
    await watch.follow([join(root, 'file')]);
    for (const name of ['log', 'file~', '.file.swp']) open[0]?.event(name);
    expect(events()).toBe(0);
    for (const name of ['file', '..data', '..2026_11_25', null]) open[0]?.event(name);
    expect(events()).toBe(4);
    await watch.follow([join(root, 'log')]);
    open[0]?.event('file');
    expect(events()).toBe(4);
    open[0]?.event('log');
    expect(events()).toBe(5);
  });

  it('tell of files that come and go in them', async () => {
    let events = 0;
    const made = createFolderWatch(() => {
      events += 1;
    });
    watch = made;
    await made.follow([join(root, 'file')]);
    await writeFile(join(root, 'file'), 'x');
    await vi.waitFor(() => expect(events).toBeGreaterThan(0));
    const before = events;
    await rename(join(root, 'file'), join(root, 'other'));
    await vi.waitFor(() => expect(events).toBeGreaterThan(before));
  });
});
