import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Litellm, openLitellm } from '../../src/app/litellm.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig, openDeclaredPlaces, openUpstreamKeyPlaces } from '../../src/config/load.ts';
import type { HandoverView } from '../../src/handover/views.ts';
import { generateKey } from '../../src/keyring/key.ts';
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
  const tell = ({ state }: HandoverView): void => void told.push(state);
  litellm = await openLitellm({
    config: loaded.config,
    log: createLog({ level: 'info', destination, clock: systemClock }),
    checks: {
      ...launcher,
      readiness: () => Promise.resolve({ database: false }),
      masterKeyLine: () => Promise.resolve(undefined),
    },
    places: {
      upstreamKey: openUpstreamKeyPlaces(surroundings),
      declaredKey: openDeclaredPlaces(surroundings),
    },
    now: systemClock.now,
    mayWrite: () => true,
    events: { onStep: tell, onEnd: tell, onKeyChange: (now) => void told.push(now) },
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
  expect([litellm.slot, litellm.keys.second]).toEqual(['a', undefined]);
  expect(readFileSync(join(cwd, 'slots/a/master.key'), 'utf8').trim()).toBe(
    litellm.keys.first.reveal(),
  );
  await soon(() => expect(litellm.admin.status().verified).toBe(true));
  writeFileSync(join(cwd, 'config.yaml'), 'another\n');
  litellm.onConfigChanged(new Error('it is being written'));
  expect(litellm.admin.status().warnings).toMatchObject([{ message: 'it is being written' }]);
  // As after a later edit, this digest is not the one of config.yaml by now: the sidecar must not
  // reload over and over for that.
  litellm.onConfigChanged('a digest of another configuration');
  await soon(() => expect(told.at(-1)).toBe('done'));
  expect(told).toEqual(['staged', 'starting', 'verified', 'switched', 'draining', 'done']);
  expect(moves).toEqual(['to b']);
  litellm.onConfigChanged('a digest of another configuration');
  await expect(litellm.admin.reload({ dryRun: true }, 'cli')).resolves.toMatchObject({
    id: 'handover-2',
  });
  expect(text()).toContain("LiteLLM's handover: switched");
  expect(text()).toContain('"added":["another"]');
  expect(text()).not.toContain(litellm.keys.first.reveal());
  recordArtefact('log', 'app-litellm', text());
});

it("knows somebody else's LiteLLM by its key", async () => {
  const [a] = launcher.urls;
  const [one, two] = [generateKey(), generateKey()];
  writeFileSync(join(cwd, '.env'), `SIDECAR_UPSTREAM_KEY=${one}\n`);
  const { litellm, told, moves, text } = await open({ SIDECAR_UPSTREAM: a.origin });
  expect(litellm.keys.first.reveal()).toBe(one);
  expect(litellm.admin.status().mode).toBe('unmanaged');
  writeFileSync(join(cwd, '.env'), `SIDECAR_UPSTREAM_KEY=${two}\n`);
  await soon(() => expect(moves).toEqual(['keys 1', 'keys 2']));
  expect(litellm.admin.status().keyChange).toMatchObject({ oldAcceptedAt: null });
  expect(told).toEqual(['both']);
  expect(text()).toContain("LiteLLM's key changes");
  recordArtefact('log', 'app-litellm', text());
});
