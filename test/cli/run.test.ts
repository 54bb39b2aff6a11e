import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCommandLine } from '../../src/cli/run.ts';
import { isWellFormedKey } from '../../src/keyring/key-format.ts';
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

test.each([
  ['help', ['--help'], 0, 'stdout'],
  ['check-help', ['check', '--help'], 0, 'stdout'],
  ['key-show-help', ['key', 'show', '--help'], 0, 'stdout'],
  ['unknown-command', ['chek'], 2, 'stderr'],
  ['unknown-subcommand', ['key', 'shwo'], 2, 'stderr'],
  ['unknown-option', ['check', '--modle', 'x'], 2, 'stderr'],
  ['missing-argument', ['check', '--model'], 2, 'stderr'],
  ['excess-argument', ['key', 'new', 'now'], 2, 'stderr'],
  ['bad-timeout', ['check', '--timeout', '30'], 2, 'stderr'],
  ['long-timeout', ['check', '--timeout', '1h'], 2, 'stderr'],
  ['bad-url', ['check', '--url', 'localhost:4000'], 2, 'stderr'],
  ['url-with-password', ['check', '--url', 'http://a:b@c'], 2, 'stderr'],
] as const)('the transcript of %s', async (name, args, code, where) => {
  const result = await run(args);
  expect(result.code).toBe(code);
  expect(result[where === 'stdout' ? 'stderr' : 'stdout']).toBe('');
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

test('key show: a made key goes to stdout alone, its file to stderr', async () => {
  const path = file('state/keys/master', `${MADE}\n`);
  expect(await run(['key', 'show'])).toEqual({
    code: 0,
    stdout: `${MADE}\n`,
    stderr: `sidecar: the key that the sidecar made, from ${path}\n`,
  });
});

test('key show: SIDECAR_STATE says where it is', async () => {
  file('elsewhere/keys/master', MADE);
  const { stdout } = await run(['key', 'show'], { SIDECAR_STATE: './elsewhere' });
  expect(stdout).toBe(`${MADE}\n`);
});

test.each([
  [
    'the environment',
    { LITELLM_MASTER_KEY: DECLARED },
    '',
    'LITELLM_MASTER_KEY in the environment',
  ],
  ['.env', {}, `LITELLM_MASTER_KEY=${DECLARED}\n`, 'LITELLM_MASTER_KEY in <cwd>/.env'],
  [
    'a file',
    { LITELLM_MASTER_KEY_FILE: './the.key' },
    '',
    'the file <cwd>/the.key, which LITELLM_MASTER_KEY_FILE names',
  ],
] as const)(
  'key show: a key declared in %s is named, not shown',
  async (_where, env, text, words) => {
    file('state/keys/master', MADE);
    file('the.key', `${DECLARED}\n`);
    file('.env', text);
    const { code, stdout, stderr } = await run(['key', 'show'], env);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(words.replace('<cwd>', cwd));
    expect(stderr).not.toContain(DECLARED);
  },
);

test('key show: where none was made so far, it says who makes one', async () => {
  const { code, stdout, stderr } = await run(['key', 'show']);
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^sidecar: no key is declared, and none was made so far/);
  expect(stderr).toContain('docker compose');
});

test('key show: an empty key file is no key', async () => {
  const path = file('state/keys/master', '\n');
  const { code, stderr } = await run(['key', 'show']);
  expect(code).toBe(1);
  expect(stderr).toContain(`the key file ${path} is empty`);
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
