import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isWellFormedKey } from '../../src/keyring/key.ts';
import { CHAT, json, modelList, startFakeGateway } from '../cli/fake-gateway.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const KEY = 'sk-a-key-that-these-tests-declare-0123456789';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rm(cwd, { recursive: true }));

function start(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number, ...written }));
  return { child, ended };
}

test('key new: one key, one line, nothing on stderr', async () => {
  const { code, stdout, stderr } = await start(['key', 'new']).ended;
  expect([code, stderr]).toEqual([0, '']);
  const [key = '', ...rest] = stdout.split('\n');
  expect(isWellFormedKey(key)).toBe(true);
  expect(rest).toEqual(['']);
});

test('a wrong command line is 2, a wrong setting is 64', async () => {
  expect((await start(['nonsense']).ended).code).toBe(2);
  const { code, stdout, stderr } = await start(['serve'], { SIDECAR_PROT: '1' }).ended;
  expect([code, stdout]).toEqual([64, '']);
  expect(stderr).toContain('did you mean SIDECAR_PORT?');
  expect(stderr).toContain('SIDECAR_UPSTREAM');
});

test('no colours and no movement where nobody looks, even if some are asked for', async () => {
  const { stderr, stdout } = await start(['chek'], { FORCE_COLOR: '1' }).ended;
  expect(stderr + stdout).not.toContain('\u001b');
});

test('a reader that goes early is no failure', async () => {
  const { child, ended } = start(['--help']);
  child.stdout.destroy();
  expect(await ended).toMatchObject({ code: 0, stderr: '' });
});

test('check: one working and one failing model, both shown, exit code 1', async () => {
  await using gateway = await startFakeGateway(({ path, body }, response) => {
    if (path === '/v1/models') return json(response, 200, modelList('good', 'bad'));
    if (body?.['model'] === 'good') return json(response, 200, CHAT);
    return json(response, 429, { error: { message: 'slow down' } });
  });
  await writeFile(join(cwd, '.env'), `LITELLM_MASTER_KEY=${KEY}\n`);
  const { code, stdout, stderr } = await start(['check', '--url', gateway.url.href]).ended;
  expect(code).toBe(1);
  expect(stdout).toMatch(/│ good +│ ok +│/);
  expect(stdout).toMatch(/│ bad +│ 429 slow down +│/);
  expect(stderr).toContain('sidecar: bad: 429 slow down\n');
  expect(stdout + stderr).not.toContain(KEY);
});

test('check: Ctrl-C shows what is known and leaves with 130', async () => {
  let asked: () => void = () => undefined;
  const slow = new Promise<void>((resolve) => {
    asked = resolve;
  });
  await using gateway = await startFakeGateway(({ path }, response) => {
    if (path === '/v1/models') return json(response, 200, modelList('slow'));
    return asked();
  });
  const env = { LITELLM_MASTER_KEY: KEY };
  const { child, ended } = start(['check', '--url', gateway.url.href], env);
  await slow;
  child.kill('SIGINT');
  const { code, stdout } = await ended;
  expect(code).toBe(130);
  expect(stdout).toMatch(/│ slow +│ not finished +│/);
  expect(stdout).toMatch(/0 of 1 ok, 1 not finished\n$/);
});
