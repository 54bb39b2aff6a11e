import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readText } from '../../src/config/read-text.ts';

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

describe('a text file', () => {
  it('is read whole, to 1 MiB', () => {
    expect(readText(write('ü\n'))).toEqual({ text: 'ü\n' });
    expect(readText(write(''))).toEqual({ text: '' });
    const most = 'x'.repeat(1024 * 1024);
    expect(readText(write(most))).toEqual({ text: most });
    expect(readText(write(`${most}x`))).toEqual({
      fault: 'it is larger than 1MiB',
      missing: false,
    });
  });

  it('may be told missing from broken', () => {
    const missing = { fault: 'it is not there', missing: true };
    expect(readText(join(folder, 'nothing'))).toEqual(missing);
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
    expect(readText(join(folder, 'dangling'))).toEqual(missing);
    expect(readText(folder)).toEqual({ fault: 'it is a folder', missing: false });
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'));
    expect(readText(join(folder, 'loop'))).toEqual({
      fault: 'it cannot be read (ELOOP)',
      missing: false,
    });
    expect(readText('a\0b')).toMatchObject({ missing: false });
  });

  it('may be closed to this user', () => {
    const path = write('x');
    chmodSync(path, 0o000);
    // Root reads whatever there is.
    const expected =
      process.getuid?.() === 0
        ? { text: 'x' }
        : { fault: 'it cannot be read (EACCES)', missing: false };
    expect(readText(path)).toEqual(expected);
  });
});
