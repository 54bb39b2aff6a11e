import { existsSync, readFileSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Launcher, launch, SCRIPT, SHELLS } from '../support/launcher.ts';

let base: string;
let folder: string;
let reports: string;
let launcher: Launcher | undefined;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'launcher-'));
  folder = join(base, 'slots');
  reports = join(base, 'reports');
  await mkdir(join(folder, 'a'), { recursive: true });
  await writeFile(join(folder, 'a/master.key'), 'sk-of-a');
});

afterEach(async () => {
  await launcher?.clear();
  launcher = undefined;
  await rm(base, { recursive: true, force: true });
});

const report = (): string => readFileSync(join(reports, 'a.log'), 'utf8');

const CANNOT = /reports cannot be written by uid=/;

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('%s', (_name, shell) => {
  const start = (options: Partial<Parameters<typeof launch>[0]> = {}): Launcher => {
    launcher = launch({ shell, slots: folder, reports, ...options });
    return launcher;
  };

  it.each([
    ['is not there', () => Promise.resolve()],
    ['is a file', () => writeFile(reports, '')],
  ])('runs LiteLLM where the folder %s, and says so once', async (_what, make) => {
    await make();
    const { said, line, lines } = start();
    await line(CANNOT);
    for (let life = 0; life < 2; life += 1) {
      process.kill((await said('a', 'start')).pid, 'SIGUSR1');
      await line(/ended with status 3/);
    }
    expect((await said('a', 'start')).key).toBe('sk-of-a');
    expect(lines.filter((each) => CANNOT.test(each))).toHaveLength(1);
    expect(lines.filter((each) => /launcher-\d+-|^\[a\] 3$|create/.test(each))).toEqual([]);
  });

  it('is not disturbed by a folder that vanishes, and uses it when it is back', async () => {
    await mkdir(reports);
    const { said, line, lines } = start();
    const first = await said('a', 'start');
    await rm(reports, { recursive: true });
    process.kill(first.pid, 'SIGUSR1');
    await line(/ended with status 3/);
    const second = await said('a', 'start');
    expect(existsSync(reports)).toBe(false);
    await mkdir(reports);
    process.kill(second.pid, 'SIGUSR1');
    await said('a', 'start');
    await vi.waitFor(() => expect(report()).toMatch(/^slot-id \ntry 3\n.*\n.*"start"/), 10_000);
    expect(lines.filter((each) => /cannot|can't/.test(each))).toEqual([]);
  });

  it.each([
    // In blocks of 512 bytes: no more than the head of a report, or not even that.
    ['the words', 1, /^slot-id \ntry \d\n[\s\S]{490,500}$/],
    ['a report', 0, undefined],
  ])('is not disturbed by a disk that is too full for %s', async (_what, blocks, left) => {
    await mkdir(reports);
    await mkdir(join(folder, 'a/config'));
    const part = { say: `${'x'.repeat(600)}\nafter that\n` };
    await writeFile(join(folder, 'a/config/config.yaml'), JSON.stringify(part));
    // What cannot be written is an error then, as ENOSPC is, and no signal.
    const small = ['sh', '-c', `trap "" XFSZ; ulimit -f ${blocks}; exec "$@"`, 'sh', ...shell];
    const { said, line, lines } = start({ shell: small });
    const { pid } = await said('a', 'start');
    await line(/^\[a\] after that$/);
    process.kill(pid, 'SIGUSR1');
    await line(/again in 1 s/);
    await said('a', 'start');
    expect(lines.filter((each) => /sh: |printf|large/.test(each))).toEqual([]);
    if (left === undefined) expect(existsSync(join(reports, 'a.log'))).toBe(false);
    else expect(report()).toMatch(left);
  });

  it('takes away a report that it cannot follow with the next', async () => {
    await mkdir(reports);
    await writeFile(join(reports, 'a.log'), 'slot-id \ntry 1\nended 0\n');
    // In the way of the next one.
    await mkdir(join(reports, '.a.log'));
    await start().said('a', 'start');
    expect(existsSync(join(reports, 'a.log'))).toBe(false);
  });

  it.runIf(process.getuid?.() === 0)('needs no root, but the group', async () => {
    await mkdir(reports);
    const script = join(base, 'launch.sh');
    const litellm = join(base, 'litellm');
    await copyFile(SCRIPT, script);
    await writeFile(litellm, '#!/bin/sh\nid -u\nid -G\nexit 9\n', { mode: 0o755 });
    for (const path of [base, script]) await chmod(path, 0o755);
    await chmod(join(folder, 'a/master.key'), 0o640);
    const group = 4000;
    for (const path of [folder, `${folder}/a`, `${folder}/a/master.key`, reports]) {
      await chown(path, 0, group);
    }
    await chmod(folder, 0o2750);
    await chmod(join(folder, 'a'), 0o750);
    await chmod(reports, 0o2770);
    const as = (groups: string): string[] => {
      const ids = ['--reuid', '65532', '--regid', '65532', '--groups', groups];
      return ['setpriv', ...ids, '--no-new-privs', ...shell];
    };
    start({ shell: as('4000'), script, env: { LITELLM_BIN: litellm } });
    await vi.waitFor(
      () => expect(report()).toMatch(/try 1\n65532\n65532 4000\nended 9\n$/),
      10_000,
    );
    expect(await stat(join(reports, 'a.log'))).toMatchObject({ uid: 65532, gid: group });
    await launcher?.clear();

    const { line } = start({ shell: as('65532'), script, env: { LITELLM_BIN: litellm } });
    await line(/reports cannot be written by uid=65532/);
    await line(/slots is closed to uid=65532/);
  });
});
