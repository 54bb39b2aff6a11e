import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { digestOf, generateKey, showDigest } from '../../src/keyring/key.ts';
import type { StatusView } from '../../src/rotation/admin.ts';
import { runIn } from '../cli/fake-admin.ts';
import { outcomeOf, post } from '../support/ask.ts';
import type { Settings, Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';
import { sayUsage } from '../support/usage.ts';

const stages = createStages();
const TOKEN = 'a-token-of-these-tests-0123456789';
/** What an edit may take until the new key is good. */
const WITHIN = { timeout: 3000, interval: 20 };

/** A sidecar that keeps nothing, whose key is declared in `.env`. */
async function stage(key: string, settings: Settings = {}): Promise<Sidecar> {
  const { sidecar } = await stages({
    script: sayUsage,
    settings: {
      SIDECAR_STATE: 'none',
      SIDECAR_ADMIN_TOKEN: TOKEN,
      SIDECAR_USAGE_KEEP: '400d',
      SIDECAR_FAILURES_PER_MINUTE: '0',
      LITELLM_MASTER_KEY: undefined,
      ...settings,
    },
    surroundings: { dotenv: `LITELLM_MASTER_KEY=${key}\n` },
  });
  return sidecar;
}

/** A command beside the sidecar, which finds it by its settings. */
const command = ({ cwd, opsPort }: Sidecar, line: string, token: string | null = TOKEN) =>
  runIn(cwd, line, {
    env: {
      SIDECAR_UPSTREAM: 'http://127.0.0.1:9',
      SIDECAR_STATE: 'none',
      SIDECAR_OPS_PORT: String(opsPort),
      ...(token !== null && { SIDECAR_ADMIN_TOKEN: token }),
    },
  });

const tried = (sidecar: Sidecar, key: string) => outcomeOf({ ...sidecar, key });

describe('without a state', () => {
  it('a declared key is good, and nothing is written', async () => {
    const key = generateKey();
    const sidecar = await stage(key);
    expect(await tried(sidecar, key)).toBe(200);
    expect(await tried(sidecar, generateKey())).toBe('401 unknown_key');
    await sidecar.drain();
    expect(await readdir(sidecar.cwd)).toEqual(['.env']);
    expect(sidecar.logText()).toContain('clients present the declared LITELLM_MASTER_KEY');
  });

  it('a declared key that changes leaves the one before its grace', async () => {
    const [first, second] = [generateKey(), generateKey()];
    const sidecar = await stage(first, { SIDECAR_GRACE: '1s' });
    await writeFile(join(sidecar.cwd, '.env'), `LITELLM_MASTER_KEY=${second}\n`);
    await vi.waitFor(async () => {
      const { stdout } = await command(sidecar, 'status --json');
      const { clients } = JSON.parse(stdout) as StatusView;
      const states = clients[0]?.generations.map(({ id, state }) => [id, state]);
      expect(states).toEqual([
        ['master-2', 'active'],
        ['master-1', 'retiring'],
      ]);
    }, WITHIN);
    expect(await tried(sidecar, first)).toBe(200);
    expect(await tried(sidecar, second)).toBe(200);
    await vi.waitFor(
      async () => expect(await tried(sidecar, first)).toBe('401 expired_key'),
      WITHIN,
    );
    expect(await readdir(sidecar.cwd)).toEqual(['.env']);
  });

  it('the audit goes to the log, and holds no key', async () => {
    const key = generateKey();
    const sidecar = await stage(key);
    const lines = sidecar.logLines().filter(({ msg }) => msg === 'audit');
    expect(lines.map(({ audit }) => audit)).toMatchObject([
      { by: 'declared:dotenv', action: 'client-added', client: 'master' },
      { by: 'declared:dotenv', action: 'rotated', client: 'master', to: 'master-1' },
    ]);
    expect(Object.keys(lines[0]?.['audit'] as object)).not.toContain('prev');
    const { code, stderr } = await command(sidecar, 'audit');
    expect(code).toBe(1);
    expect(stderr).toContain('the audit is in the log');
  });

  it('totals are those of the process', async () => {
    const key = generateKey();
    const sidecar = await stage(key);
    await post({ ...sidecar, key });
    const { code, stdout } = await vi.waitFor(async () => {
      const shown = await command(sidecar, 'usage');
      expect(shown.stdout).toMatch(/^master +1 /m);
      return shown;
    });
    expect(code).toBe(0);
    expect(stdout).toContain('nothing is kept (SIDECAR_STATE=none)');
    expect(await sidecar.metrics()).not.toContain('usage_store');
  });

  it('with a clients file alone nobody is master, until a key is declared', async () => {
    const [key, declared] = [generateKey(), generateKey()];
    const folder = await mkdtemp(join(tmpdir(), 'clients-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'clients.yaml');
    await writeFile(file, `clients: {ci: {keys: ['${showDigest(digestOf(key))}']}}\n`);
    const sidecar = await stage('', { SIDECAR_CLIENTS: file });
    const names = async (): Promise<readonly string[]> => {
      const { clients } = JSON.parse((await command(sidecar, 'status --json')).stdout);
      return (clients as StatusView['clients']).map(({ name }) => name);
    };
    expect(await names()).toEqual(['ci']);
    expect(await tried(sidecar, key)).toBe(200);
    expect(await tried(sidecar, sidecar.upstreamKey)).toBe('401 unknown_key');
    expect(sidecar.logText()).toContain('nobody is master');
    await writeFile(join(sidecar.cwd, '.env'), `LITELLM_MASTER_KEY=${declared}\n`);
    await vi.waitFor(async () => expect(await tried(sidecar, declared)).toBe(200), WITHIN);
    expect(await names()).toEqual(['ci', 'master']);
    // What a change of the file did is one line of the log, and no line for each client.
    const lines = sidecar.logLines().filter(({ msg }) => msg === 'audit');
    expect(lines.map(({ audit }) => (audit as { client: string }).client)).not.toContain('ci');
  });

  it.each([
    'rotate',
    'rollback',
    'revoke master-1 --compromised',
    'clients add ci',
    'clients set master --rpm 5',
    'clients disable master',
    'clients enable master',
    'clients remove master',
  ])('`sidecar %s` refuses, and says what to do instead', async (line) => {
    const key = generateKey();
    const sidecar = await stage(key);
    const { code, stderr } = await command(sidecar, line);
    expect(code).toBe(1);
    expect(stderr).toContain('nothing was changed: this sidecar keeps nothing');
    expect(stderr).toContain('SIDECAR_CLIENTS');
    expect(stderr).toContain('LITELLM_MASTER_KEY_FILE');
    expect(await tried(sidecar, key)).toBe(200);
  });
});

describe('a command for a sidecar without a state', () => {
  it('asks the ops port with the token', async () => {
    const sidecar = await stage(generateKey());
    const { code, stdout } = await command(sidecar, 'status');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^master +master-1 +active /m);
    expect(stdout).toMatch(/^store: nothing is kept \(SIDECAR_STATE=none\)/m);
    expect(stdout).not.toMatch(/^schedule:/m);
    const config = await command(sidecar, 'config --json');
    expect(config.code).toBe(0);
    expect(config.stdout).toMatch(/"SIDECAR_STATE"[^}]*"value": "none"/s);
  });

  it('says which setting opens the port, where there is no token', async () => {
    const sidecar = await stage(generateKey());
    const { code, stderr } = await command(sidecar, 'status', null);
    expect(code).toBe(64);
    expect(stderr).toContain('SIDECAR_ADMIN_TOKEN is not set');
  });

  it('is refused with another token', async () => {
    const sidecar = await stage(generateKey());
    const { code, stderr } = await command(sidecar, 'status', 'another-token-0123456789');
    expect(code).toBe(1);
    expect(stderr).toContain('that is not the token of the admin API');
  });

  it('says where it asked, where nobody answers', async () => {
    const sidecar = await stage(generateKey());
    await sidecar.drain();
    const { code, stderr } = await command(sidecar, 'status');
    expect(code).toBe(69);
    expect(stderr).toContain(`no sidecar answers at http://127.0.0.1:${sidecar.opsPort}`);
  });

  it('does not look for a key that is kept nowhere', async () => {
    const sidecar = await stage(generateKey());
    const { code, stdout, stderr } = await command(sidecar, 'key show');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('nothing is kept here (SIDECAR_STATE=none)');
    await rm(join(sidecar.cwd, '.env'));
    const env = { SIDECAR_STATE: 'none', SIDECAR_CLIENTS: './clients.yaml' };
    const checked = await runIn(sidecar.cwd, 'check', { env });
    expect(checked.code).toBe(1);
    expect(checked.stderr).toContain('sidecar check --key-file ./ci.key');
  });
});
