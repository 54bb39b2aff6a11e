import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { change, keyFileOf, rotate, statesOf, status } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';

const stages = createStages();
/** What an edit may take until the new key is good. */
const WITHIN = { timeout: 3000, interval: 20 };

/** A sidecar whose key is declared in `.env`. */
async function stage(key: string, settings: Record<string, string | undefined> = {}) {
  const { sidecar } = await stages({
    script: (peer: Peer) => peer.answer('200 OK', '{}'),
    // While a new key is waited for, it is tried more often than guesses are let.
    settings: { LITELLM_MASTER_KEY: undefined, SIDECAR_FAILURES_PER_MINUTE: '0', ...settings },
    surroundings: { dotenv: `# ours\nLITELLM_MASTER_KEY=${key}\n` },
  });
  return sidecar;
}

const edit = (sidecar: Sidecar, key: string): Promise<void> =>
  writeFile(join(sidecar.cwd, '.env'), `# ours\nLITELLM_MASTER_KEY=${key}\n`);

async function tried(sidecar: Sidecar, key: string) {
  const { response } = await get({ ...sidecar, key });
  return response.headers['x-sidecar-refusal'] ?? response.statusCode;
}

/** Resolves once a generation is active, and its key is good. */
async function active(sidecar: Sidecar, id: string, key: string): Promise<void> {
  await vi.waitFor(async () => expect((await statesOf(sidecar))[id]).toBe('active'), WITHIN);
  expect(await tried(sidecar, key)).toBe(200);
}

const warningsOf = async (sidecar: Sidecar): Promise<readonly string[]> =>
  (await status(sidecar)).warnings.map(({ code }) => code);

