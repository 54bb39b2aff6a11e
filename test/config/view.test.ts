import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { configView } from '../../src/config/view.ts';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'config-view-'));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const write = (lines: readonly string[]): void =>
  writeFileSync(join(cwd, '.env'), `${lines.join('\n')}\n`);
const load = (env: Record<string, string> = {}) =>
  loadConfig({ env: { SIDECAR_UPSTREAM: 'http://litellm:4000', ...env }, cwd });

/** Names of what a restart would change, after `.env` was changed from one to the other. */
function changed(before: readonly string[], after: readonly string[], env = {}) {
  write(before);
  const inForce = load(env);
  if (!inForce.ok) throw new Error('a setting is wrong');
  write(after);
  const view = configView(inForce, load(env));
  return { view, names: view.settings.flatMap(({ name, restart }) => (restart ? [name] : [])) };
}

it('marks what was edited since, and says what a restart would take', () => {
  const { view, names } = changed(['SIDECAR_GRACE=36h', 'SIDECAR_HOLD=10s'], ['SIDECAR_GRACE=2d']);
  expect(names).toEqual(['SIDECAR_GRACE', 'SIDECAR_HOLD']);
  expect(view.settings.find(({ name }) => name === 'SIDECAR_GRACE')).toEqual({
    ...{ name: 'SIDECAR_GRACE', secret: false, value: '36h', set: true, origin: '.env' },
    restart: { value: '2d', set: true, origin: '.env' },
  });
});

it('marks nothing that is the same in other words, or from another place', () => {
  expect(changed(['SIDECAR_GRACE=36h'], ['SIDECAR_GRACE=2160m']).names).toEqual([]);
  expect(changed(['SIDECAR_PORT=4000'], []).names).toEqual([]);
});

it('tells a secret that was changed, and never shows it', () => {
  const token = (end: string): string => `SIDECAR_ADMIN_TOKEN=0123456789abcdef${end}`;
  const { view, names } = changed([token('one')], [token('two')]);
  expect(names).toEqual(['SIDECAR_ADMIN_TOKEN']);
  expect(JSON.stringify(view)).not.toContain('0123456789abcdef');
});

it('marks no key that a running sidecar follows', () => {
  const lines = (key: string) => [`LITELLM_MASTER_KEY=${key}`, `SIDECAR_UPSTREAM_KEY=${key}-up`];
  const [one, two] = ['sk-one-0123456789abcdef', 'sk-two-0123456789abcdef'];
  expect(changed(lines(one), lines(two)).names).toEqual([]);
  const env = { SIDECAR_SLOTS: '/slots' };
  expect(changed(lines(one), lines(two), env).names).toEqual(['SIDECAR_UPSTREAM_KEY']);
});

it('goes on with what is in force where there are mistakes by now, and tells them', () => {
  const { view, names } = changed(['SIDECAR_GRACE=36h'], ['SIDECAR_GRACE=soon']);
  expect(names).toEqual([]);
  expect(view.mistakes).toContain('SIDECAR_GRACE');
  expect(view.settings.find(({ name }) => name === 'SIDECAR_GRACE')?.value).toBe('36h');
});
