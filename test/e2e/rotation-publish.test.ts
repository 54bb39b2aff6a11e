import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { addClient, clientOf, generationOf, rotate, status } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { createStages, series } from '../support/stage.ts';

const stage = createStages();
const answering = (peer: Peer) => peer.answer('200 OK', '{}');
const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sidecar-publish-'));
  folders.push(path);
  return path;
}

describe('a new key', () => {
  it('stands in every publish target when its rotation is answered', async () => {
    const at = await folder();
    const settings = {
      SIDECAR_PUBLISH: `file:${at}/master,dotenv:${at}/app.env#OPENAI_API_KEY,ci=file:${at}/ci`,
    };
    const { sidecar } = await stage({ script: answering, settings });
    const { key, publish } = await rotate(sidecar);
    expect(await readFile(`${at}/master`, 'utf8')).toBe(`${key}\n`);
    expect((await stat(`${at}/master`)).mode & 0o777).toBe(0o600);
    expect(await readFile(`${at}/app.env`, 'utf8')).toContain(`OPENAI_API_KEY=${key}`);
    expect(publish.map(({ state }) => state)).toEqual(['published', 'published']);
    const ci = await addClient(sidecar, { name: 'ci' });
    expect(await readFile(`${at}/ci`, 'utf8')).toBe(`${ci.key}\n`);
    expect(await readFile(`${at}/master`, 'utf8')).toBe(`${key}\n`);
  });

  it('could not be published: that is said at the start, before there is one', async () => {
    const at = await folder();
    const settings = { SIDECAR_PUBLISH: `ci=file:${at}/not-yet/ci` };
    const { sidecar } = await stage({ script: answering, settings });
    await vi.waitFor(async () => {
      const codes = (await status(sidecar)).warnings.map(({ code }) => code);
      expect(codes).toEqual(['publish_target_unwritable']);
    });
  });

  it('that a target lacks: it is said, tried again, and no older clock starts before', async () => {
    const at = await folder();
    const settings = { SIDECAR_PUBLISH: `file:${at}/not-yet/master` };
    const { sidecar } = await stage({ script: answering, settings });
    const { as: renewed, publish, key } = await rotate(sidecar, { grace: '1h' });
    expect(publish[0]).toMatchObject({ state: 'pending' });
    expect(publish[0]?.error).toMatch(/not-yet/);
    await get(renewed);
    const { next } = await status(sidecar);
    expect(next.join('\n')).toContain(`${at}/not-yet/master`);
    expect(await generationOf(sidecar, 'master-1')).toMatchObject({ clockStarted: false });
    expect(await series(sidecar, 'publish_pending')).toBe(1);
    await mkdir(`${at}/not-yet`);
    await vi.waitFor(
      async () =>
        expect((await clientOf(sidecar)).publish[0]).toMatchObject({ state: 'published' }),
      8000,
    );
    expect(await readFile(`${at}/not-yet/master`, 'utf8')).toBe(`${key}\n`);
    await get(renewed);
    await vi.waitFor(async () =>
      expect(await generationOf(sidecar, 'master-1')).toMatchObject({ clockStarted: true }),
    );
  });
});

describe('a schedule', () => {
  it('rotates when the time has come, publishes, and nobody who reads the file is refused', async () => {
    const at = await folder();
    const settings = { SIDECAR_PUBLISH: `file:${at}/master`, SIDECAR_ROTATE_EVERY: '1s' };
    const { sidecar } = await stage({ script: answering, settings });
    const seen = new Set<string>();
    const statuses = new Set<number>();
    while (seen.size < 3) {
      const key = (await readFile(`${at}/master`, 'utf8').catch(() => sidecar.key)).trim();
      seen.add(key);
      const { response } = await get({ ...sidecar, key });
      statuses.add(response.statusCode ?? 0);
    }
    expect([...statuses]).toEqual([200]);
    // The third key stands in its file an instant before its rotation is done.
    const { rotateEveryMs, clients } = await vi.waitFor(async () => {
      const shown = await status(sidecar);
      expect(shown.clients[0]?.nextRotationAt).not.toBeNull();
      return shown;
    });
    expect(rotateEveryMs).toBe(1000);
    const [master] = clients;
    const [newest] = master?.generations ?? [];
    const made = Date.parse(newest?.createdAt ?? '');
    expect(Date.parse(master?.nextRotationAt ?? '')).toBe(made + 1000);
    const metrics = await sidecar.metrics();
    expect(metrics).toMatch(/rotations_total\{.*trigger="schedule",outcome="done"\} [1-9]/);
  });
});
