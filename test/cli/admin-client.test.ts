import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createAdminClient } from '../../src/cli/admin-client.ts';
import { explainUnanswered } from '../../src/cli/admin-door.ts';
import {
  changeView,
  client,
  fakeTime,
  problem,
  type Reply,
  rotateView,
  runAgainst,
  runIn,
  startFakeAdmin,
  whoView,
} from './fake-admin.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const COMMANDS = [
  'status',
  'rotate',
  'rotate --wait',
  'rollback',
  'revoke master-1',
  'who master-1',
  'clients list',
  'clients add ci',
  'clients disable ci',
  'clients enable ci',
  'clients remove ci',
  'upstream status',
  'upstream rotate',
  'upstream reload --dry-run --wait',
  'upstream history',
  'upstream salt-key',
] as const;

test.each(COMMANDS)('%s: without a server it says so, and how to start one', async (line) => {
  const { code, stdout, stderr } = await runIn(cwd, line);
  expect([code, stdout]).toEqual([69, '']);
  expect(stderr).toContain(`sidecar: no sidecar runs with the state folder ${cwd}/state\n`);
  expect(stderr).toContain('hint: start one: docker compose up -d, or npm start\n');
  expect(stderr).toContain('docker compose exec sidecar sidecar …\n');
});

test.each(COMMANDS)('%s: mistakes in the settings are told first', async (line) => {
  const { code, stderr } = await runIn(cwd, line, { env: { SIDECAR_STAET: './x' } });
  expect(code).toBe(64);
  expect(stderr).toContain('did you mean SIDECAR_STATE?');
});

test('a socket that nobody listens on any more is no server', async () => {
  mkdirSync(join(cwd, 'state'));
  writeFileSync(join(cwd, 'state', 'admin.sock'), '');
  expect((await runIn(cwd, 'status')).code).toBe(69);
});

test('SIDECAR_STATE says where the socket is, in a folder with a long name too', async () => {
  await using admin = await startFakeAdmin(() => [200, whoView()]);
  const env = { SIDECAR_STATE: admin.state };
  expect((await runIn(cwd, 'who master-2', { env })).code).toBe(0);
  expect(admin.asked).toHaveLength(1);
});

test('who may not connect is told who may', () => {
  const error = Object.assign(new Error(), { code: 'EACCES' });
  const { exitCode, message, hints } = explainUnanswered(error, cwd, join(cwd, 'admin.sock'));
  const uid = process.getuid?.();
  expect(exitCode).toBe(1);
  expect(message).toContain(`only its user (uid ${uid}) may ask the sidecar, and this is `);
  expect(message).toContain(`(uid ${uid}): ${cwd}/admin.sock`);
  expect(hints).toContain(`sudo -u '#${uid}' sidecar …`);
});

test.skipIf(process.getuid?.() === 0)('a folder of another user', async () => {
  await using admin = await startFakeAdmin(() => [200, whoView()]);
  chmodSync(admin.state, 0o000);
  const { code, stderr } = await runIn(admin.cwd, 'who master-2');
  chmodSync(admin.state, 0o700);
  expect(code).toBe(1);
  expect(stderr).toContain('may ask the sidecar');
});

const cut: Reply = (response) => response.destroy();

test.each([
  ['rotate', rotateView()],
  ['clients add ci', rotateView()],
])('%s: where the connection broke, it asks once more with the same key', async (line, view) => {
  const { code, asked } = await runAgainst((_, nth) => (nth === 1 ? cut : [200, view]), line);
  expect(code).toBe(0);
  const keys = asked.map(({ headers }) => headers['idempotency-key']);
  expect(keys).toHaveLength(2);
  expect(keys[1]).toBe(keys[0]);
  expect(asked[1]?.body).toEqual(asked[0]?.body);
});

test('an answer that is cut in its middle is none', async () => {
  const half: Reply = (response) => {
    response.writeHead(200, { 'content-length': 1000 }).write('{"client":');
    setTimeout(() => response.destroy(), 10);
  };
  const { code, asked } = await runAgainst(
    (_, nth) => (nth === 1 ? half : [200, rotateView()]),
    'rotate',
  );
  expect([code, asked.length]).toEqual([0, 2]);
});

