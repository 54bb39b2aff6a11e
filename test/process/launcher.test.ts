import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createSlots } from '../../src/litellm/slots.ts';
import {
  createLauncherStage,
  FAKE_LITELLM,
  isGone,
  type Launcher,
  SHELLS,
} from '../support/launcher.ts';

const stage = createLauncherStage();
const { place } = stage;

/** The command lines of every process on the machine, as anybody can read them. */
const commandLines = async (): Promise<string> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const read = (pid: string) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return (await Promise.all(pids.map(read))).join('\n');
};

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('%s', (_name, shell) => {
  const start = (options: Partial<Parameters<typeof stage.start>[0]> = {}): Launcher =>
    stage.start({ shell, ...options });

  describe('a slot appears', () => {
    it('starts LiteLLM with its key, its configuration and its port', async () => {
      const { said, line } = start();
      await line(/waits for/);
      await place('b', 'sk-of-b', 'model_list: []');
      expect(await said('b', 'start')).toMatchObject({
        args: ['--config', join(stage.folder, 'b/config/config.yaml'), '--port', '4002'],
        key: 'sk-of-b',
        config: 'model_list: []',
      });
      await place('a', 'sk-of-a');
      expect(await said('a', 'start')).toMatchObject({ args: ['--port', '4000'], key: 'sk-of-a' });
    });

    it('also when it was there first', async () => {
      await place('a', 'sk-of-a');
      const { said } = start({ env: { LAUNCHER_PORT_A: '14000' } });
      expect(await said('a', 'start')).toMatchObject({ port: 14000 });
    });

    it('takes a folder that has neither id nor a newline after the key', async () => {
      await mkdir(join(stage.folder, 'a'));
      await writeFile(join(stage.folder, 'a/master.key'), 'sk-by-hand');
      expect(await start().said('a', 'start')).toMatchObject({ key: 'sk-by-hand' });
    });

    it.each([
      [['--port', '4000', '--detailed_debug'], ['--detailed_debug']],
      [
        ['--x=a b', '--port=4000', '', "it's", '$HOME', '*'],
        ['--x=a b', '', "it's", '$HOME', '*'],
      ],
      [['--debug', '--port'], ['--debug']],
    ])('passes %j on, but for the port', async (args, passed) => {
      await place('a', 'sk-of-a');
      const started = await start({ args }).said('a', 'start');
      expect(started.args).toEqual([...passed, '--port', '4000']);
    });

    it('passes the environment on, but never a master key that is not of the slot', async () => {
      await mkdir(join(stage.folder, 'a'));
      await writeFile(join(stage.folder, 'a/master.key'), '');
      const env = { LITELLM_MASTER_KEY: 'sk-of-clients', OPENAI_API_KEY: 'sk-provider' };
      const started = await start({ env }).said('a', 'start');
      expect(started).toMatchObject({ provider: 'sk-provider', key: '' });
    });

    it.each([
      ['', '86400'],
      ['70', '70'],
    ])('lets LiteLLM finish, "%s" for %s s', async (set, given) => {
      await place('a', 'sk-of-a');
      const env = { GRACEFUL_SHUTDOWN_TIMEOUT: set };
      expect((await start({ env }).said('a', 'start')).shutdown).toBe(given);
    });

    it('hides a master key of the container from all that it starts', async () => {
      const nap = '#!/bin/sh\necho "sees $(printenv LITELLM_MASTER_KEY)." >&2\nexec /bin/sleep 1\n';
      await writeFile(join(stage.base, 'sleep'), nap, { mode: 0o755 });
      const path = `${stage.base}:${process.env['PATH']}`;
      const { line } = start({ env: { LITELLM_MASTER_KEY: 'sk-of-clients', PATH: path } });
      expect(await line(/sees/)).toBe('sees .');
    });

    it('shows the key in no command line', async () => {
      await place('a', 'sk-of-a-not-to-be-seen');
      await start({ args: ['--an-argument-that-is-seen'] }).said('a', 'start');
      const seen = await commandLines();
      expect(seen).toContain('--an-argument-that-is-seen');
      expect(seen).not.toContain('sk-of-a-not-to-be-seen');
    });

    it.each([
      ["the image's own entrypoint", 'docker/prod_entrypoint.sh'],
      ['litellm on the PATH where there is no such entrypoint', 'litellm'],
    ])('runs %s', async (_what, path) => {
      const script = join(stage.base, path);
      await mkdir(dirname(script), { recursive: true });
      await writeFile(script, `#!/bin/sh\nSTARTED_BY=${path} exec "${FAKE_LITELLM}" "$@"\n`);
      await chmod(script, 0o755);
      await place('a', 'sk-of-a');
      const env = { LITELLM_BIN: '', PATH: `${stage.base}:${process.env['PATH']}` };
      expect((await start({ cwd: stage.base, env }).said('a', 'start')).via).toBe(path);
    });
  });

  describe('a slot goes', () => {
    it('tells its LiteLLM to stop, once, and lets it finish; the other runs on', async () => {
      await place('a', 'sk-of-a');
      await place('b', 'sk-of-b');
      const { said, line, lines } = start();
      const [a, b] = [await said('a', 'start'), await said('b', 'start')];
      await createSlots({ folder: stage.folder }).remove('a');
      await said('a', 'term');
      // Some looks later it still drains: what comes next is a new one beside it.
      await place('a', 'sk-of-a-2');
      const next = await said('a', 'start');
      expect(next.key).toBe('sk-of-a-2');
      expect(isGone(a.pid)).toBe(false);
      process.kill(a.pid, 'SIGUSR2');
      await line(/slot a: LiteLLM ended with status 0/);
      expect(lines.filter((each) => each.includes('"term"'))).toHaveLength(1);
      expect([isGone(next.pid), isGone(b.pid)]).toEqual([false, false]);
    });
  });

  describe('a slot is replaced', () => {
    it('waits for the old LiteLLM to let go of its port, then starts the new one', async () => {
      await place('a', 'sk-of-a', 'one');
      const { said, line } = start({ env: { LAUNCHER_LOOK: '0.2' } });
      const old = await said('a', 'start');
      await place('a', 'sk-of-a', 'two');
      await said('a', 'term');
      process.kill(old.pid, 'SIGUSR2');
      await line(/ended with status 0/);
      expect(await said('a', 'start')).toMatchObject({ key: 'sk-of-a', config: 'two' });
    });

    it('by its id alone: a file system gives the next folder the same inode number', async () => {
      await place('a', 'sk-of-a');
      const { said } = start();
      await said('a', 'start');
      await writeFile(join(stage.folder, 'a/id'), 'another');
      await said('a', 'term');
    });

    it('by hand: another folder under the same name is a new one', async () => {
      await mkdir(join(stage.folder, 'a'));
      await mkdir(join(stage.base, 'next'));
      await writeFile(join(stage.folder, 'a/master.key'), 'one');
      await writeFile(join(stage.base, 'next/master.key'), 'two');
      const { said } = start();
      const old = await said('a', 'start');
      await rename(join(stage.folder, 'a'), join(stage.base, 'old'));
      await rename(join(stage.base, 'next'), join(stage.folder, 'a'));
      await said('a', 'term');
      process.kill(old.pid, 'SIGUSR2');
      expect((await said('a', 'start')).key).toBe('two');
    });
  });
});
