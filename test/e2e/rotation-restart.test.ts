import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import {
  addClient,
  adminCall,
  change,
  clientOf,
  generationOf,
  keyFileOf,
  keyringText,
  refused,
  rotate,
  setClient,
  statesOf,
  status,
  who,
} from '../support/admin.ts';
import { get } from '../support/ask.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import {
  type Settings,
  type Sidecar,
  type Surroundings,
  startSidecar,
} from '../support/sidecar.ts';
import { eventually } from '../support/stage.ts';

const DAY = 86_400_000;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A state folder that outlives its sidecars, and a way to start one on it. */
async function place(first: Settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-state-'));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  const upstream: FakeUpstream = await startFakeUpstream((peer) => peer.answer('200 OK', '{}'));
  ends.push(upstream.stop);
  const key = generateKey();
  const start = async (settings: Settings = {}, around: Surroundings = {}): Promise<Sidecar> => {
    const all = { LITELLM_MASTER_KEY: key, SIDECAR_STATE: folder, ...first, ...settings };
    const sidecar = await startSidecar(upstream.port, all, around);
    ends.push(sidecar.stop);
    await eventually(() => (sidecar.logText().includes('LiteLLM answers') ? true : undefined));
    return sidecar;
  };
  return { folder, key, start };
}

async function tried(sidecar: Sidecar, key: string) {
  const { response } = await get({ ...sidecar, key });
  return response.headers['x-sidecar-refusal'] ?? response.statusCode;
}

describe('a restart', () => {
  it('knows limits and models of clients, with a key that was made, too', async () => {
    const { start } = await place({ LITELLM_MASTER_KEY: undefined });
    const before = await start();
    const limits = { rpm: 60, usdPerDay: 5, mode: 'record' };
    await addClient(before, { name: 'ci', limits, models: ['gpt-4o*'] });
    await setClient(before, 'master', { limits: { tokensPerDay: '2M' } });
    await before.drain();
    const after = await start();
    expect(await clientOf(after, 'ci')).toMatchObject({
      limits: { ...limits, parallel: null, tokensPerDay: null },
      models: ['gpt-4o*'],
    });
    expect((await clientOf(after)).limits).toMatchObject({ tokensPerDay: 2e6, mode: 'refuse' });
  });

  it('finds every key, deadline and caller as it was', async () => {
    const { key, start } = await place();
    const before = await start();
    const { key: renewed } = await rotate(before, { grace: '1h' });
    await get({ ...before, key: renewed ?? '' }, '/v1/models', {
      headers: { 'user-agent': 'a-service/1' },
    });
    await eventually(() =>
      before.logText().includes('the grace of the older one') ? true : undefined,
    );
    const { validUntil } = await generationOf(before, 'master-1');
    await before.stop();
    const after = await start();
    expect(await tried(after, key)).toBe(200);
    expect(await tried(after, renewed ?? '')).toBe(200);
    expect(await generationOf(after, 'master-1')).toMatchObject({ validUntil, clockStarted: true });
    const { callers } = await who(after, 'master-2');
    expect(callers.map(({ userAgent }) => userAgent)).toContain('a-service/1');
    // The declared value is stale by now: no new rotation.
    expect(Object.keys(await statesOf(after))).toHaveLength(2);
    expect(after.logText()).toContain('holds an older key (master-1, retiring)');
  });

  it('answers an Idempotency-Key as before', async () => {
    const { start } = await place();
    const before = await start();
    const headers = { 'idempotency-key': 'across-a-restart' };
    const one = await rotate(before, {}, { headers });
    await before.stop();
    const two = await rotate(await start(), {}, { headers });
    expect(two).toMatchObject({ key: one.key, replayed: true });
  });

  it('sweeps up what a kill left of a file with a key', async () => {
    const { folder, start } = await place();
    await (await start()).stop();
    const left = `.master.${randomUUID()}`;
    await writeFile(join(folder, 'keys', left), 'half a key');
    await writeFile(join(folder, left), 'half a key');
    await writeFile(join(folder, '.mine'), 'an operator put it here');
    await start({ SIDECAR_PUBLISH: `file:${folder}/master` });
    const names = [...(await readdir(join(folder, 'keys'))), ...(await readdir(folder))];
    expect(names).not.toContain(left);
    expect(names).toContain('.mine');
  });

  it('with a new declared key is a rotation, with grace', async () => {
    const { key, start } = await place();
    await (await start()).stop();
    const next = generateKey();
    const after = await start({ LITELLM_MASTER_KEY: next });
    expect(await tried(after, key)).toBe(200);
    expect(await tried(after, next)).toBe(200);
  });

  it('with nothing declared goes on with the key that there is', async () => {
    const { key, start } = await place();
    await (await start()).stop();
    const after = await start({ LITELLM_MASTER_KEY: undefined });
    expect(await tried(after, key)).toBe(200);
    expect(await keyFileOf(after)).toBe(key);
  });

  it('takes over the key of a sidecar that knew no keyring', async () => {
    const { folder, start } = await place({ LITELLM_MASTER_KEY: undefined });
    const before = await start();
    const old = await keyFileOf(before);
    await before.stop();
    for (const name of ['keyring.json', 'keyring.json.bak', 'audit.jsonl', 'usage.json']) {
      await rm(join(folder, name), { force: true });
    }
    const after = await start();
    expect(await tried(after, old)).toBe(200);
  });

  it('takes over no key with quotes around it, or that everybody knows', async () => {
    for (const [text, reason] of [
      ['"sk-0123456789abcdefghijklmnop"', 'quote'],
      ['sk-1234', 'everybody knows'],
    ] as const) {
      const { folder, start } = await place({ LITELLM_MASTER_KEY: undefined });
      await mkdir(join(folder, 'keys'));
      await writeFile(join(folder, 'keys/master'), `${text}\n`);
      await expect(start()).rejects.toThrow(reason);
      expect(await readFile(join(folder, 'keys/master'), 'utf8')).toBe(`${text}\n`);
    }
  });

  it('warns of a short key that nobody declares any more', async () => {
    const { start } = await place({ LITELLM_MASTER_KEY: 'sk-Xy7qLm2Rt9Bv' });
    await (await start()).stop();
    const after = await start({ LITELLM_MASTER_KEY: undefined });
    expect((await status(after)).warnings.map(({ code }) => code)).toEqual(['short_declared_key']);
    expect(after.logText()).toContain('the key of master: it has only 15 characters');
  });
});

