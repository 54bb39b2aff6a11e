import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AdminError, type KeyAdmin } from '../../src/rotation/admin.ts';
import { createAdminApi } from '../../src/servers/admin-api.ts';
import { type AdminSocket, openAdminSocket } from '../../src/servers/admin-socket.ts';
import { fakeUpstream } from '../servers/fake-admin.ts';
import {
  changeView,
  client,
  DAY,
  HOUR,
  rotateView,
  runIn,
  statusView,
  whoView,
} from './fake-admin.ts';

/** The command line against the API and the socket as they are; only the keys are a stand-in. */
let cwd: string;
let socket: AdminSocket;
let calls: (readonly unknown[])[];
beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
  // A name that no socket can have by itself; where the system knows a way around that.
  if (process.platform === 'linux') cwd = join(cwd, 'a-folder-with-a-long-name'.repeat(4));
  mkdirSync(join(cwd, 'state'), { recursive: true });
  socket = await openAdminSocket({
    path: join(cwd, 'state', 'admin.sock'),
    onError: (error) => calls.push(['error', error]),
  });
  calls = [];
});
afterEach(async () => {
  await socket.close();
  rmSync(cwd, { recursive: true });
});

function serve(over: Partial<KeyAdmin> = {}): void {
  const noting =
    <T>(name: string, answer: T) =>
    (...args: readonly unknown[]): T => {
      calls.push([name, ...args]);
      return answer;
    };
  const admin: KeyAdmin = {
    status: noting('status', statusView()),
    clients: noting('clients', [client()]),
    client: noting('client', client()),
    who: noting('who', whoView()),
    rotate: noting('rotate', Promise.resolve(rotateView())),
    rollback: noting('rollback', Promise.resolve(changeView())),
    revoke: noting('revoke', Promise.resolve(changeView())),
    addClient: noting('addClient', Promise.resolve(rotateView())),
    disable: noting('disable', Promise.resolve(changeView())),
    enable: noting('enable', Promise.resolve(changeView())),
    remove: noting('remove', Promise.resolve(changeView())),
    ...over,
  };
  const audit = {
    read: () => Promise.resolve({ lines: [], count: 0 }),
    verify: () => Promise.resolve({ ok: true, count: 0 } as const),
  };
  socket.serve(
    createAdminApi({
      admin,
      upstream: fakeUpstream(),
      audit,
      onError: (error) => calls.push(['error', error]),
    }),
  );
}

const BY = expect.stringMatching(/^cli:./);
const KEY = expect.stringMatching(/^[\w-]{36}$/);

test.each([
  ['status', ['status']],
  ['clients list', ['clients']],
  ['who master-2', ['who', 'master-2']],
  [
    'rotate staging --grace 24h --force',
    [
      'rotate',
      {
        client: 'staging',
        graceMs: DAY,
        compromised: false,
        force: true,
        idempotencyKey: KEY,
      },
      BY,
    ],
  ],
  [
    'rotate',
    [
      'rotate',
      {
        client: 'master',
        graceMs: undefined,
        compromised: false,
        force: false,
        idempotencyKey: KEY,
      },
      BY,
    ],
  ],
  ['rollback', ['rollback', 'master', BY]],
  [
    'revoke master-2 --compromised',
    ['revoke', { generation: 'master-2', force: false, compromised: true }, BY],
  ],
  [
    'clients add ci --expires 12h --allow-from 10.0.0.0/8',
    [
      'addClient',
      {
        name: 'ci',
        scopes: ['inference'],
        allowFrom: ['10.0.0.0/8'],
        expiresInMs: 12 * HOUR,
        idempotencyKey: KEY,
      },
      BY,
    ],
  ],
  ['clients disable ci', ['disable', 'ci', BY]],
  ['clients enable ci', ['enable', 'ci', BY]],
  ['clients remove ci', ['remove', 'ci', false, BY]],
  ['clients remove ci --force', ['remove', 'ci', true, BY]],
] as const)('%s reaches the verb as it was meant', async (line, call) => {
  serve();
  const { code } = await runIn(cwd, line);
  expect(calls).toEqual([call]);
  expect(code).toBe(0);
});

test('a refusal arrives with its hints and its callers', async () => {
  const hints = ['wait until nobody uses it (sidecar who), or go on with --force'];
  const refuse = () =>
    Promise.reject(
      new AdminError('in_use', 'master-2 was used in the last hour', { hints, who: whoView() }),
    );
  serve({ revoke: refuse });
  const { code, stderr } = await runIn(cwd, 'revoke master-2');
  expect(code).toBe(1);
  await expect(stderr).toMatchFileSnapshot('transcripts/in-use.txt');
});

test.runIf(process.platform === 'linux')('a call leaves the state folder closed', async () => {
  serve();
  const state = join(cwd, 'state');
  const targetOf = (fd: string): string => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The one that lists them.
      return '';
    }
  };
  const open = () => readdirSync('/proc/self/fd').filter((fd) => targetOf(fd) === state);
  const before = open().length;
  for (let call = 0; call < 3; call++) await runIn(cwd, 'status');
  expect(open()).toHaveLength(before);
});

test('a sidecar that starts answers once it has started', async () => {
  const time = {
    now: () => 0,
    sleep: () => {
      serve();
      return Promise.resolve();
    },
  };
  const { code, stderr } = await runIn(cwd, 'status', { time });
  expect(code).toBe(0);
  expect(stderr).toContain('the sidecar is starting; waiting for it');
});