test('it asks once more, and not again', async () => {
  const { code, stderr, asked } = await runAgainst(() => cut, 'rotate');
  expect([code, asked.length]).toEqual([69, 2]);
  expect(stderr).toContain('the connection ended before the sidecar answered');
  expect(stderr).toContain('hint: sidecar status shows whether it was done');
});

test.each([
  ...['revoke master-1', 'clients disable ci', 'clients remove ci'],
  ...['upstream rotate', 'upstream reload'],
])('%s is not sent twice: done twice it would be another thing', async (line) => {
  const { code, asked } = await runAgainst(() => cut, line);
  expect([code, asked.length]).toEqual([69, 1]);
});

test('a rollback is not sent twice, which asks first from which key', async () => {
  const { code, asked } = await runAgainst(
    ({ what }) => (what.startsWith('GET ') ? [200, client()] : cut),
    'rollback',
  );
  expect(code).toBe(69);
  expect(asked.map(({ what }) => what.split(' ')[0])).toEqual(['GET', 'POST']);
});

test('a question is asked again', async () => {
  const { code, asked } = await runAgainst(
    (_, nth) => (nth === 1 ? cut : [200, whoView()]),
    'who master-2',
  );
  expect([code, asked.length]).toEqual([0, 2]);
});

const STARTING = problem(503, 'starting', 'the sidecar is starting');

test('a sidecar that starts is waited for', async () => {
  const { time, slept } = fakeTime();
  const { code, stderr, asked } = await runAgainst(
    (_, nth) => (nth < 6 ? STARTING : [200, changeView()]),
    'clients disable master',
    { time },
  );
  expect([code, asked.length]).toEqual([0, 6]);
  expect(slept).toEqual([250, 250, 250, 250, 250]);
  expect(stderr).toBe('sidecar: the sidecar is starting; waiting for it, 10 s at most\n');
});

test('it is waited for 10 s', async () => {
  const { time, slept } = fakeTime();
  const { code, stderr } = await runAgainst(() => STARTING, 'status', { time });
  expect(code).toBe(69);
  expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(10_000);
  expect(stderr).toMatch(/sidecar: the sidecar is starting\n$/);
});

test('a rotation that had to wait has the same Idempotency-Key', async () => {
  const { asked } = await runAgainst(
    (_, nth) => (nth === 1 ? STARTING : [200, rotateView()]),
    'rotate',
  );
  expect(asked[1]?.headers['idempotency-key']).toBe(asked[0]?.headers['idempotency-key']);
});

test.each([
  ['html', '<html>'],
  ['a bare word of json', '"ok"'],
])('what answers with %s is no sidecar', async (_name, text) => {
  const { code, stderr } = await runAgainst(() => (response) => response.end(text), 'status');
  expect(code).toBe(1);
  expect(stderr).toContain('what listens there is no sidecar');
});

test('what does not speak HTTP is no sidecar', async () => {
  mkdirSync(join(cwd, 'state'));
  const server = createServer((socket) => socket.end('220 mail ready\r\n'));
  server.listen(join(cwd, 'state', 'admin.sock'));
  await once(server, 'listening');
  const { code } = await runIn(cwd, 'status');
  server.close();
  expect(code).toBe(69);
});

test('a sidecar that does not answer in time', async () => {
  const silent: Reply = () => undefined;
  await using admin = await startFakeAdmin(() => silent);
  const api = createAdminClient({
    door: { kind: 'folder', state: admin.state },
    actor: 'alice',
    time: fakeTime().time,
    onStarting: () => undefined,
    timeoutMs: 50,
  });
  await expect(api('POST /api/clients/{name}/rotate', { name: 'master', body: { grace: '0' } }))
    .rejects //
    .toMatchObject({
      exitCode: 69,
      message: 'the sidecar does not answer: no answer within 0.05 s',
    });
  expect(admin.asked).toHaveLength(1);
});

test('a user with a name that no header can carry', async () => {
  await using admin = await startFakeAdmin(() => [200, whoView()]);
  const api = createAdminClient({
    door: { kind: 'folder', state: admin.state },
    actor: 'jürgen k\n',
    time: fakeTime().time,
    onStarting: () => undefined,
  });
  await api('GET /api/generations/{id}/who', { id: 'master-2' });
  expect(admin.asked[0]?.headers['x-sidecar-actor']).toBe('j?rgen?k?');
});