describe('a key declared in .env', () => {
  it('rotates within three seconds of an edit, with grace for the old one', async () => {
    const [first, second, third] = [generateKey(), generateKey(), generateKey()];
    const sidecar = await stage(first);
    expect(await tried(sidecar, first)).toBe(200);
    await edit(sidecar, second);
    await active(sidecar, 'master-2', second);
    expect(await tried(sidecar, first)).toBe(200);
    expect(await statesOf(sidecar)).toEqual({ 'master-1': 'retiring', 'master-2': 'active' });
    await writeFile(join(sidecar.cwd, '.env.new'), `LITELLM_MASTER_KEY="${third}"\n`);
    await rename(join(sidecar.cwd, '.env.new'), join(sidecar.cwd, '.env'));
    await active(sidecar, 'master-3', third);
    expect(await keyFileOf(sidecar)).toBe(third);
    expect(sidecar.logText()).not.toContain(third);
  });

  it('that finds no room is taken as soon as there is some', async () => {
    const [first, second] = [generateKey(), generateKey()];
    const sidecar = await stage(first);
    for (let more = 0; more < 7; more++) await rotate(sidecar);
    await edit(sidecar, second);
    await vi.waitFor(async () => {
      expect(await warningsOf(sidecar)).toEqual(['too_many_generations']);
    }, WITHIN);
    await change(sidecar, 'generations/master-1/revoke', { force: true });
    await active(sidecar, 'master-9', second);
    expect(await warningsOf(sidecar)).toEqual([]);
  });

  it('that is short is warned of in the log, too, when it is edited', async () => {
    const sidecar = await stage(generateKey());
    await edit(sidecar, 'sk-Xy7qLm2Rt9Bv');
    await active(sidecar, 'master-2', 'sk-Xy7qLm2Rt9Bv');
    expect(await warningsOf(sidecar)).toEqual(['short_declared_key']);
    await vi.waitFor(() => {
      expect(sidecar.logText()).toContain('has only 15 characters');
    }, WITHIN);
  });

  it('lets nobody in while master is disabled, and says so', async () => {
    const [first, second] = [generateKey(), generateKey()];
    const sidecar = await stage(first);
    await change(sidecar, 'clients/master/disable');
    await edit(sidecar, second);
    await vi.waitFor(async () => {
      expect((await statesOf(sidecar))['master-2']).toBe('active');
      expect(sidecar.logText()).toContain('which stays disabled');
    }, WITHIN);
    expect([await tried(sidecar, first), await tried(sidecar, second)]).toEqual([
      ...['revoked_key', 'revoked_key'],
    ]);
  });

  it('that is taken back while it retires is refused, and points to the rollback', async () => {
    const [first, second] = [generateKey(), generateKey()];
    const sidecar = await stage(first);
    await edit(sidecar, second);
    await active(sidecar, 'master-2', second);
    const before = await statesOf(sidecar);
    await edit(sidecar, first);
    await vi.waitFor(
      async () => expect(await warningsOf(sidecar)).toContain('key_is_retiring'),
      WITHIN,
    );
    const { warnings } = await status(sidecar);
    expect(warnings.map(({ hint }) => hint).join(' ')).toContain('sidecar rollback');
    expect(await statesOf(sidecar)).toEqual(before);
    await edit(sidecar, second);
    await vi.waitFor(async () => expect(await warningsOf(sidecar)).toEqual([]), WITHIN);
  });

  it('that was revoked is refused loudly, and never accepted', async () => {
    const [first, second] = [generateKey(), generateKey()];
    const sidecar = await stage(first);
    await edit(sidecar, second);
    await active(sidecar, 'master-2', second);
    await change(sidecar, 'generations/master-1/revoke', { compromised: true });
    const before = await statesOf(sidecar);
    await edit(sidecar, first);
    await vi.waitFor(
      async () => expect(await warningsOf(sidecar)).toContain('key_is_tombstone'),
      WITHIN,
    );
    expect(
      sidecar.logLines().some(({ level, msg }) => level === 'error' && /not used/.test(msg)),
    ).toBe(true);
    expect(await tried(sidecar, first)).toBe('revoked_key');
    expect(await statesOf(sidecar)).toEqual(before);
  });

  it.each([
    ['everybody knows', 'sk-1234'],
    ['is too short', 'sk-abcdefg'],
  ])('that %s is refused, and the one before it counts', async (_, bad) => {
    const first = generateKey();
    const sidecar = await stage(first);
    await edit(sidecar, bad);
    await vi.waitFor(
      async () => expect(await warningsOf(sidecar)).toContain('declared_key_refused'),
      WITHIN,
    );
    expect(await tried(sidecar, first)).toBe(200);
    expect(await statesOf(sidecar)).toEqual({ 'master-1': 'active' });
  });

  it('that is short is taken, with a warning until the first rotation', async () => {
    const short = 'sk-aB3dE6gH9jK2mN5p';
    const sidecar = await stage(short);
    expect(await tried(sidecar, short)).toBe(200);
    expect(await warningsOf(sidecar)).toEqual(['short_declared_key']);
    await rotate(sidecar);
    expect(await warningsOf(sidecar)).toEqual([]);
  });

  it('that is gone changes nothing', async () => {
    const first = generateKey();
    const sidecar = await stage(first);
    await rm(join(sidecar.cwd, '.env'));
    const second = generateKey();
    await edit(sidecar, second);
    await active(sidecar, 'master-2', second);
    expect(await statesOf(sidecar)).toEqual({ 'master-1': 'retiring', 'master-2': 'active' });
  });

  it('that comes back because we published it is nothing new', async () => {
    const first = generateKey();
    const sidecar = await stage(first, { SIDECAR_PUBLISH: 'dotenv:.env#LITELLM_MASTER_KEY' });
    for (let turn = 2; turn <= 4; turn++) await rotate(sidecar);
    const marker = generateKey();
    await edit(sidecar, marker);
    await active(sidecar, 'master-5', marker);
    const states = await statesOf(sidecar);
    expect(states['master-5']).toBe('active');
    expect(Object.keys(states)).toHaveLength(5);
  });
});
