import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';

let folder: string;
const opened = new Set<number>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-'));
});
afterEach(() => {
  for (const fd of opened) closeFile(fd);
  rmSync(folder, { recursive: true });
});

/** A path in a folder that goes with the test. */
export const inFolder = (name: string): string => join(folder, name);

/** Opens a file that is closed with the test at the latest. */
export const openFile = (path: string, flags: number | string): number => {
  const fd = openSync(path, flags);
  opened.add(fd);
  return fd;
};

export const closeFile = (fd: number): void => {
  opened.delete(fd);
  closeSync(fd);
};

/** A pipe whose ends do not block: a reader that stalls, leaves and comes back. */
export const openPipe = () => {
  const path = inFolder('pipe');
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  const openReader = () => openFile(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const reader = openReader();
  return { reader, openReader, writer: openFile(path, constants.O_WRONLY | constants.O_NONBLOCK) };
};

/** What the pipe holds now. */
export const drain = (reader: number): string => {
  const bytes = Buffer.alloc(1 << 20);
  try {
    return bytes.toString('utf8', 0, readSync(reader, bytes));
  } catch {
    return '';
  }
};
