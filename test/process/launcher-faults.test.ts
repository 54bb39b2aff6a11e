import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLauncherStage, isGone, type Launcher, SHELLS } from '../support/launcher.ts';

const stage = createLauncherStage();
const { place } = stage;

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('%s', (_name, shell) => {
  const start = (options: Partial<Parameters<typeof stage.start>[0]> = {}): Launcher =>
    stage.start({ shell, ...options });

  describe('a LiteLLM dies', () => {
    it('comes back as it was', async () => {
      await place('a', 'sk-of-a', 'one');
      const { said, line } = start();
      const { pid, ...first } = await said('a', 'start');
      process.kill(pid, 'SIGUSR1');
      await line(/slot a: LiteLLM ended with status 3/);
      await line(/slot a: LiteLLM is started again in 1 s/);
      const { pid: second, ...again } = await said('a', 'start');
      expect(again).toEqual(first);
      process.kill(second, 'SIGKILL');
      await line(/slot a: LiteLLM ended with status 137/);
      await line(/slot a: LiteLLM is started again in 2 s/);
      await said('a', 'start');
    });

    it('pauses longer each time it crashes, and never keeps the other slot waiting', async () => {
      await place('a', 'sk-crash');
      const { line, said, lines } = start();
      for (const pause of [1, 2, 4, 8, 16])
        await line(new RegExp(`slot a: .* again in ${pause} s`));
      // Slot a now pauses for 32 looks; slot b needs one.
      await place('b', 'sk-of-b');
      await said('b', 'start');
      expect(lines.filter((each) => /slot a: .* again in 30 s/.test(each))).toEqual([]);
      await line(/slot a: .* again in 30 s/);
      // What the operator mends is not punished for what was before.
      await place('a', 'sk-of-a');
      let started = await said('a', 'start');
      while (started.key === 'sk-crash') started = await said('a', 'start');
      process.kill(started.pid, 'SIGUSR1');
      await line(/slot a: .* again in 1 s/);
    });

    // Slow, and no matter of the shell.
    it.runIf(shell === SHELLS[0])(
      'begins with a short pause again once it has run for long',
      async () => {
        await place('a', 'sk-of-a');
        const { line, said } = start({ env: { LAUNCHER_LOOK: '0' } });
        process.kill((await said('a', 'start')).pid, 'SIGUSR1');
        let pause = await line(/again in 1 s/);
        // How long its 120 looks take depends on the machine: it lives longer until it was enough.
        for (let life = 500; life < 9000 && !(pause.includes('in 1 s') && life > 500); life *= 2) {
          const { pid } = await said('a', 'start');
          await new Promise((resolve) => setTimeout(resolve, life));
          process.kill(pid, 'SIGUSR1');
          pause = await line(/again in \d+ s/);
        }
        expect(pause).toContain('again in 1 s');
      },
    );

    it('comes back even where a child of it holds its output open', async () => {
      await place('a', 'sk-parent');
      const { said } = start();
      const first = await said('a', 'start');
      process.kill(first.pid, 'SIGKILL');
      expect((await said('a', 'start')).pid).not.toBe(first.pid);
      expect(isGone(first.child ?? 0)).toBe(false);
    });
  });

  describe('the container is told to stop', () => {
    it.each(['SIGTERM', 'SIGINT'] as const)('%s: all drain, then it ends', async (signal) => {
      await place('a', 'sk-of-a');
      await place('b', 'sk-of-b');
      const { said, kill, ended, lines, line } = start();
      const pids = [(await said('a', 'start')).pid, (await said('b', 'start')).pid] as const;
      kill(signal);
      await Promise.all([said('a', 'term'), said('b', 'term')]);
      process.kill(pids[1], 'SIGUSR2');
      await line(/slot b: LiteLLM ended with status 0/);
      expect(isGone(pids[0])).toBe(false);
      process.kill(pids[0], 'SIGUSR2');
      expect(await ended).toBe(0);
      expect(lines.filter((each) => each.includes('"start"'))).toHaveLength(2);
    });

    it('ends at once where nothing runs', async () => {
      const { line, kill, ended } = start();
      await line(/waits for/);
      kill('SIGTERM');
      expect(await ended).toBe(0);
    });

    it('does not wait for a pause to end', async () => {
      await place('a', 'sk-crash');
      const { line, kill, ended } = start({ env: { LAUNCHER_LOOK: '1' } });
      await line(/again in 1 s/);
      kill('SIGTERM');
      expect(await ended).toBe(0);
    });
  });

  it('tells the output of the slots apart', async () => {
    await place('a', 'sk-of-a');
    await place('b', 'sk-of-b');
    const { line } = start();
    expect(await line(/^\[a\] a line/)).toBe('[a] a line on stderr');
    expect(await line(/^\[b\] a line/)).toBe('[b] a line on stderr');
  });

  it('says when a slot has no key that it can read', async () => {
    await mkdir(join(stage.folder, 'a'));
    const { line } = start();
    expect(await line(/no key/)).toMatch(
      /slot a: no key for uid=.*in the group of the slots folder/,
    );
    await line(/slot a: LiteLLM is started again in 1 s/);
  });

  it.runIf(process.getuid?.() !== 0)('says when the slots folder is closed to it', async () => {
    await chmod(stage.folder, 0);
    expect(await start().line(/closed/)).toContain('in the group of that folder');
    await chmod(stage.folder, 0o700);
  });
});
