import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HandoverError, type UpstreamAdmin } from '../../src/handover/contracts.ts';
import { AdminError, type KeyAdmin } from '../../src/rotation/admin.ts';
import { createAdminApi } from '../../src/servers/admin/api.ts';
import { type AdminSocket, openAdminSocket } from '../../src/servers/admin/socket.ts';
import { CONFIG, fakeLive, fakeUsage } from '../servers/fake-admin.ts';
import {
  changeView,
  client,
  DAY,
  fakeTime,
  HOUR,
  NOW,
  rotateView,
  runIn,
  SECOND,
  statusView,
  whoView,
} from './fake-admin.ts';
import { EVIL, rolledBack, STEPS, scriptedUpstream, upstreamView } from './upstream-views.ts';

/** The command line against the API and the socket as they are; only the keys are a stand-in. */
let cwd: string;
let socket: AdminSocket;
let calls: (readonly unknown[])[];
beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
  // A name that no socket can have by itself; where the system knows a way around that.
  if (process.platform === 'linux') cwd = join(cwd, 'a-folder-with-a-long-name'.repeat(4));
  mkdirSync(join(cwd, 'state'), { recursive: true });
  calls = [];
  socket = await open();
});
afterEach(async () => {
  await socket.close();
  rmSync(cwd, { recursive: true });
});

const open = (): Promise<AdminSocket> =>
  openAdminSocket({
    path: join(cwd, 'state', 'admin.sock'),
    onError: (error) => calls.push(['error', error]),
  });

function serve(over: Partial<KeyAdmin> = {}, upstreamOver: Partial<UpstreamAdmin> = {}): void {
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
    clientsFile: noting('clientsFile', { clients: [], leftOut: [] }),
    who: noting('who', whoView()),
    comebacks: noting('comebacks', []),
    rotate: noting('rotate', Promise.resolve(rotateView())),
    rollback: noting('rollback', Promise.resolve(changeView())),
    revoke: noting('revoke', Promise.resolve(changeView())),
    addClient: noting('addClient', Promise.resolve(rotateView())),
    setClient: noting('setClient', Promise.resolve(changeView())),
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
      upstream: { ...scriptedUpstream(STEPS, calls), ...upstreamOver },
      audit,
      usage: fakeUsage(),
      live: fakeLive(),
      settings: () => CONFIG,
      onError: (error) => calls.push(['error', error]),
    }),
  );
}

const BY = expect.stringMatching(/^cli:./);
const KEY = expect.stringMatching(/^[\w-]{36}$/);

test.each([
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
  [
    'revoke master-2 --compromised',
    ['revoke', { generation: 'master-2', force: false, compromised: true }, BY],
  ],
  [
    'clients add ci --expires 12h --allow-from 10.0.0.0/8 --names-end-users',
    [
      'addClient',
      {
        name: 'ci',
        scopes: ['inference'],
        allowFrom: ['10.0.0.0/8'],
        expiresInMs: 12 * HOUR,
        namesEndUsers: true,
        limits: {},
        models: [],
        idempotencyKey: KEY,
      },
      BY,
    ],
  ],
  [
    'clients set ci --rpm 1.5k --usd-per-day none --expires never',
    [
      'setClient',
      { name: 'ci', limits: { rpm: 1500, usdPerDay: undefined }, expiresInMs: undefined },
      BY,
    ],
  ],
  ['clients show ci', ['client', 'ci']],
  ['clients disable ci', ['disable', 'ci', BY]],
  ['clients enable ci', ['enable', 'ci', BY]],
  ['clients remove ci', ['remove', 'ci', false, BY]],
  ['clients remove ci --force', ['remove', 'ci', true, BY]],
  ['upstream status', ['upstream.status']],
  ['upstream history', ['upstream.history']],
  ['upstream salt-key', ['upstream.saltKey', BY]],
] as const)('%s reaches the verb as it was meant', async (line, call) => {
  serve();
  const { code } = await runIn(cwd, line);
  expect(calls).toEqual([call]);
  expect(code).toBe(0);
});

const LOOK = ['upstream.handover', 'handover-12'] as const;

test.each([
  ['upstream rotate', [['upstream.rotate', BY], LOOK, LOOK, LOOK]],
  ['upstream rotate --wait', [['upstream.rotate', BY], LOOK, LOOK, LOOK, LOOK, LOOK]],
  ['upstream reload', [['upstream.reload', { dryRun: false }, BY], LOOK, LOOK, LOOK]],
  ['upstream reload --dry-run', [['upstream.reload', { dryRun: true }, BY], LOOK, LOOK, LOOK]],
  ['status', [['status'], ['upstream.status']]],
  [
    'rollback',
    [
      ['client', 'master'],
      ['rollback', 'master', 'master-3', BY],
    ],
  ],
] as const)(
  '%s asks as it was meant, and looks until it has what it waits for',
  async (line, made) => {
    serve();
    const { code } = await runIn(cwd, line);
    expect(calls).toEqual(made);
    expect(code).toBe(0);
  },
);

