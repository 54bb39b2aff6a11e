import { execFile } from 'node:child_process';
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
import { promisify } from 'node:util';
import { beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { behindLinks, publishToFile, tryTarget } from '../../src/store/publish.ts';
import { childProgram } from '../support/child-program.ts';
import { onDiskSteps } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';

const folder = eachInFolder('publish-file');

const key = new Secret('sk-published-key');
const publish = (name: string, onStep: (step: string) => void = () => undefined): Promise<void> => {
  onDiskSteps(folder(), onStep);
  return publishToFile(at(name), key, (shortcoming) => shortcomings.push(shortcoming));
};
let shortcomings: string[] = [];
beforeEach(() => {
  shortcomings = [];
});
const at = (name: string): string => join(folder(), name);
const read = (name: string): Promise<string> => readFile(at(name), 'utf8');

describe('a file that a key is published to', () => {
  it('holds the key alone, for its owner alone', async () => {
    await publish('master');
    expect(await read('master')).toBe('sk-published-key\n');
    expect((await stat(at('master'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder())).toEqual(['master']);
  });

  it('is replaced, never written into', async () => {
    await writeFile(at('master'), 'sk-old');
    const { ino } = await stat(at('master'));
    await publish('master');
    expect(await read('master')).toBe('sk-published-key\n');
    expect((await stat(at('master'))).ino).not.toBe(ino);
  });

  it.each([0o600, 0o640, 0o604, 0o444, 0o664])('keeps its mode %i', async (bits) => {
    await writeFile(at('master'), 'sk-old');
    await chmod(at('master'), bits);
    await publish('master');
    expect((await stat(at('master'))).mode & 0o777).toBe(bits);
    expect(shortcomings).toEqual([]);
  });

  it.runIf(process.getuid?.() === 0)('keeps its owner and group, behind a link too', async () => {
    await writeFile(at('real'), 'sk-old');
    await chmod(at('real'), 0o640);
    await chown(at('real'), 1234, 2345);
    await symlink('real', at('master'));
    await publish('master');
    const { mode, uid, gid } = await stat(at('real'));
    expect([mode & 0o777, uid, gid]).toEqual([0o640, 1234, 2345]);
    expect(shortcomings).toEqual([]);
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

describe('a disk that cannot do everything', () => {
  const failing =
    (name: string, code: string) =>
    (step: string): void => {
      if (step === name) throw Object.assign(new Error('raw words'), { code });
    };

  it.each(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES'])(
    'is written once where its folder cannot be synced: %s',
    async (code) => {
      await publish('master', failing('sync the folder of master', code));
      expect(await read('master')).toBe('sk-published-key\n');
      expect(shortcomings).toEqual([
        `${folder()} cannot be synced (${code}): after a power cut the file before may be back`,
      ]);
    },
  );

  it('is written where a file cannot be synced', async () => {
    await publish('master', failing('sync master', 'EINVAL'));
    expect(await read('master')).toBe('sk-published-key\n');
    expect(shortcomings).toEqual([
      `${at('master')} cannot be synced (EINVAL): a power cut may empty it`,
    ]);
  });

  it('is written where a mode cannot be set, and what it is then is told', async () => {
    await writeFile(at('master'), 'sk-old');
    await chmod(at('master'), 0o640);
    const { uid, gid } = await stat(at('master'));
    await publish('master', failing('chmod master', 'EPERM'));
    expect(await read('master')).toBe('sk-published-key\n');
    const whose = `of user ${uid}, group ${gid}`;
    expect(shortcomings).toEqual([
      `${at('master')} has mode 0600 ${whose}, and cannot be given mode 0640 ${whose}`,
    ]);
  });

  it.each(['sync the folder of master', 'sync master'])(
    'and fails is a failure: %s',
    async (step) => {
      await expect(publish('master', failing(step, 'EIO'))).rejects.toThrow('raw words');
    },
  );

  // Who is not root cannot give files away: only a process of its own can be that here.
  it.runIf(process.getuid?.() === 0)('gives another group nothing to read', async () => {
    await chmod(folder(), 0o777);
    await writeFile(at('master'), 'sk-old');
    await chmod(at('master'), 0o640);
    await chown(at('master'), 4321, 1234);
    const { stderr } = await promisify(execFile)(process.execPath, [
      await childProgram(new URL('publish-as-user.ts', import.meta.url)),
      at('master'),
    ]);
    const { mode, uid, gid } = await stat(at('master'));
    expect([mode & 0o777, uid, gid]).toEqual([0o600, 4322, 4322]);
    expect(stderr).toBe(
      `${at('master')} has mode 0600 of user 4322, group 4322, ` +
        'and cannot be given mode 0640 of user 4321, group 1234\n',
    );
  });
});

describe('a target that is tried', () => {
  const tried = (path: string, kind: 'file' | 'dotenv' = 'file'): Promise<void> =>
    tryTarget({ client: 'master', kind, path, variable: kind === 'file' ? '' : 'KEY' });

  it('is as it was, and nothing is left beside it', async () => {
    await tried(at('new'));
    await writeFile(at('.env'), 'OTHER=1\n');
    await tried(at('.env'), 'dotenv');
    expect(await read('.env')).toBe('OTHER=1\n');
    expect(await readdir(folder())).toEqual(['.env']);
  });

  it('says what would keep a key from being written', async () => {
    await mkdir(at('sub'));
    await writeFile(at('latin'), Buffer.from([0xff]));
    await expect(tried(at('none/key'))).rejects.toThrow(`the folder ${at('none')} is not there`);
    await expect(tried(at('sub'))).rejects.toThrow('sub is a folder');
    await expect(tried(at('sub'), 'dotenv')).rejects.toThrow('sub is a folder');
    await expect(tried(at('latin'), 'dotenv')).rejects.toThrow('is not UTF-8');
    await expect(tried('/proc/mounts/x')).rejects.toThrow('is not a folder');
    await expect(tried('/proc')).rejects.toThrow('/proc is a folder');
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
