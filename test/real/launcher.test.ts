import { readFileSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { createSlots, type SlotName } from '../../src/litellm/slots.ts';
import { Secret } from '../../src/secret.ts';
import { recordArtefact } from '../support/key-ledger.ts';
import { type Launcher, launch } from '../support/launcher.ts';
import { findLitellm, freePort } from '../support/litellm.ts';

const GOOD = JSON.stringify({
  model_list: [
    {
      model_name: 'mock',
      litellm_params: { model: 'openai/gpt-4o', api_key: 'none', mock_response: 'hi' },
    },
  ],
  general_settings: { master_key: 'os.environ/LITELLM_MASTER_KEY' },
});
/** As a forgotten bracket leaves it. */
const BROKEN = 'model_list: [\n  - model_name: mock\ngeneral_settings: {\n';

const GROUP = 4000;
const soon = { timeout: 120_000, interval: 100 };

let base: string;
let folder: string;
let reports: string;
let launcher: Launcher | undefined;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'launcher-'));
  folder = join(base, 'slots');
  reports = join(base, 'reports');
  for (const each of [folder, reports]) await mkdir(each);
});

afterEach(async () => {
  await launcher?.clear();
  for (const slot of ['a', 'b'] as const) recordArtefact('log', `${slot}.log`, reportOf(slot));
  launcher = undefined;
  await rm(base, { recursive: true, force: true });
});

const reportOf = (slot: SlotName): string => {
  try {
    return readFileSync(join(reports, `${slot}.log`), 'utf8');
  } catch {
    return '';
  }
};

const place = async (slot: SlotName, config: string): Promise<string> => {
  const source = join(base, 'config.yaml');
  await writeFile(source, config);
  const key = generateKey();
  await createSlots({ folder }).place(slot, { key: new Secret(key), config: source });
  return key;
};

const start = async (shell: readonly string[]): Promise<number> => {
  const bin = findLitellm();
  const [a, b] = [await freePort(), await freePort()];
  const env = {
    PATH: `${dirname(bin)}:${process.env['PATH']}`,
    HOME: base,
    LITELLM_BIN: bin,
    LITELLM_LOCAL_MODEL_COST_MAP: 'True',
    LITELLM_MODE: 'PRODUCTION',
    LAUNCHER_LOOK: '0.2',
    LAUNCHER_PORT_A: String(a),
    LAUNCHER_PORT_B: String(b),
  };
  const args = ['--host', '127.0.0.1'];
  launcher = launch({ shell, slots: folder, reports, args, env, cwd: base });
  return a;
};

const models = async (port: number, key: string): Promise<number> =>
  (
    await fetch(`http://127.0.0.1:${port}/v1/models`, {
      headers: { authorization: `Bearer ${key}`, connection: 'close' },
    })
  ).status;

const answers = (port: number, key: string): Promise<void> =>
  vi.waitFor(async () => expect(await models(port, key)).toBe(200), soon);

test('a LiteLLM says why it does not start, while the other one answers', async () => {
  const key = await place('a', GOOD);
  const broken = await place('b', BROKEN);
  const port = await start(['sh']);
  const words = await vi.waitFor(() => {
    const report = reportOf('b');
    expect(report).toMatch(/^slot-id .+\ntry \d+\n[\s\S]+\nended [1-9]\d*\n$/);
    return report;
  }, soon);
  expect(words).toMatch(/yaml[\s\S]*(?:expected|while parsing)/);
  await answers(port, key);
  // The sidecar learns from it whether LiteLLM has the port that it was given.
  expect(reportOf('a')).toContain(`Uvicorn running on http://127.0.0.1:${port} `);
  expect(reportOf('a')).not.toMatch(/^ended /m);
  expect(`${reportOf('a')}${words}`).not.toMatch(new RegExp(`${key}|${broken}`));

  // Its next try does not disturb the other one, and is told apart.
  await vi.waitFor(() => expect(reportOf('b')).toMatch(/\ntry [2-9]\n[\s\S]+\nended/), soon);
  expect(await models(port, key)).toBe(200);
  launcher?.kill('SIGTERM');
  expect(await launcher?.ended).toBe(0);
  await expect(models(port, key)).rejects.toThrow();
  await vi.waitFor(() => expect(reportOf('a')).toMatch(/\nended (?:0|143)\n$/), soon);
});

test('the user of newer images needs the group alone', async () => {
  expect(process.getuid?.(), 'who changes the user must be root').toBe(0);
  for (const [path, mode] of [
    [folder, 0o2750],
    [reports, 0o2770],
  ] as const) {
    await chown(path, 0, GROUP);
    await chmod(path, mode);
  }
  await chmod(base, 0o777);
  const key = await place('a', GOOD);
  const ids = ['--reuid', '65532', '--regid', '65532', '--groups', String(GROUP)];
  // LiteLLM's Python may lie in the home of root, which is closed; writing stays as it is.
  const reads = ['--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search'];
  const port = await start(['setpriv', ...ids, ...reads, 'sh']);
  await answers(port, key);
  expect(reportOf('a')).toContain(`Uvicorn running on http://127.0.0.1:${port} `);
  const { uid, gid, mode } = await stat(join(reports, 'a.log'));
  expect([uid, gid, mode & 0o777]).toEqual([65532, GROUP, 0o640]);
});
