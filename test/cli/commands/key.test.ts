import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runIn } from '../fake-admin.ts';

const MADE = 'sk-the-key-that-the-sidecar-made-at-first';
const DECLARED = 'sk-the-key-that-the-operator-declared-here';
const OTHER = 'sk-the-key-of-another-client-of-this-one';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const run = (line: string, env: Readonly<Record<string, string>> = {}) => runIn(cwd, line, { env });

const file = (name: string, text: string): string => {
  const path = join(cwd, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
};

test('key show: the newest key goes to stdout alone, its file to stderr', async () => {
  const path = file('state/keys/master', `${MADE}\n`);
  expect(await run('key show')).toEqual({
    code: 0,
    stdout: `${MADE}\n`,
    stderr: `sidecar: the newest key of master, from ${path}\n`,
  });
});

test('key show: SIDECAR_STATE says where it is', async () => {
  file('elsewhere/keys/master', MADE);
  const { stdout } = await run('key show', { SIDECAR_STATE: './elsewhere' });
  expect(stdout).toBe(`${MADE}\n`);
});

test('key show: another client has a key of its own', async () => {
  file('state/keys/master', MADE);
  const path = file('state/keys/staging', `${OTHER}\n`);
  expect(await run('key show staging')).toEqual({
    code: 0,
    stdout: `${OTHER}\n`,
    stderr: `sidecar: the newest key of staging, from ${path}\n`,
  });
});

test('key show: an unknown client, with the near name', async () => {
  file('state/keys/staging', OTHER);
  const near = await run('key show stagign');
  expect(near).toMatchObject({ code: 2, stdout: '' });
  expect(near.stderr).toContain('there is no key of a client stagign');
  expect(near.stderr).toContain('hint: did you mean staging?');
  file('state/keys/.nobody', OTHER);
  const far = await run('key show nobody');
  expect(far.code).toBe(2);
  expect(far.stderr).toContain('hint: `sidecar clients list` names them');
});

test('key show: where a sidecar has run, its file rules over a declared value', async () => {
  file('state/keys/master', MADE);
  const { code, stdout } = await run('key show', { LITELLM_MASTER_KEY: DECLARED });
  expect([code, stdout]).toEqual([0, `${MADE}\n`]);
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
  'key show: before a first start, a key declared in %s is named, not shown',
  async (_where, env, text, words) => {
    file('the.key', `${DECLARED}\n`);
    file('.env', text);
    const { code, stdout, stderr } = await run('key show', env);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(words.replace('<cwd>', cwd));
    expect(stderr).not.toContain(DECLARED);
  },
);

test('key show: where none was made so far, it says who makes one', async () => {
  const { code, stdout, stderr } = await run('key show');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^sidecar: no key is declared, and none was made so far/);
  expect(stderr).toContain('docker compose');
});

test('key show: an empty key file is no key', async () => {
  const path = file('state/keys/master', '\n');
  const { code, stderr } = await run('key show');
  expect(code).toBe(1);
  expect(stderr).toContain(`the key file ${path} is empty`);
});

test('key show: after a rollback it says why there is none', async () => {
  file('state/keyring.json', '{}');
  const { code, stdout, stderr } = await run('key show');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toContain(
    `the sidecar does not keep the key of master (${cwd}/state/keys/master)`,
  );
  expect(stderr).toContain('`sidecar rotate` makes a new one');
});

/** What a program writes; on a terminal, what a person types. */
function stdin(pieces: readonly string[], isTTY = false) {
  const modes: boolean[] = [];
  const input = Object.assign(Readable.from(pieces), {
    isTTY,
    setRawMode: (raw: boolean) => modes.push(raw),
  });
  return { modes, stdin: () => input };
}

const DIGEST = createHash('sha256').update(DECLARED).digest('hex');

test.each([
  [[DECLARED]],
  [[`${DECLARED}\n`]],
  [[' ', DECLARED.slice(0, 9), DECLARED.slice(9), '\r\n']],
])('key digest: of what stands on stdin: %j', async (pieces) => {
  const result = await runIn(cwd, 'key digest', stdin(pieces));
  expect(result).toEqual({ code: 0, stdout: `sha256:${DIGEST}\n`, stderr: '' });
});

test.each([
  ['', /^sidecar: there is no key on stdin\n$/],
  ['sk-1234', /cannot guard the gateway: it is a value that everybody knows/],
  [`"${DECLARED}"`, /it begins or ends with a quote/],
  [`${DECLARED}\n${OTHER}\n`, /one key is one word/],
  ['ab'.repeat(500_000), /it repeats one or two characters/],
])('key digest: refuses %.20j, and does not repeat it', async (text, words) => {
  const { code, stdout, stderr } = await runIn(cwd, 'key digest', stdin([text]));
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(words);
  expect(stderr).not.toContain(DECLARED);
});

test('key digest: on a terminal it asks, and shows nothing of what is typed', async () => {
  const typed = stdin([...`oops\u007f\u007f\u007f\u007f${DECLARED}`, '\r', 'more'], true);
  const result = await runIn(cwd, 'key digest', typed);
  expect(result).toEqual({ code: 0, stdout: `sha256:${DIGEST}\n`, stderr: 'key: \n' });
  expect(typed.modes).toEqual([true, false]);
});

test('key digest: Ctrl-C ends it, and the terminal is as it was', async () => {
  const typed = stdin(['sk-', '\u0003'], true);
  const result = await runIn(cwd, 'key digest', typed);
  expect(result).toEqual({ code: 130, stdout: '', stderr: 'key: \nsidecar: nothing was read\n' });
  expect(typed.modes).toEqual([true, false]);
});

test('key digest: takes no key from the command line', async () => {
  const { code, stdout, stderr } = await run(`key digest ${DECLARED}`);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).not.toContain(DECLARED);
});
