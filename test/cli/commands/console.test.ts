import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommandLine } from '../../../src/cli/program.ts';
import { digestOf } from '../../../src/keyring/key.ts';
import { createAdminApi } from '../../../src/servers/admin/api.ts';
import { createOpsServer } from '../../../src/servers/ops.ts';
import {
  CONFIG,
  fakeAdmin,
  fakeAudit,
  fakeLive,
  fakeUpstream,
  fakeUsage,
} from '../../servers/fake-admin.ts';
import { capturedTerminal } from '../captured-terminal.ts';

const TOKEN = 'a-token-of-these-tests-0123456789';
const NAME = 'SIDECAR_ADMIN_TOKEN';

let cwd = '';
const servers: ReturnType<typeof createOpsServer>[] = [];
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  rmSync(cwd, { recursive: true });
});

/** A sidecar that runs, with this token; resolves to its ops port. */
const start = async (token?: string): Promise<number> => {
  const api = createAdminApi({
    ...{ admin: fakeAdmin(), upstream: fakeUpstream(), audit: fakeAudit(), usage: fakeUsage() },
    ...{ live: fakeLive(), settings: () => CONFIG, onError: () => undefined },
  });
  const server = createOpsServer({
    metrics: () => Promise.resolve({ type: 'text/plain', body: 'up 1\n' }),
    isReady: () => ({ ready: true, waitingFor: [] }),
    ...(token !== undefined && { admin: { tokenDigest: digestOf(token), api } }),
  });
  servers.push(server);
  return (await server.listen('127.0.0.1', 0)).port;
};

const run = async (port: number, args: readonly string[] = [], typed?: string, env = {}) => {
  const { terminal, written } = capturedTerminal(
    { SIDECAR_OPS_HOST: '127.0.0.1', SIDECAR_OPS_PORT: String(port), ...env },
    cwd,
  );
  const input = Object.assign(new PassThrough(), { isTTY: typed !== undefined });
  if (typed !== undefined) input.write(typed);
  const never = () => new AbortController().signal;
  const code = await runCommandLine(
    { ...terminal, stdin: () => input },
    ['console', ...args],
    never,
  );
  return { code, ...written };
};

const dotenv = (): string => readFileSync(join(cwd, '.env'), 'utf8');

it('prints where it is, and where the token is that opens it', async () => {
  const port = await start(TOKEN);
  writeFileSync(join(cwd, '.env'), `${NAME}=${TOKEN}\n`);
  expect(await run(port)).toEqual({
    code: 0,
    stdout: `http://127.0.0.1:${port}/\n`,
    stderr: `sidecar: the console is open: enter the value of ${NAME}, from .env\n`,
  });
});

it.each(['y\n', 'Yes\n'])('puts a token into .env after asking (%j)', async (typed) => {
  const port = await start();
  writeFileSync(join(cwd, '.env'), '# mine\nSIDECAR_GRACE=1h\n');
  const { code, stdout, stderr } = await run(port, [], typed);
  expect([code, stdout]).toEqual([69, `http://127.0.0.1:${port}/\n`]);
  expect(dotenv()).toMatch(/^# mine\nSIDECAR_GRACE=1h\nSIDECAR_ADMIN_TOKEN=[0-9a-f]{48}\n$/);
  expect(stderr).toContain(`put a fresh ${NAME} into ${join(cwd, '.env')}? [y/N]`);
  expect(stderr).toContain('the sidecar that runs has no token yet');
  const token = /TOKEN=(\w+)/.exec(dotenv())?.[1] ?? '';
  expect(stderr + stdout).not.toContain(token);
  // After a restart it is open.
  const next = await start(token);
  expect((await run(next)).code).toBe(0);
  expect(dotenv().match(/TOKEN/g)).toHaveLength(1);
});

it('makes one without asking where it is told to, for its user alone', async () => {
  const port = await start();
  await run(port, ['--yes']);
  expect(statSync(join(cwd, '.env')).mode & 0o777).toBe(0o600);
  const first = dotenv();
  await run(port, ['--yes']);
  expect(dotenv()).toBe(first);
});

it.each([
  ['somebody who says no', 'n\n'],
  ['somebody who says nothing', '\n'],
  ['nobody', undefined],
])('changes nothing for %s', async (_, typed) => {
  const port = await start();
  writeFileSync(join(cwd, '.env'), 'SIDECAR_GRACE=1h\n');
  const { code, stdout, stderr } = await run(port, [], typed);
  expect([code, stdout, dotenv()]).toEqual([1, '', 'SIDECAR_GRACE=1h\n']);
  expect(stderr).toContain('hint: sidecar console --yes');
});

it('says what to do where .env cannot be written', async () => {
  const port = await start();
  const env = { SIDECAR_ENV_FILE: join(cwd, 'not there', '.env') };
  const { code, stderr } = await run(port, ['--yes'], undefined, env);
  expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining('not there')]);
  expect(code).not.toBe(0);
});

it.each([
  ['another token', 'another-token-0123456789', 'the sidecar that runs has another token'],
  ['none', undefined, 'the sidecar that runs has no token yet'],
])('says that a sidecar with %s must be started again', async (_, token, words) => {
  const port = await start(token);
  const { code, stdout, stderr } = await run(port, [], undefined, { [NAME]: TOKEN });
  expect([code, stdout]).toEqual([69, `http://127.0.0.1:${port}/\n`]);
  expect(stderr).toContain(words);
  expect(stderr).not.toContain(TOKEN);
});

it('says that nobody answers', async () => {
  const port = await start(TOKEN);
  await servers.pop()?.close();
  const { code, stderr } = await run(port, [], undefined, { [NAME]: TOKEN });
  expect([code, stderr]).toEqual([69, expect.stringContaining('nobody answers there yet')]);
});

it('cannot know a port that each start chooses', async () => {
  const { code, stderr } = await run(0, [], undefined, { [NAME]: TOKEN });
  expect([code, stderr]).toEqual([1, expect.stringContaining('the ready line of the log')]);
});
