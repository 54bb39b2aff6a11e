import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readKey, readKeySync, readText, readTextSync } from '../../src/config/text-file.ts';

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
  ['at once', async (path: string) => readTextSync(path)],
  ['later', readText],
])('a text file, %s', (_how, read) => {
  it('is read whole, to 1 MiB', async () => {
    expect(await read(write('ü\n'))).toEqual({ text: 'ü\n' });
    expect(await read(write(''))).toEqual({ text: '' });
    const most = 'x'.repeat(1024 * 1024);
    expect(await read(write(most))).toEqual({ text: most });
    expect(await read(write(`${most}x`))).toMatchObject({
      fault: 'it is larger than 1MiB',
      kind: 'unreadable',
      cause: { message: `${join(folder, 'file')}: it is larger than 1MiB` },
    });
  });

  it('may be told missing from broken', async () => {
    const missing = {
      fault: 'it is not there',
      kind: 'missing',
      cause: { code: 'ENOENT' },
    };
    expect(await read(join(folder, 'nothing'))).toMatchObject(missing);
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
    expect(await read(join(folder, 'dangling'))).toMatchObject(missing);
    expect(await read(folder)).toMatchObject({
      fault: 'it is a folder',
      kind: 'unreadable',
      cause: { code: 'EISDIR' },
    });
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'));
    expect(await read(join(folder, 'loop'))).toMatchObject({
      fault: 'it cannot be read (ELOOP)',
      kind: 'unreadable',
    });
    expect(await read('a\0b')).toMatchObject({ kind: 'unreadable' });
  });

  it('may be closed to this user', async () => {
    const path = write('x');
    chmodSync(path, 0o000);
    // Root reads whatever there is.
    const expected =
      process.getuid?.() === 0
        ? { text: 'x' }
        : { fault: 'it cannot be read (EACCES)', kind: 'unreadable' };
    expect(await read(path)).toMatchObject(expected);
  });
});

describe.each([
  ['at once', async (path: string) => readKeySync(path)],
  ['later', readKey],
])('a key file, %s', (_how, read) => {
  it('holds the key, and white space that is none of it', async () => {
    for (const content of ['sk-one', '\uFEFF  sk-one \r\n\n']) {
      const file = await read(write(content));
      expect('key' in file && file.key.reveal()).toBe('sk-one');
    }
  });

  it('may be told empty from missing and from broken', async () => {
    expect(await read(write(' \n'))).toMatchObject({ fault: 'it is empty', kind: 'empty' });
    expect(await read(join(folder, 'nothing'))).toMatchObject({ kind: 'missing' });
    expect(await read(write(Buffer.from([0xff])))).toMatchObject({
      fault: 'it is not UTF-8',
      kind: 'unreadable',
      cause: { message: `${join(folder, 'file')}: it is not UTF-8` },
    });
  });
});
