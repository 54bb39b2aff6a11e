import { expect, test } from 'vitest';
import {
  ahead,
  changeView,
  client,
  DAY,
  generation,
  problem,
  rotateView,
  runAgainst,
} from '../fake-admin.ts';

const CLIENTS = [
  client(),
  client({
    name: 'staging',
    scopes: ['inference', 'passthrough'],
    allowFrom: ['10.0.0.0/8', 'fd00::/8'],
    expiresAt: ahead(90 * DAY),
    generations: [generation({ id: 'staging-1', lastUsedAt: null })],
  }),
  client({ name: 'old', state: 'disabled', generations: [] }),
];

test('clients list', async () => {
  const view = { clients: CLIENTS };
  const { code, stdout, asked } = await runAgainst([200, view], 'clients list');
  expect(code).toBe(0);
  expect(asked[0]?.what).toBe('GET /api/clients');
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-list.txt');
  const json = await runAgainst([200, view], 'clients list --json');
  expect(JSON.parse(json.stdout)).toEqual(view);
});

const ADDED = rotateView({
  client: 'staging',
  generation: generation({ id: 'staging-1', client: 'staging' }),
  previous: [],
});

test('clients add: its scope is inference where none is named', async () => {
  const { code, stdout, asked } = await runAgainst([201, ADDED], 'clients add staging');
  expect(code).toBe(0);
  expect(asked[0]).toMatchObject({
    what: 'POST /api/clients',
    body: { name: 'staging', scopes: ['inference'], allowFrom: [] },
  });
  expect(asked[0]?.headers['idempotency-key']).toMatch(/./);
  expect(stdout).not.toContain(ADDED.key);
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-add.txt');
});

test('clients add: everything that can be said, several times where that makes sense', async () => {
  const line =
    'clients add staging --scope inference,passthrough --scope inference --expires 90d ' +
    '--allow-from 10.0.0.0/8 --allow-from 192.0.2.7,FD00::/8 --json';
  const { asked, stdout } = await runAgainst([201, ADDED], line);
  expect(asked[0]?.body).toEqual({
    name: 'staging',
    scopes: ['inference', 'passthrough'],
    expires: '90d',
    allowFrom: ['10.0.0.0/8', '192.0.2.7/32', 'fd00::/8'],
  });
  expect(JSON.parse(stdout)).toEqual(ADDED);
});

test('clients add: a name that is taken', async () => {
  const reply = problem(409, 'client_exists', 'there is a client staging already');
  const { code, stderr } = await runAgainst(reply, 'clients add staging');
  expect([code, stderr]).toEqual([1, 'sidecar: there is a client staging already\n']);
});

test.each([
  ['disable', 'disabled', 'staging is disabled: its keys are refused'],
  ['enable', 'enabled', 'staging is enabled: its keys count'],
] as const)('clients %s', async (verb, state, words) => {
  const view = changeView({ client: client({ name: 'staging', state }) });
  const { code, stdout, asked } = await runAgainst([200, view], `clients ${verb} staging`);
  expect(code).toBe(0);
  expect(asked[0]?.what).toBe(`POST /api/clients/staging/${verb}`);
  expect(stdout).toMatch(new RegExp(`^${words}\n  staging: ${state}, full\n`));
  const json = await runAgainst([200, view], `clients ${verb} staging --json`);
  expect(JSON.parse(json.stdout)).toEqual(view);
});

test('clients remove', async () => {
  const view = changeView({ cut: 3 });
  const { code, stdout, asked } = await runAgainst([200, view], 'clients remove staging --force');
  expect(code).toBe(0);
  expect(asked[0]?.what).toBe('DELETE /api/clients/staging?force=true');
  expect(stdout).toBe(
    'staging is removed, and all of its keys are revoked\n  3 requests in flight were cut\n',
  );
  const json = await runAgainst([200, view], 'clients remove staging --json');
  expect(json.asked[0]?.what).toBe('DELETE /api/clients/staging');
  expect(JSON.parse(json.stdout)).toEqual(view);
});

test('an unknown client: the near name that the sidecar gives, exit code 2', async () => {
  const reply = problem(404, 'unknown_client', 'there is no client stagign', {
    hints: ['did you mean staging?'],
  });
  for (const line of ['rotate stagign', 'rollback stagign', 'clients disable stagign']) {
    const { code, stderr } = await runAgainst(reply, line);
    expect(code).toBe(2);
    expect(stderr).toBe('sidecar: there is no client stagign\n  hint: did you mean staging?\n');
  }
});
