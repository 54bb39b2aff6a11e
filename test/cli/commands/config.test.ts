import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { renderConfig } from '../../../src/cli/commands/config.ts';
import { parseConfig } from '../../../src/config/parse.ts';
import { EVERY_SETTING } from '../../../src/config/settings.ts';
import { capturedTerminal } from '../captured-terminal.ts';

const DENIED = '/first/quite/long/path/*,/second/quite/long/path/*,/third';
const KEY_FILE = '/run/secrets/a-long-name-for-a-file/with-an-even-longer-name/master.key';

function inForce() {
  const parsed = parseConfig([
    { name: KEY_FILE, values: { LITELLM_MASTER_KEY: 'sk-hush-hush' }, keyFile: true },
    {
      name: 'environment',
      values: { SIDECAR_UPSTREAM: 'http://litellm:4000', SIDECAR_DENY_PATHS: DENIED },
    },
    { name: '.env', values: { SIDECAR_HOLD: '90s' } },
  ]);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.mistakes));
  return { ...parsed, envFile: '/config/.env' };
}

/** On a terminal of so many columns with colours, or where nobody looks. */
const render = (json: boolean, columns?: number, env = {}) => {
  const looked = columns === undefined ? undefined : ({ isTTY: true, columns } as const);
  return renderConfig(capturedTerminal(env, '.', looked).terminal, inForce(), { json });
};

describe('sidecar config', () => {
  it('is a table of name, value and origin', async () => {
    const text = await render(false);
    const cells = text.split('\n').map((line) => line.trim().split(/ {2,}/));
    expect(cells[0]).toEqual(['setting', 'value', 'from']);
    expect(cells.slice(1, -1).map(([name]) => name)).toEqual(EVERY_SETTING.map(({ name }) => name));
    expect(cells).toContainEqual(['LITELLM_MASTER_KEY', '(set, hidden)', KEY_FILE]);
    expect(cells).toContainEqual(['SIDECAR_UPSTREAM_KEY', '(not set)', 'default']);
    expect(cells).toContainEqual(['SIDECAR_UPSTREAM', 'http://litellm:4000', 'environment']);
    expect(cells).toContainEqual(['SIDECAR_HOLD', '90s', '.env']);
    expect(cells).toContainEqual(['SIDECAR_REPLAY_TOTAL', '64MiB', 'default']);
    expect(cells).toContainEqual(['SIDECAR_ENV_FILE', '/config/.env']);
    expect(text).not.toMatch(/ $/m);
    expect(text.endsWith('\n')).toBe(true);
  });

  it.each([60, 80, 100])('fits into %i columns, with every letter still there', async (width) => {
    const text = await render(false, width);
    const lines = stripVTControlCharacters(text).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(Math.max(width, 66));
    const first = lines.findIndex((line) => line.startsWith('SIDECAR_DENY_PATHS'));
    const last = lines.findIndex((line) => line.startsWith('SIDECAR_ALLOW_PATHS'));
    const start = lines[0]?.indexOf('value') ?? 0;
    const values = lines.slice(first, last).map((line) => line.slice(start).split('  ')[0]?.trim());
    expect(values.join('')).toBe(DENIED);
  });

  it('is coloured where that is asked for, and every line by itself', async () => {
    const plain = await render(false, 70, { NO_COLOR: '1' });
    const colored = await render(false, 70);
    expect(plain).not.toContain('\u001b');
    expect(colored).toContain('\u001b[2m0.0.0.0\u001b[22m');
    expect(stripVTControlCharacters(colored)).toBe(plain);
  });

  it('is JSON where that is asked for', async () => {
    const values = JSON.parse(await render(true, 100));
    expect(Object.keys(values)).toEqual(EVERY_SETTING.map(({ name }) => name));
    expect(values).toMatchObject({
      LITELLM_MASTER_KEY: { value: null, origin: KEY_FILE, secret: true, set: true },
      SIDECAR_UPSTREAM_KEY: { value: null, origin: 'default', secret: true, set: false },
      SIDECAR_HOLD: { value: '90s', origin: '.env' },
      SIDECAR_SLOTS: { value: null, origin: 'default' },
    });
  });

  it.each([true, false])('shows no secret (json: %s)', async (json) => {
    expect(await render(json)).not.toContain('hush');
  });
});
