import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Litellm, openLitellm } from '../../src/app/litellm.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig, openDeclaredPlaces, openUpstreamKeyPlaces } from '../../src/config/load.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { NO_ACCEPTED_KEY } from '../../src/store/no-state.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createFakeLauncher, type FakeLauncher } from '../handover/fake-launcher.ts';
import { recordArtefact } from '../support/key-ledger.ts';

let cwd = '';
let launcher: FakeLauncher;
let litellm: Litellm | undefined;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'app-litellm-'));
  for (const folder of ['slots', 'state']) mkdirSync(join(cwd, folder));
  launcher = createFakeLauncher(join(cwd, 'slots'));
});
afterEach(async () => {
  await litellm?.close();
  launcher.close();
  rmSync(cwd, { recursive: true });
});

async function open(env: Record<string, string>) {
  const lines: string[] = [];
  const told: string[] = [];
  const moves: string[] = [];
  const surroundings = { env: { SIDECAR_STATE: join(cwd, 'state'), ...env }, cwd };
  const loaded = loadConfig(surroundings);
  if (!loaded.ok) throw new Error('a setting is wrong');
  const destination = { write: (text: string) => lines.push(text) };
  const tell = (text: string): void => void told.push(text);
  const count = { onKeyUse: () => undefined, onPublishFailure: () => undefined };
  litellm = await openLitellm({
    missedMs: () => 0,
    config: loaded.config,
    log: createLog({ level: 'info', destination, clock: systemClock }),
    checks: { ...launcher, readiness: () => Promise.resolve({ database: false }) },
    shutdown: () => Promise.resolve({ version: '1.108.5', seconds: 599 }),
    places: openDeclaredPlaces(surroundings),
    upstreamKeyPlaces: openUpstreamKeyPlaces(surroundings),
    metrics: {
      handoverEvents: {
        onHandoverState: tell,
        onHandoverEnd: ({ state }) => tell(state),
        onConfigChange: (outcome) => tell(`config ${outcome}`),
      },
      keyEvents: {
        ...{ ...count, onRotation: () => undefined, onStore: () => undefined },
        onClientsFile: () => undefined,
        onUpstreamRotation: (trigger, outcome) => tell(`rotation by ${trigger}: ${outcome}`),
      },
    },
    keys: {
      onward: systemClock.now,
      sure: systemClock.now,
      note: ({ action }) => tell(`audit ${action}`),
    },
    state: { mayWrite: () => true, acceptedKey: NO_ACCEPTED_KEY },
  });
  litellm.start({
    switchTo: (slot) => moves.push(`to ${slot}`),
    load: () => ({ requests: 0, websockets: 0, mcpSessions: 0 }),
    end: () => Promise.resolve(0),
    isUp: launcher.isUp,
    useKeys: (...keys) => moves.push(`keys ${keys.filter((key) => key !== undefined).length}`),
  });
  return { litellm, told, moves, text: () => lines.join('') };
}
const soon = (check: () => void) => vi.waitFor(check, 8000);

it('hands LiteLLM over, and says so in the log and to whoever counts', async () => {
  writeFileSync(join(cwd, 'config.yaml'), 'mock\n');
  const [a, b] = launcher.urls;
  const { litellm, told, moves, text } = await open({
    SIDECAR_UPSTREAM: `${a.origin},${b.origin}`,
    SIDECAR_SLOTS: join(cwd, 'slots'),
    SIDECAR_LITELLM_CONFIG: join(cwd, 'config.yaml'),
    SIDECAR_AUTO_RELOAD: 'true',
    SIDECAR_PROBATION: '0',
  });
  expect(litellm.slot).toBe('a');
  expect(readFileSync(join(cwd, 'slots/a/master.key'), 'utf8').trim()).toBe(litellm.key.reveal());
  await soon(() => expect(litellm.admin.status().verified).toBe(true));
  expect((await litellm.status()).warnings).toMatchObject([{ code: 'short_shutdown' }]);
  rmSync(join(cwd, 'config.yaml'));
  await soon(() => expect(told).toEqual(['idle', 'config unusable']));
  expect(litellm.admin.status().warnings).toMatchObject([{ code: 'config_unusable' }]);
  writeFileSync(join(cwd, 'config.yaml'), 'another\n');
  await soon(() => expect(told.at(-1)).toBe('audit upstream-reloaded'));
  const steps = ['staged', 'starting', 'verified', 'switched', 'draining'];
  expect(told.slice(2, -1)).toEqual([...steps, 'idle', 'done', 'config applied']);
  expect(moves).toEqual(['to b']);
  await litellm.admin.rotate('api:10.0.0.7');
  await expect(litellm.admin.rotate('api:10.0.0.7')).rejects.toThrow('one at a time');
  expect(told).toContain('rotation by api: refused');
  expect(text()).toContain("LiteLLM's handover: switched");
  expect(text()).toContain('"added":["another"]');
  expect(text()).not.toContain(litellm.key.reveal());
  recordArtefact('log', 'app-litellm', text());
});

it("knows somebody else's LiteLLM by its key", async () => {
  const [a] = launcher.urls;
  const [one, two] = [generateKey(), generateKey()];
  writeFileSync(join(cwd, '.env'), `SIDECAR_UPSTREAM_KEY=${one}\n`);
  const { litellm, told, moves, text } = await open({ SIDECAR_UPSTREAM: a.origin });
  expect(litellm.key.reveal()).toBe(one);
  expect(litellm.admin.status().mode).toBe('unmanaged');
  writeFileSync(join(cwd, '.env'), `SIDECAR_UPSTREAM_KEY=${two}\n`);
  await soon(() => expect(moves).toEqual(['keys 1', 'keys 2']));
  expect(litellm.admin.status().keyChange).toMatchObject({ oldAcceptedAt: null });
  expect(told).toEqual(['audit upstream-key-changes']);
  expect(text()).toContain("LiteLLM's key changes");
  recordArtefact('log', 'app-litellm', text());
});
