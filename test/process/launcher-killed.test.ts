import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSlots, type Slots } from '../../src/litellm/slots.ts';
import { Secret } from '../../src/secret.ts';
import { isGone, type Launcher, launch, SHELLS } from '../support/launcher.ts';

let base: string;
let folder: string;
let reports: string;
let slots: Slots;
const launchers: Launcher[] = [];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'launcher-'));
  folder = join(base, 'slots');
  reports = join(base, 'reports');
  await mkdir(folder);
  await mkdir(reports);
  slots = createSlots({ folder });
  for (const slot of ['a', 'b'] as const) {
    await slots.place(slot, { key: new Secret(`sk-of-${slot}`), config: undefined });
  }
});

afterEach(async () => {
  for (const launcher of launchers.splice(0)) await launcher.clear();
  await vi.waitFor(async () => expect(await family()).toEqual([]), soon);
  await rm(base, { recursive: true, force: true });
});

interface Relative {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Whatever a launcher of this test started and what that started, as long as it lives. */
const family = async (): Promise<readonly Relative[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const look = async (pid: string): Promise<Relative | undefined> => {
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    if (!(await read('environ')).includes(`LAUNCHER_SLOTS=${folder}`)) return undefined;
    const [, state, parent] = /\) (\w) (\d+)/.exec(await read('stat')) ?? [];
    const command = (await read('cmdline')).replaceAll('\0', ' ');
    return state === 'Z' ? undefined : { pid: Number(pid), parent: Number(parent), command };
  };
  return (await Promise.all(pids.map(look))).filter((each) => each !== undefined);
};

const soon = { timeout: 20_000, interval: 50 };

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('%s', (_name, shell) => {
  const start = (): Launcher => {
    const launcher = launch({ shell, slots: folder, reports });
    launchers.push(launcher);
    return launcher;
  };

  const startBoth = async (): Promise<readonly [Launcher, number, number]> => {
    const launcher = start();
    const { pid } = await launcher.said('a', 'start');
    return [launcher, pid, (await launcher.said('b', 'start')).pid];
  };

  /** The keepers: what the launcher itself started and lives on. */
  const keepersOf = async (launcher: Launcher): Promise<readonly number[]> => {
    const all = await family();
    return all.filter(({ parent }) => parent === launcher.pid).map(({ pid }) => pid);
  };

  it('a launcher that is killed takes both LiteLLMs with it, which finish first', async () => {
    const [launcher, a, b] = await startBoth();
    launcher.kill('SIGKILL');
    expect(await launcher.ended).toBe('SIGKILL');
    await Promise.all([launcher.said('a', 'term'), launcher.said('b', 'term')]);
    process.kill(b, 'SIGUSR2');
    await vi.waitFor(() => expect(isGone(b)).toBe(true), soon);
    expect(isGone(a)).toBe(false);
    process.kill(a, 'SIGUSR2');
    // And nothing else stays.
    await vi.waitFor(async () => expect(await family()).toEqual([]), soon);
    expect(launcher.lines.filter((line) => line.includes('"term"'))).toHaveLength(2);
    expect(await readFile(join(reports, 'a.log'), 'utf8')).toMatch(/"term".*\nended 0\n$/);
  });

  it('also where nobody reads what they say any more', async () => {
    const [launcher, a, b] = await startBoth();
    launcher.deafen();
    launcher.kill('SIGKILL');
    const told = (slot: string) =>
      vi.waitFor(
        async () =>
          expect(await readFile(join(reports, `${slot}.log`), 'utf8')).toContain('"term"'),
        soon,
      );
    await Promise.all([told('a'), told('b')]);
    for (const pid of [a, b]) process.kill(pid, 'SIGUSR2');
    await vi.waitFor(async () => expect(await family()).toEqual([]), soon);
  });

  it('and where the keepers were killed as well', async () => {
    const [launcher, a, b] = await startBoth();
    const keepers = await keepersOf(launcher);
    expect(keepers).toHaveLength(2);
    for (const pid of [launcher.pid, ...keepers]) process.kill(pid, 'SIGKILL');
    await Promise.all([launcher.said('a', 'term'), launcher.said('b', 'term')]);
    process.kill(b, 'SIGUSR2');
    // Some looks later the other one was not told again.
    await vi.waitFor(() => expect(isGone(b)).toBe(true), soon);
    process.kill(a, 'SIGUSR2');
    await vi.waitFor(async () => expect(await family()).toEqual([]), soon);
    expect(launcher.lines.filter((line) => line.includes('"term"'))).toHaveLength(2);
  });

  it('the next launcher has slots and reports for itself', async () => {
    const [old, a, b] = await startBoth();
    old.kill('SIGKILL');
    await old.ended;
    const [next, second] = await startBoth();
    await Promise.all([old.said('a', 'term'), old.said('b', 'term')]);
    for (const pid of [a, b]) process.kill(pid, 'SIGUSR2');
    await vi.waitFor(async () => {
      const left = (await family()).map(({ pid }) => pid);
      expect([left.includes(a), left.includes(b), left.includes(second)]).toEqual([
        false,
        false,
        true,
      ]);
    }, soon);
    process.kill(second, 'SIGUSR1');
    await next.line(/slot a: LiteLLM ended with status 3/);
    const report = await readFile(join(reports, 'a.log'), 'utf8');
    expect(report).toContain(`"pid":${second}`);
    expect(report).not.toContain(`"pid":${a}`);
  });
});