describe('a state folder', () => {
  it('has room for one sidecar', async () => {
    const { start } = await place();
    const first = await start();
    const before = await keyringText(first);
    await expect(start()).rejects.toMatchObject({
      name: 'StartupError',
      kind: 'locked',
      message: expect.stringContaining('another sidecar'),
    });
    expect(await keyringText(first)).toBe(before);
    expect((await status(first)).store.up).toBe(true);
  });

  it.each([
    ['of a newer version', (text: string) => text.replace('"format": 2', '"format": 3'), /newer/],
    ['cut in half', (text: string) => text.slice(0, text.length / 2), /keyring\.json/],
    ['empty', () => '', /keyring\.json/],
  ])(
    'whose keyring is %s is told, with what to do, and stays as it is',
    async (_, damage, says) => {
      const { folder, start } = await place();
      const sidecar = await start();
      await rotate(sidecar);
      await sidecar.stop();
      const path = join(folder, 'keyring.json');
      const damaged = damage(await readFile(path, 'utf8'));
      await writeFile(path, damaged);
      await expect(start()).rejects.toMatchObject({
        kind: 'state',
        message: expect.stringMatching(says),
        hint: expect.stringMatching(/keyring\.json\.bak|at least as new/),
      });
      expect(await readFile(path, 'utf8')).toBe(damaged);
    },
  );

  it('that is full: a change is refused, traffic goes on, and a leak is stopped all the same', async () => {
    let full = false;
    const onStep = (): void => {
      if (full)
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    };
    const { key, start } = await place();
    const sidecar = await start({}, { onStep });
    const { key: second } = await rotate(sidecar);
    const before = await statesOf(sidecar);
    full = true;
    const no = await refused(sidecar, '/api/clients/master/rotate');
    expect(no).toMatchObject({ status: 503, code: 'store_unavailable' });
    expect(await statesOf(sidecar)).toEqual(before);
    expect(await tried(sidecar, key)).toBe(200);
    const { notes } = await change(sidecar, 'generations/master-1/revoke', { compromised: true });
    expect(notes.join(' ')).toContain('not saved');
    expect(await tried(sidecar, key)).toBe('revoked_key');
    expect((await status(sidecar)).store.up).toBe(false);
    expect(await sidecar.metrics()).toContain('litellm_sidecar_store_up 0');
    full = false;
    await eventually(() => (sidecar.logText().includes('can be written again') ? true : undefined));
    await sidecar.stop();
    const after = await start();
    expect(await tried(after, key)).toBe('revoked_key');
    expect(await tried(after, second ?? '')).toBe(200);
    const { body } = await adminCall(after, 'GET', '/api/audit/verify');
    expect(body).toMatchObject({ ok: true });
  });
});

describe('a key file that cannot be written', () => {
  it('leaves everything as it was, and the next rotation succeeds', async () => {
    let broken = false;
    const onStep = (point: string): void => {
      if (broken && /^(?:create|write) master$/.test(point)) {
        throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' });
      }
    };
    const { key, start } = await place();
    const sidecar = await start({}, { onStep });
    const before = await statesOf(sidecar);
    broken = true;
    const no = await refused(sidecar, '/api/clients/master/rotate');
    expect(no).toMatchObject({ status: 500, code: 'publish_failed' });
    expect(no.detail).toContain('nothing was changed');
    expect(await statesOf(sidecar)).toEqual(before);
    expect(await keyFileOf(sidecar)).toBe(key);
    broken = false;
    const { key: renewed } = await rotate(sidecar);
    expect(await tried(sidecar, renewed ?? '')).toBe(200);
    expect(await keyFileOf(sidecar)).toBe(renewed);
  });
});

describe('a wall clock that jumps', () => {
  it.each([
    ['forward a year', 365 * DAY, 'ahead'],
    ['back a day', -DAY, 'behind'],
  ])('%s moves no deadline and rotates nothing; status says so', async (_, byMs, word) => {
    let jump = 0;
    const clock = { now: () => Date.now() + jump, elapsed: () => performance.now() };
    const { folder, key, start } = await place();
    const settings = { SIDECAR_ROTATE_EVERY: '30d', SIDECAR_PUBLISH: `file:${folder}/published` };
    const sidecar = await start(settings, { clock });
    const { key: renewed } = await rotate(sidecar, { grace: '1h' });
    await tried(sidecar, renewed ?? '');
    await eventually(() =>
      sidecar.logText().includes('the grace of the older') ? true : undefined,
    );
    const { validUntil } = await generationOf(sidecar, 'master-1');
    const before = await keyringText(sidecar);
    jump = byMs;
    await eventually(() =>
      sidecar.logText().includes(`${word} the time`) || sidecar.logText().includes(word)
        ? true
        : undefined,
    );
    expect((await status(sidecar)).warnings.map(({ code }) => code)).toEqual(['clock_jump']);
    expect(await tried(sidecar, key)).toBe(200);
    expect((await generationOf(sidecar, 'master-1')).validUntil).toBe(validUntil);
    expect(await keyringText(sidecar)).toBe(before);
  });
});
