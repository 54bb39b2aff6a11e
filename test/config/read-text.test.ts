import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readText, readTextLater } from '../../src/config/load.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecar-text-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const write = (content: string | Uint8Array): string => {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  return path;
};

describe.each([
  ['at once', async (path: string) => readText(path)],
  ['later', readTextLater],
])('a text file, %s', (_how, read) => {
  it('is read whole, to 1 MiB', async () => {
    expect(await read(write('ü\n'))).toEqual({ text: 'ü\n' });
    expect(await read(write(''))).toEqual({ text: '' });
    const most = 'x'.repeat(1024 * 1024);
    expect(await read(write(most))).toEqual({ text: most });
    expect(await read(write(`${most}x`))).toEqual({
      fault: 'it is larger than 1MiB',
      missing: false,
    });
  });

  it('may be told missing from broken', async () => {
    const missing = { fault: 'it is not there', missing: true };
    expect(await read(join(folder, 'nothing'))).toEqual(missing);
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
    expect(await read(join(folder, 'dangling'))).toEqual(missing);
    expect(await read(folder)).toEqual({ fault: 'it is a folder', missing: false });
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'));
    expect(await read(join(folder, 'loop'))).toEqual({
      fault: 'it cannot be read (ELOOP)',
      missing: false,
    });
    expect(await read('a\0b')).toMatchObject({ missing: false });
  });

  it('may be closed to this user', async () => {
    const path = write('x');
    chmodSync(path, 0o000);
    // Root reads whatever there is.
    const expected =
      process.getuid?.() === 0
        ? { text: 'x' }
        : { fault: 'it cannot be read (EACCES)', missing: false };
    expect(await read(path)).toEqual(expected);
  });
});
