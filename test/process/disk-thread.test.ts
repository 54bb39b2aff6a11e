import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFile } from '../../src/store/durable-file.ts';

const CHILD = fileURLToPath(new URL('disk-thread-child.js', import.meta.url));

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'disk-thread-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function run(what: string): Promise<{ code: number; said: unknown }> {
  const child = spawn(process.execPath, [CHILD, folder, what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const lines = said.split('\n').filter((line) => line !== '');
  const all = lines.map((line) => JSON.parse(line) as object);
  return { code: code as number, said: Object.assign({}, ...all) as unknown };
}

const written = (): Promise<string> => readFile(join(folder, 'file'), 'utf8');

describe('the thread that writes', () => {
  it('writes, and keeps no process alive once it is idle', async () => {
    expect(await run('idle')).toMatchObject({ code: 0, said: { stamp: expect.any(String) } });
    expect(await written()).toBe('one');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('stands still at each fault point, in the order of the work', async () => {
    const steps: string[] = [];
    replaceFile({ path: join(folder, 'file'), data: 'x' }, (name) => steps.push(name));
    expect(steps.length).toBeGreaterThan(4);
    expect(await run('faults')).toEqual({ code: 0, said: { steps } });
    expect(await written()).toBe('two');
  });

  it('fails with the code of what failed, and goes on', async () => {
    const failure = { message: 'no room', code: 'ENOSPC', syscall: 'fsync' };
    expect(await run('failing')).toEqual({ code: 0, said: { ...failure, written: true } });
    expect(await written()).toBe('new');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('does not start before somebody is served', async () => {
    expect(await run('serving')).toEqual({ code: 0, said: { before: 0, after: 1 } });
  });

  it('carries out what has begun when it is closed', async () => {
    expect(await run('closing')).toEqual({ code: 0, said: { done: true } });
    expect(await written()).toBe('after');
  });

  it('ends with its process', async () => {
    expect(await run('exit')).toMatchObject({ code: 7 });
  });
});