test('a second handover is refused with the one that is under way', async () => {
  const refused = new HandoverError('handover_under_way', 'another handover waits already', {
    ...(STEPS[1] && { handover: STEPS[1] }),
  });
  serve({}, { rotate: () => Promise.reject(refused) });
  const { time } = fakeTime(NOW + 12 * SECOND);
  const { code, stderr } = await runIn(cwd, 'upstream rotate', { time });
  expect(code).toBe(1);
  await expect(stderr).toMatchFileSnapshot('transcripts/handover-under-way.txt');
});

test('a roll-back arrives whole, and without what a terminal would obey', async () => {
  const view = rolledBack({ id: 'handover-12', waitsFor: EVIL, by: EVIL });
  serve({}, { handover: () => view });
  const { code, stdout, stderr } = await runIn(cwd, 'upstream reload --json');
  expect([code, JSON.parse(stdout)]).toEqual([1, view]);
  expect(stderr).toContain('  Traceback (most recent call last):\n');
  expect(stdout + stderr).not.toContain('\u001b');
});

test('a sidecar that restarts in the middle is asked for the same handover', async () => {
  serve();
  let sleeps = 0;
  const time = {
    now: () => NOW,
    async sleep() {
      sleeps += 1;
      // Away for a while, then there and starting, then there.
      if (sleeps === 2) await socket.close();
      if (sleeps === 9) socket = await open();
      if (sleeps === 12) serve();
    },
  };
  const { code, stdout, stderr } = await runIn(cwd, 'upstream rotate --wait', { time });
  expect(code).toBe(0);
  expect(stdout).toContain('the one in slot a has ended\n');
  expect(stderr).toContain('still watching\n');
  expect(stderr).toContain('the sidecar is starting; waiting for it');
  expect(calls.filter(([verb]) => verb === 'upstream.rotate')).toHaveLength(1);
});

test('what is shown of LiteLLM is what it answers', async () => {
  serve();
  const { stdout } = await runIn(cwd, 'upstream status --json');
  expect(JSON.parse(stdout)).toEqual(upstreamView());
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

test.each(['status', 'revoke master-2 --compromised', 'clients list --json', 'who master-2'])(
  '%s asks the sidecar, whatever is wrong in .env, and says that',
  async (line) => {
    serve();
    writeFileSync(join(cwd, '.env'), 'SIDECAR_GRACE=soon\nSIDECAR_PROT=1\nLITELLM_MASTER_KEY="x\n');
    const { code, stdout, stderr } = await runIn(cwd, line);
    expect([code, stdout === '']).toEqual([0, false]);
    expect(stderr).toContain(
      'no sidecar would start with them: LITELLM_MASTER_KEY, SIDECAR_GRACE, SIDECAR_PROT',
    );
    expect(calls).not.toEqual([]);
  },
);

test('a folder that cannot be read out of the settings is a mistake as before', async () => {
  serve();
  writeFileSync(join(cwd, '.env'), 'SIDECAR_STATE="./state\n');
  const { code, stderr } = await runIn(cwd, 'status');
  expect(code).toBe(64);
  expect(stderr).toContain('SIDECAR_STATE');
  expect(calls).toEqual([]);
});

test('config shows what is in force, and what a restart would take', async () => {
  serve();
  const { code, stdout, stderr } = await runIn(cwd, 'config');
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/SIDECAR_GRACE +24h +\.env\n +restart: 48h +\.env\n/);
  expect(stdout).toContain('restart to take: SIDECAR_GRACE\n');
  const json = await runIn(cwd, 'config --json');
  expect(JSON.parse(json.stdout)).toEqual({
    SIDECAR_GRACE: {
      ...{ value: '24h', origin: '.env' },
      restart: { value: '48h', set: true, origin: '.env' },
    },
  });
});

test.each([
  ['rotate --as alice@example.com', {}, 'cli:alice@example.com'],
  ['--as bob rotate', { SUDO_USER: 'alice' }, 'cli:bob'],
  ['rotate', { SUDO_USER: 'alice' }, process.getuid?.() === 0 ? 'cli:alice' : BY],
  ['rotate', { SUDO_USER: 'jürgen' }, process.getuid?.() === 0 ? 'cli:j?rgen' : BY],
])('%s, with %j, is the word of a person in the audit', async (line, env, by) => {
  serve();
  expect((await runIn(cwd, line, { env })).code).toBe(0);
  expect(calls[0]?.at(-1)).toEqual(by);
});

test('a key is no person', async () => {
  serve();
  const { code, stderr } = await runIn(cwd, 'rotate --as sk-0123456789abcdef');
  expect([code, calls]).toEqual([2, []]);
  expect(stderr).not.toContain('0123456789abcdef');
});
