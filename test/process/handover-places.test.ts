import { spawnSync } from 'node:child_process';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adminCall } from '../support/admin.ts';
import { failing, openStage } from '../support/handover-attempt.ts';
import { type HandoverStage, keepAsking, SCRIPTED_LITELLM } from '../support/handover-stage.ts';
import { SCRIPT } from '../support/launcher.ts';

const succeeds = (program: string, ...args: string[]): boolean =>
  spawnSync(program, args).status === 0;

const SMALL = ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs'];

/** Only root may mount, and in a container not even that one. */
async function findMount(): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-mount-'));
  const mounted = succeeds('mount', ...SMALL, folder) && succeeds('umount', folder);
  await rm(folder, { recursive: true, force: true });
  return mounted;
}
const mayMount = await findMount();

/** LiteLLM's user in a container. */
const USER = 65_532;
const AS_USER = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
const mayBeUser = succeeds(AS_USER[0] ?? '', ...AS_USER.slice(1), process.execPath, '--version');

/** Writes until nothing more goes in; the file gives the place back. */
async function fill(folder: string): Promise<string> {
  const path = join(folder, '.full');
  await expect(writeFile(path, Buffer.alloc(1024 * 1024))).rejects.toThrow(/ENOSPC/);
  return path;
}

const onSmallDisk = (pick: (stage: HandoverStage) => string) => ({
  async prepare(stage: HandoverStage) {
    await mkdir(pick(stage), { recursive: true });
    expect(succeeds('mount', ...SMALL, pick(stage))).toBe(true);
  },
  dispose: (stage: HandoverStage) => succeeds('umount', '--lazy', pick(stage)),
});

describe.runIf(mayMount).concurrent('a full disk', () => {
  it('of the slots stops a handover, and nothing else', async ({ onTestFinished }) => {
    const disk = onSmallDisk(({ slots }) => slots);
    const stage = await openStage(onTestFinished, disk);
    await stage.rests();
    const filler = await fill(stage.slots);
    const client = keepAsking(stage);
    const view = await stage.handOver('rotate');
    expect(view).toMatchObject({ state: 'rolled_back', fault: { code: 'disk' } });
    expect(view.fault?.message).toMatch(/cannot be written/);
    expect(view.fault?.hint).not.toBe('');
    await rm(filler);
    expect(await stage.handOver('rotate')).toMatchObject({ state: 'done', to: 'b' });
    await stage.rests();
    expect((await client.stop()).wrong).toEqual([]);
  });

  it('of the state refuses one, with what to do', async ({ onTestFinished }) => {
    const disk = onSmallDisk(({ state }) => state);
    const stage = await openStage(onTestFinished, disk);
    await stage.rests();
    const filler = await fill(stage.state);
    const client = keepAsking(stage);
    const refused = await adminCall(stage, 'POST', '/api/upstream/rotate');
    expect(refused).toMatchObject({
      status: 503,
      body: { code: 'state_unavailable', hints: [expect.any(String)] },
    });
    await rm(filler);
    await stage.rests();
    expect(await stage.handOver('rotate')).toMatchObject({ state: 'done', to: 'b' });
    await stage.rests();
    expect((await client.stop()).wrong).toEqual([]);
  });
});

/** What a user needs who may read nothing of this project. */
async function openToUser({ folder, slots, reports }: HandoverStage): Promise<void> {
  await copyFile(SCRIPT, join(folder, 'launch.sh'));
  await copyFile(SCRIPTED_LITELLM, join(folder, 'litellm.mjs'));
  await chmod(join(folder, 'litellm.mjs'), 0o755);
  await chown(reports, USER, USER);
  await chown(slots, 0, USER);
  await chmod(slots, 0o2750);
}

describe.runIf(mayBeUser)('a slot that LiteLLM may not read', () => {
  it('is given up, and the launcher says whose group it is about', async ({ onTestFinished }) => {
    const folder = await mkdtemp(join(tmpdir(), 'sidecar-user-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    const script = join(folder, 'launch.sh');
    const stage = await openStage(onTestFinished, {
      settings: { SIDECAR_HANDOVER_TIMEOUT: '5s' },
      prepare: (it) => openToUser({ ...it, folder }),
      launcher: {
        shell: [...AS_USER, 'sh'],
        script,
        cwd: folder,
        env: { LITELLM_BIN: join(folder, 'litellm.mjs') },
      },
    });
    const view = await failing(stage, async () => {
      // New folders belong to another group from now on.
      await chown(stage.slots, 0, 0);
      await chmod(stage.slots, 0o2755);
      const ended = await stage.handOver('rotate');
      await chown(stage.slots, 0, USER);
      await chmod(stage.slots, 0o2750);
      return ended;
    });
    expect(['not_up', 'died']).toContain(view.fault?.code);
    const why = /slot b: no key for uid=65532.*is this user in the group/;
    expect(view.fault?.lastWords.join()).toMatch(why);
    expect(stage.launcher().lines.join('\n')).toMatch(why);
  });
});
