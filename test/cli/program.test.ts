import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCommandLine } from '../../src/cli/program.ts';
import { isWellFormedKey } from '../../src/keyring/key.ts';
import { capturedTerminal } from './captured-terminal.ts';
import { CHAT, json, modelList, startFakeGateway } from './fake-gateway.ts';

const MADE = 'sk-the-key-that-the-sidecar-made-at-first';
const DECLARED = 'sk-the-key-that-the-operator-declared-here';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

async function run(args: readonly string[], env: Record<string, string> = {}) {
  const { terminal, written } = capturedTerminal(env, cwd);
  const never = () => new AbortController().signal;
  const code = await runCommandLine(terminal, args, never);
  return { code, ...written };
}

const file = (name: string, text: string): string => {
  const path = join(cwd, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
};

const SET = ['clients', 'set', 'ci'] as const;

test.each([
  ['help', ['--help'], 0, 'stdout'],
  ['check-help', ['check', '--help'], 0, 'stdout'],
  ['key-show-help', ['key', 'show', '--help'], 0, 'stdout'],
  ['key-digest-help', ['key', 'digest', '--help'], 0, 'stdout'],
  ['unknown-command', ['chek'], 2, 'stderr'],
  ['unknown-subcommand', ['key', 'shwo'], 2, 'stderr'],
  ['unknown-option', ['check', '--modle', 'x'], 2, 'stderr'],
  ['missing-argument', ['check', '--model'], 2, 'stderr'],
  ['excess-argument', ['key', 'new', 'now'], 2, 'stderr'],
  ['bad-timeout', ['check', '--timeout', '30'], 2, 'stderr'],
  ['long-timeout', ['check', '--timeout', '1h'], 2, 'stderr'],
  ['bad-url', ['check', '--url', 'localhost:4000'], 2, 'stderr'],
  ['status-help', ['status', '--help'], 0, 'stdout'],
  ['rotate-help', ['rotate', '--help'], 0, 'stdout'],
  ['rollback-help', ['rollback', '--help'], 0, 'stdout'],
  ['revoke-help', ['revoke', '--help'], 0, 'stdout'],
  ['who-help', ['who', '--help'], 0, 'stdout'],
  ['clients-help', ['clients', '--help'], 0, 'stdout'],
  ['clients-add-help', ['clients', 'add', '--help'], 0, 'stdout'],
  ['clients-set-help', ['clients', 'set', '--help'], 0, 'stdout'],
  ['clients-show-help', ['clients', 'show', '--help'], 0, 'stdout'],
  ['nothing-to-set', ['clients', 'set', 'ci'], 2, 'stderr'],
  ['no-requests', ['clients', 'set', 'ci', '--rpm', '0'], 2, 'stderr'],
  ['negative-limit', ['clients', 'add', 'ci', '--parallel=-4'], 2, 'stderr'],
  ['half-a-request', ['clients', 'add', 'ci', '--rpm', '0.5'], 2, 'stderr'],
  ['sign-of-dollars', ['clients', 'add', 'ci', '--usd-per-day', '5$'], 2, 'stderr'],
  ['tokens-in-words', ['clients', 'add', 'ci', '--tokens-per-day', 'NaN'], 2, 'stderr'],
  ['bad-limit-mode', ['clients', 'set', 'ci', '--limit-mode', 'recrd'], 2, 'stderr'],
  ['regular-expression', ['clients', 'set', 'ci', '--model', '^gpt-[45]'], 2, 'stderr'],
  ['models-with-commas', ['clients', 'set', 'ci', '--model', 'mock,gpt-4o'], 2, 'stderr'],
  ['key-in-place-of-model', ['clients', 'set', 'ci', '--model', MADE], 2, 'stderr'],
  ['all-and-a-model', ['clients', 'set', 'ci', '--model', 'all', '--model', 'a'], 2, 'stderr'],
  [
    'anywhere-and-a-block',
    [...SET, '--allow-from', '::1', '--allow-from', 'anywhere'],
    2,
    'stderr',
  ],
  ['clients-check-help', ['clients', 'check', '--help'], 0, 'stdout'],
  ['clients-export-help', ['clients', 'export', '--help'], 0, 'stdout'],
  ['clients-disable-help', ['clients', 'disable', '--help'], 0, 'stdout'],
  ['clients-remove-help', ['clients', 'remove', '--help'], 0, 'stdout'],
  ['usage-help', ['usage', '--help'], 0, 'stdout'],
  ['usage-export-help', ['usage', 'export', '--help'], 0, 'stdout'],
  ['audit-help', ['audit', '--help'], 0, 'stdout'],
  ['audit-verify-help', ['audit', 'verify', '--help'], 0, 'stdout'],
  ['upstream-help', ['upstream', '--help'], 0, 'stdout'],
  ['upstream-alone', ['upstream'], 2, 'stderr'],
  ['upstream-status-help', ['upstream', 'status', '--help'], 0, 'stdout'],
  ['upstream-rotate-help', ['upstream', 'rotate', '--help'], 0, 'stdout'],
  ['upstream-reload-help', ['upstream', 'reload', '--help'], 0, 'stdout'],
  ['upstream-history-help', ['upstream', 'history', '--help'], 0, 'stdout'],
  ['upstream-salt-key-help', ['upstream', 'salt-key', '--help'], 0, 'stdout'],
  ['unknown-upstream-command', ['upstream', 'relod'], 2, 'stderr'],
  ['dry-run-of-rotate', ['upstream', 'rotate', '--dry-run'], 2, 'stderr'],
  ['dry-run-misspelled', ['upstream', 'reload', '--dryrun'], 2, 'stderr'],
  ['client-of-upstream-rotate', ['upstream', 'rotate', 'staging'], 2, 'stderr'],
  ['grace-without-unit', ['rotate', '--grace', '5'], 2, 'stderr'],
  ['grace-of-a-thousand-years', ['rotate', '--grace', '365000d'], 2, 'stderr'],
  ['grace-of-words', ['rotate', '--grace', 'tomorrow'], 2, 'stderr'],
  ['client-in-capitals', ['rotate', 'Master'], 2, 'stderr'],
  ['client-with-slash', ['key', 'show', '../upstream/a.key'], 2, 'stderr'],
  ['key-in-place-of-client', ['rotate', MADE], 2, 'stderr'],
  ['key-in-place-of-generation', ['revoke', MADE], 2, 'stderr'],
  ['client-in-place-of-generation', ['who', 'master'], 2, 'stderr'],
  ['no-generation', ['revoke'], 2, 'stderr'],
  ['bad-generation', ['who', 'master-0'], 2, 'stderr'],
  ['bad-scope', ['clients', 'add', 'ci', '--scope', 'inferense'], 2, 'stderr'],
  ['bad-expiry', ['clients', 'add', 'ci', '--expires', '90'], 2, 'stderr'],
  ['expired-at-birth', ['clients', 'add', 'ci', '--expires', '0d'], 2, 'stderr'],
  ['bad-block', ['clients', 'add', 'ci', '--allow-from', '10.0.0.1/8'], 2, 'stderr'],
  ['empty-block', ['clients', 'add', 'ci', '--allow-from', ','], 2, 'stderr'],
  ['bad-limit', ['audit', '--limit', '1001'], 2, 'stderr'],
  ['unknown-clients-command', ['clients', 'ad'], 2, 'stderr'],
  ['url-with-password', ['check', '--url', 'http://a:b@c'], 2, 'stderr'],
] as const)('the transcript of %s', async (name, args, code, where) => {
  const result = await run(args);
  expect(result.code).toBe(code);
  expect(result[where === 'stdout' ? 'stderr' : 'stdout']).toBe('');
  expect(result[where]).not.toContain(MADE);
  await expect(result[where]).toMatchFileSnapshot(`transcripts/${name}.txt`);
});

test('without a command the help goes to stderr, and the code is 2', async () => {
  const { code, stdout, stderr } = await run([]);
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain('Usage: sidecar');
});

test('--version prints the version alone', async () => {
  expect(await run(['--version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    stderr: '',
  });
});

test('key new prints a fresh key and nothing else', async () => {
  const [one, two] = [await run(['key', 'new']), await run(['key', 'new'])];
  expect(one).toMatchObject({ code: 0, stderr: '' });
  expect(isWellFormedKey(one.stdout.replace(/\n$/, ''))).toBe(true);
  expect(one.stdout).not.toBe(two.stdout);
});

test.each([['config'], ['check']])(
  '%s tells every mistake of the settings at once',
  async (name) => {
    const env = { SIDECAR_PROT: '1', SIDECAR_HOLD: '30', SIDECAR_UPSTREAM: 'http://litellm:4000' };
    const { code, stdout, stderr } = await run([name], env);
    expect([code, stdout]).toEqual([64, '']);
    expect(stderr).toMatch(/^sidecar: the configuration has 2 mistakes$/m);
    expect(stderr).toContain('did you mean SIDECAR_PORT?');
    expect(stderr).toContain('did you mean 30s?');
  },
);

test('config shows what is in force, in text and in json', async () => {
  const env = { SIDECAR_UPSTREAM: 'http://litellm:4000', LITELLM_MASTER_KEY: DECLARED };
  const text = await run(['config'], env);
  expect(text).toMatchObject({ code: 0, stderr: '' });
  expect(text.stdout).toMatch(/^SIDECAR_UPSTREAM +http:\/\/litellm:4000\S* +environment$/m);
  expect(text.stdout).not.toContain(DECLARED);
  const document = JSON.parse((await run(['config', '--json'], env)).stdout) as object;
  expect(document).toMatchObject({ SIDECAR_PORT: { value: '4000', origin: 'default' } });
});

test('check takes the gateway and the key from the settings, none of LiteLLM’s needed', async () => {
  await using gateway = await startFakeGateway(({ path }, response) =>
    json(response, 200, path === '/v1/models' ? modelList('m') : CHAT),
  );
  file('state/keys/master', MADE);
  const { code, stdout } = await run(['check', '--json'], { SIDECAR_PORT: gateway.url.port });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ passed: true, url: gateway.url.href });
  expect(gateway.received[0]?.headers.authorization).toBe(`Bearer ${MADE}`);
});

