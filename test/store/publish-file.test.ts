import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { behindLinks, publishToFile } from '../../src/store/publish.ts';
import { onDiskSteps } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('publish-file');

const key = new Secret('sk-published-key');
const publish = (name: string, onStep: (step: string) => void = () => undefined): Promise<void> => {
  onDiskSteps(folder(), onStep);
  return publishToFile(at(name), key);
};
const at = (name: string): string => join(folder(), name);
const read = (name: string): Promise<string> => readFile(at(name), 'utf8');

describe('a file that a key is published to', () => {
  it('holds the key alone, for its owner alone', async () => {
    await publish('master');
    expect(await read('master')).toBe('sk-published-key\n');
    expect((await stat(at('master'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder())).toEqual(['master']);
  });

  it('is replaced, never written into, and closed to others from then on', async () => {
    await writeFile(at('master'), 'sk-old');
    await chmod(at('master'), 0o644);
    const { ino } = await stat(at('master'));
    await publish('master');
    expect(await read('master')).toBe('sk-published-key\n');
    const after = await stat(at('master'));
    expect(after.ino).not.toBe(ino);
    expect(after.mode & 0o777).toBe(0o600);
  });

  it('is on the disk before it takes the place of the old one, and the folder afterwards', async () => {
    const steps: string[] = [];
    await publish('master', (step) => steps.push(step));
    expect(steps).toEqual([
      ...['create master', 'write master', 'sync master', 'rename master'],
      'sync the folder of master',
    ]);
  });

  it('is as it was where a step fails', async () => {
    await writeFile(at('master'), 'sk-old\n');
    for (const step of ['write', 'sync', 'rename']) {
      const failing = publish('master', (name) => {
        if (name === `${step} master`) throw Object.assign(new Error(), { code: 'ENOSPC' });
      });
      await expect(failing).rejects.toThrow(`the disk of ${folder()} is full`);
      expect(await read('master')).toBe('sk-old\n');
      expect(await readdir(folder())).toEqual(['master']);
    }
  });

  it('is not made in a folder that is not there: a mount may be missing', async () => {
    const failing = publish('none/master');
    await expect(failing).rejects.toThrow(
      `the folder ${at('none')} is not there: make it, and let the sidecar write it`,
    );
    expect(await readdir(folder())).toEqual([]);
  });

  it.each([
    ['is a folder', 'sub', () => mkdir(at('sub')), 'sub is a folder'],
    ['lies below a file', 'a/b', () => writeFile(at('a'), ''), 'a is not a folder'],
    [
      'links to itself',
      'l',
      () => symlink('l', at('l')),
      'is a symbolic link that leads to itself',
    ],
  ])('cannot be what %s', async (_what, name, make, message) => {
    await make();
    await expect(publish(name)).rejects.toThrow(message);
  });

  it('says what keeps it from being written', async () => {
    const failing = (code: string): Promise<void> =>
      publish('master', () => {
        throw Object.assign(new Error('raw words'), { code });
      });
    await expect(failing('EBUSY')).rejects.toThrow(
      `${at('master')} is mounted by itself and cannot be replaced: mount its folder`,
    );
    await expect(failing('EACCES')).rejects.toThrow(`may not write the folder ${folder()}`);
    await expect(failing('EROFS')).rejects.toThrow(`the folder ${folder()} is read-only`);
    await expect(failing('EIO')).rejects.toThrow('raw words');
  });
});

describe('a symbolic link that a key is published to', () => {
  it('stays, and what it points at is replaced', async () => {
    await mkdir(at('real'));
    await symlink('real', at('folder'));
    await writeFile(at('real/key'), 'sk-old');
    await symlink('../folder/key', at('real/second'));
    await symlink('folder/second', at('first'));
    await publish('first');
    expect(await readlink(at('first'))).toBe('folder/second');
    expect(await readlink(at('real/second'))).toBe('../folder/key');
    expect(await read('real/key')).toBe('sk-published-key\n');
    expect((await readdir(at('real'))).sort()).toEqual(['key', 'second']);
  });

  it('may point at nothing so far, and says so where its folder is missing', async () => {
    await symlink('real', at('link'));
    await publish('link');
    expect(await read('real')).toBe('sk-published-key\n');
    await symlink('nowhere/real', at('other'));
    await expect(publish('other')).rejects.toThrow(`the folder ${at('nowhere')} is not there`);
  });

  it('with .. in it starts at the folder as it really is', async () => {
    await mkdir(at('deep/er'), { recursive: true });
    await symlink('deep/er', at('short'));
    await symlink('../key', at('deep/er/link'));
    expect(await behindLinks(at('short/link'))).toBe(at('deep/key'));
  });
});
