import { appendFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { publishToDotenv } from '../../src/store/publish.ts';
import { diskError, onDiskSteps } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('publish-dotenv');
let path = '';
beforeEach(() => {
  path = join(folder(), '.env');
});

const key = new Secret('sk-published-key');
const publish = (onStep: (name: string) => void = () => undefined): Promise<void> => {
  onDiskSteps(folder(), onStep);
  return publishToDotenv(path, 'KEY', key, (each) => shortcomings.push(each));
};
const shortcomings: string[] = [];
const read = (): Promise<string> => readFile(path, 'utf8');
const mode = async (): Promise<number> => (await stat(path)).mode & 0o777;

describe('a dotenv file that a key is published to', () => {
  it('is changed in one line, and every other byte stays', async () => {
    const text = '\uFEFF# ours\r\nA="1"\r\n\nKEY="sk-old" # mine\r\nB=ü';
    await writeFile(path, text);
    await publish();
    expect(await read()).toBe(text.replace('sk-old', 'sk-published-key'));
    expect(await readdir(folder())).toEqual(['.env']);
  });

  it('is made for its owner alone where there is none, but its folder is not', async () => {
    await publish();
    expect(await read()).toBe('KEY=sk-published-key\n');
    expect(await mode()).toBe(0o600);
    path = join(folder(), 'none', '.env');
    await expect(publish()).rejects.toThrow(`the folder ${join(folder(), 'none')} is not there`);
    expect(await readdir(folder())).toEqual(['.env']);
  });

  it.each([0o600, 0o640, 0o664, 0o444])('keeps its mode %i', async (bits) => {
    await writeFile(path, 'KEY=sk-old\n');
    await chmod(path, bits);
    await publish();
    expect(await read()).toBe('KEY=sk-published-key\n');
    expect(await mode()).toBe(bits);
  });

  it.runIf(process.getuid?.() === 0)('keeps its owner where files may be given away', async () => {
    await writeFile(path, 'KEY=sk-old\n');
    await chown(path, 1234, 2345);
    await publish();
    const { uid, gid } = await stat(path);
    expect([uid, gid]).toEqual([1234, 2345]);
  });

  it('is written where its folder cannot be synced, which is told', async () => {
    await publish((step) => {
      if (step === 'sync the folder of .env') throw diskError('EINVAL');
    });
    expect(await read()).toBe('KEY=sk-published-key\n');
    expect(shortcomings).toEqual([expect.stringContaining('cannot be synced (EINVAL)')]);
  });

  it('is replaced through a symbolic link, which stays', async () => {
    await mkdir(join(folder(), 'real'));
    await writeFile(join(folder(), 'real', 'env'), 'A=1\n');
    await symlink('real/env', path);
    await publish();
    expect(await readlink(path)).toBe('real/env');
    expect(await read()).toBe('A=1\nKEY=sk-published-key\n');
  });

  it('that has the key already is not replaced', async () => {
    await writeFile(path, "KEY='sk-published-key'\n");
    const { ino, mtimeNs } = await stat(path, { bigint: true });
    const steps: string[] = [];
    await publish((step) => steps.push(step));
    expect(steps).toEqual(['sync .env']);
    expect(await stat(path, { bigint: true })).toMatchObject({ ino, mtimeNs });
  });

  it('is as it was where a step fails', async () => {
    await writeFile(path, 'KEY=sk-old\n');
    for (const step of ['create', 'write', 'sync', 'rename']) {
      const failing = publish((name) => {
        if (name.startsWith(step)) throw Object.assign(new Error(), { code: 'EROFS' });
      });
      await expect(failing).rejects.toThrow(`the folder ${folder()} is read-only`);
      expect(await read()).toBe('KEY=sk-old\n');
      expect(await readdir(folder())).toEqual(['.env']);
    }
  });

  it.each([
    ['not UTF-8', Buffer.from('KEY=gr\xfc\xdfe', 'latin1'), 'is not UTF-8'],
    ['larger than any', Buffer.alloc(1024 * 1024 + 1, 'A=1\n'), 'is larger than 1MiB'],
  ])('is left alone where it is %s', async (_what, content, message) => {
    await writeFile(path, content);
    await expect(publish()).rejects.toThrow(`${path} ${message}`);
    expect(content.equals(await readFile(path))).toBe(true);
  });
});

describe('somebody else who writes the dotenv file at the same time', () => {
  it('loses nothing: it is read again', async () => {
    await writeFile(path, 'KEY=sk-old\n');
    let times = 0;
    await publish((name) => {
      // Behind our reading, in front of the rename.
      if (name === 'write .env' && times++ < 3) appendFileSync(path, `A${times}=1\n`);
    });
    expect(await read()).toBe('KEY=sk-published-key\nA1=1\nA2=1\nA3=1\n');
    expect(await readdir(folder())).toEqual(['.env']);
  });

  it('may make it where there was none, or take it away', async () => {
    let times = 0;
    await publish((name) => {
      if (name === 'create .env' && times++ === 0) writeFileSync(path, 'A=1\n');
    });
    expect(await read()).toBe('A=1\nKEY=sk-published-key\n');
    await writeFile(path, 'B=1\n');
    times = 0;
    await publish((name) => {
      if (name === 'create .env' && times++ === 0) rmSync(path);
    });
    expect(await read()).toBe('KEY=sk-published-key\n');
  });

  it('all the time is told about, and nothing of theirs is lost', async () => {
    await writeFile(path, '');
    let times = 0;
    const failing = publish((name) => {
      if (name === 'sync .env') appendFileSync(path, `A${++times}=1\n`);
    });
    await expect(failing).rejects.toThrow(`${path} is written again and again by others`);
    expect((await read()).split('\n')).toHaveLength(times + 1);
    expect(await read()).not.toContain('KEY');
  });
});