test.each([
  ['the newest key, though another is declared', true, MADE],
  ['the declared key, where no sidecar has run', false, DECLARED],
])('check presents %s', async (_name, hasRun, expected) => {
  await using gateway = await startFakeGateway(({ path }, response) =>
    json(response, 200, path === '/v1/models' ? modelList('m') : CHAT),
  );
  if (hasRun) file('state/keys/master', MADE);
  const env = { SIDECAR_PORT: gateway.url.port, LITELLM_MASTER_KEY: DECLARED };
  expect((await run(['check'], env)).code).toBe(0);
  expect(gateway.received[0]?.headers.authorization).toBe(`Bearer ${expected}`);
});

test('check --key-file and --url rule over the settings, a path in the url is kept', async () => {
  await using gateway = await startFakeGateway(({ path }, response) =>
    json(response, 200, path === '/llm/v1/models' ? modelList('m') : CHAT),
  );
  file('ci.key', `${DECLARED}\n`);
  const url = `${gateway.url.href}llm/`;
  // A mistake in settings that are not asked for is nobody's business here.
  const env = { LITELLM_MASTER_KEY: 'x', SIDECAR_PROT: '1' };
  const { code } = await run(['check', '--url', url, '--key-file', 'ci.key'], env);
  expect(code).toBe(0);
  expect(gateway.received.map(({ path }) => path)).toEqual([
    '/llm/v1/models',
    '/llm/v1/chat/completions',
  ]);
  expect(gateway.received[1]?.headers.authorization).toBe(`Bearer ${DECLARED}`);
});

test('check: a key file that is not there', async () => {
  const { code, stderr } = await run(['check', '--url', 'http://h', '--key-file', 'none']);
  expect(code).toBe(1);
  expect(stderr).toContain(`there is no key file ${join(cwd, 'none')}`);
});

test('check: a key in the place of its file is not repeated', async () => {
  const args = ['check', '--url', 'http://h', '--key-file', DECLARED];
  const { code, stdout, stderr } = await run(args);
  expect(code).toBe(1);
  expect(stdout + stderr).not.toContain(DECLARED);
  expect(stderr).toContain('not the key');
});

test('check: a port that nobody knows wants --url', async () => {
  const env = { SIDECAR_PORT: '0', LITELLM_MASTER_KEY: DECLARED };
  const { code, stderr } = await run(['check'], env);
  expect(code).toBe(1);
  expect(stderr).toContain('give it with --url');
});
