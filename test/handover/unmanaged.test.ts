import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openDeclaredPlaces, openUpstreamKeyPlaces } from '../../src/config/load.ts';
import { openUnmanaged, type Unmanaged } from '../../src/handover/unmanaged.ts';
import { generateKey } from '../../src/keyring/key.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';
import { createAcceptedKey } from '../../src/store/key-files.ts';
import { MINUTE } from './scene.ts';

let cwd = '';
let unmanaged: Unmanaged | undefined;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'unmanaged-'));
});
afterEach(async () => {
  await unmanaged?.close();
  rmSync(cwd, { recursive: true });
});

interface Opening {
  readonly database?: boolean;
  /** What LiteLLM says to a key. */
  readonly said?: (key: Secret) => Verdict;
}

/** Somebody else's LiteLLM, with what stands in `.env` and `up.key` of the test's folder. */
async function open(
  key: string,
  env: Record<string, string>,
  { database, said = () => ({ kind: 'silent' }) }: Opening = {},
) {
  const told: string[] = [];
  const used: (readonly (string | undefined)[])[] = [];
  const surroundings = { env, cwd };
  const clock = { now: Date.UTC(2026, 0, 1) };
  const isOwn = 'SIDECAR_UPSTREAM_KEY_FILE' in env;
  unmanaged = await openUnmanaged({
    config: {
      upstreams: [new URL('http://litellm:4000')],
      upstreamKey: isOwn ? new Secret(key) : undefined,
      ...{ handoverTimeoutMs: 5 * MINUTE, saltKeySet: false },
    },
    acceptedKey: createAcceptedKey(join(cwd, 'state')),
    key: new Secret(key),
    isShared: !isOwn,
    places: {
      upstreamKey: openUpstreamKeyPlaces(surroundings),
      declaredKey: openDeclaredPlaces(surroundings),
    },
    checks: {
      verify: () => Promise.resolve({ kind: 'silent' }),
      tryKey: (_slot, asked) => Promise.resolve(said(asked)),
      readiness: () => Promise.resolve({ database }),
    },
    now: () => clock.now,
    events: {
      ...{ onChange: vi.fn(), onSettled: vi.fn(), onNotKept: vi.fn() },
      onKeyRefused: (refusal) => told.push(refusal?.message ?? 'taken'),
    },
  });
  unmanaged.start({
    isUp: () => true,
    load: () => ({ requests: 3, websockets: 1, mcpSessions: 2 }),
    useKeys: (first, second) => used.push([first.reveal(), second?.reveal()]),
  });
  return { ...unmanaged, used, clock, told };
}
const codes = ({ admin }: Unmanaged): string[] => admin.status().warnings.map(({ code }) => code);
const soon = (check: () => void) => vi.waitFor(check, 8000);

it('follows the file of the key, and an emptied one changes nothing', async () => {
  const [one, two] = [generateKey(), generateKey()];
  writeFileSync(join(cwd, 'up.key'), one);
  const it = await open(one, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' });
  writeFileSync(join(cwd, 'up.key'), `${two}\n`);
  await soon(() => expect(it.used.at(-1)).toEqual([two, one]));
  expect(it.admin.status().keyChange).toMatchObject({ newAcceptedAt: null, oldAcceptedAt: null });
  expect(codes(it)).toEqual([]);
  writeFileSync(join(cwd, 'up.key'), '');
  await soon(() => expect(codes(it)).toEqual(['upstream_key_unreadable']));
  expect(it.used.at(-1)).toEqual([two, one]);
  writeFileSync(join(cwd, 'up.key'), two);
  await soon(() => expect(codes(it)).toEqual([]));
  it.clock.now += 5 * MINUTE;
  expect(codes(it)).toEqual(['upstream_key_not_accepted']);
});

it('follows the declared key where LiteLLM has none of its own, until it is given one', async () => {
  const [one, two, three] = [generateKey(), generateKey(), generateKey()];
  writeFileSync(join(cwd, '.env'), `LITELLM_MASTER_KEY=${one}\n`);
  const it = await open(one, {});
  expect(codes(it)).toEqual(['shared_key']);
  writeFileSync(join(cwd, '.env'), `LITELLM_MASTER_KEY=${two}\n`);
  await soon(() => expect(it.used.at(-1)).toEqual([two, one]));
  writeFileSync(join(cwd, '.env'), `LITELLM_MASTER_KEY=${two}\nSIDECAR_UPSTREAM_KEY=${three}\n`);
  await soon(() => expect(it.used.at(-1)).toEqual([three, one]));
});

it('says that LiteLLM refuses its key, and where that came from, until another is taken', async () => {
  const [wrong, right] = [generateKey(), generateKey()];
  writeFileSync(join(cwd, 'up.key'), wrong);
  const said = (key: Secret): Verdict =>
    key.reveal() === right ? { kind: 'no_models' } : { kind: 'refuses_key', status: 401 };
  const it = await open(wrong, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' }, { said });
  const message = "LiteLLM refuses the sidecar's key (401), and so every request";
  await soon(() => expect(it.told).toEqual([message]));
  expect(it.isKeyTaken()).toBe(false);
  expect(it.admin.status().warnings).toEqual([
    {
      ...{ code: 'upstream_key_refused', message },
      hint: 'it is that of SIDECAR_UPSTREAM_KEY, or its file: put there what LiteLLM runs with',
    },
  ]);
  writeFileSync(join(cwd, 'up.key'), right);
  await soon(() => expect(it.told).toEqual([message, 'taken']));
  expect(it.isKeyTaken()).toBe(true);
  expect(codes(it)).toEqual([]);
});

it('asks again when a LiteLLM that was away answers, maybe with another key', async () => {
  const key = generateKey();
  writeFileSync(join(cwd, 'up.key'), key);
  let isOther = false;
  const said = (): Verdict =>
    isOther ? { kind: 'refuses_key', status: 401 } : { kind: 'no_models' };
  const it = await open(key, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' }, { said });
  await soon(() => expect(it.isKeyTaken()).toBe(true));
  isOther = true;
  it.onBack();
  await soon(() => expect(codes(it)).toEqual(['upstream_key_refused']));
});

it('says nothing of its key where LiteLLM takes it, or has not said', async () => {
  const key = generateKey();
  writeFileSync(join(cwd, 'up.key'), key);
  const silent = await open(key, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' });
  expect(silent.isKeyTaken()).toBeUndefined();
  await silent.close();
  const said = (): Verdict => ({ kind: 'accepts_any_key' });
  const taken = await open(key, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' }, { said });
  await soon(() => expect(taken.isKeyTaken()).toBe(true));
  expect(taken.told).toEqual([]);
});

it('hands nothing over, and shows what there is', async () => {
  const key = generateKey();
  writeFileSync(join(cwd, 'up.key'), key);
  const { admin } = await open(key, { SIDECAR_UPSTREAM_KEY_FILE: 'up.key' }, { database: false });
  const verbs = [admin.rotate('cli'), admin.reload({ dryRun: true }, 'cli')];
  for (const verb of verbs) await expect(verb).rejects.toMatchObject({ code: 'no_slots' });
  expect(() => admin.handover('handover-1')).toThrow('no handover is called');
  expect(admin.history()).toEqual([]);
  expect(admin.status()).toMatchObject({
    mode: 'unmanaged',
    slots: [{ name: 'a', url: 'http://litellm:4000', state: 'active', up: true, requests: 3 }],
    keyChange: null,
  });
  await soon(() => expect(admin.status().database).toBe(false));
  expect((await admin.saltKey('cli')).saltKey).toMatch(/^sk-/);
});
