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

const LIMITED = client({
  ...{ name: 'ci', scopes: ['inference'], allowFrom: ['10.0.0.0/8'], expiresAt: ahead(90 * DAY) },
  limits: { rpm: 60, parallel: 4, tokensPerDay: 2e6, usdPerDay: 5, mode: 'refuse' },
  use: {
    ...{ requestsLastMinute: 12, inFlight: 4, tokensToday: 1_234_567, usdToday: 4.1 },
    ...{ reservedTokens: 20_000, reservedUsd: 0.0421 },
  },
  models: ['gpt-4o*', 'mock'],
  generations: [generation({ id: 'ci-1', client: 'ci' })],
});
const RECORDED = client({
  ...{ name: 'web', inFile: true, models: ['mock'], unlistedModels: ['mock'] },
  limits: { rpm: null, parallel: null, tokensPerDay: null, usdPerDay: 0.5, mode: 'record' },
  use: {
    ...{ requestsLastMinute: 0, inFlight: 0, tokensToday: 0, usdToday: 1.25 },
    ...{ reservedTokens: 0, reservedUsd: 0 },
  },
  generations: ['web-1', 'web-2'].map((id) => generation({ id, client: 'web' })),
});

test('clients list: limits, models and the file, where there are any', async () => {
  const view = { clients: [...CLIENTS.slice(0, 2), LIMITED, RECORDED] };
  const { stdout } = await runAgainst([200, view], 'clients list');
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-list-limits.txt');
});

test('clients show: rights, what is used of the limits, and the keys', async () => {
  const { code, stdout, asked } = await runAgainst([200, LIMITED], 'clients show ci');
  expect([code, asked[0]?.what]).toEqual([0, 'GET /api/clients/ci']);
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-show.txt');
  const json = await runAgainst([200, LIMITED], 'clients show ci --json');
  expect(JSON.parse(json.stdout)).toEqual(LIMITED);
  const file = await runAgainst([200, RECORDED], 'clients show web');
  await expect(file.stdout).toMatchFileSnapshot('../transcripts/clients-show-file.txt');
  const plain = await runAgainst([200, client()], 'clients show master');
  expect(plain.stdout).toMatch(/^master: enabled, full\nmodels: all\nlimits: none\n\nmaster-3: /);
});

test('clients show: what is nearly used is seen', async () => {
  const looked = { isTTY: true, columns: 100 } as const;
  const { stdout } = await runAgainst([200, LIMITED], 'clients show ci', { looked });
  expect(stdout).toContain('\u001b[31m100 %\u001b[39m');
  expect(stdout).toContain('\u001b[33m82 %\u001b[39m');
});

const SET = changeView({ client: LIMITED, notes: ['rpm: 60 → 120', 'models: all → gpt-4o*'] });

test('clients set: what is named, and nothing else', async () => {
  const line = 'clients set ci --rpm 120 --model gpt-4o*';
  const { code, stdout, asked } = await runAgainst([200, SET], line);
  expect(code).toBe(0);
  expect(asked[0]).toMatchObject({ what: 'PATCH /api/clients/ci' });
  expect(asked[0]?.body).toEqual({ limits: { rpm: 120 }, models: ['gpt-4o*'] });
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-set.txt');
  const json = await runAgainst([200, SET], `${line} --json`);
  expect(JSON.parse(json.stdout)).toEqual(SET);
});

test.each([
  [
    '--rpm none --parallel 8 --tokens-per-day 1.5k --usd-per-day 0.50 --limit-mode Record',
    { limits: { rpm: null, parallel: 8, tokensPerDay: 1500, usdPerDay: 0.5, mode: 'record' } },
  ],
  ['--model all --allow-from anywhere', { models: null, allowFrom: null }],
  ['--expires never --no-names-end-users', { expires: null, namesEndUsers: false }],
  [
    '--names-end-users --expires 90d --model a --model b',
    { namesEndUsers: true, expires: '90d', models: ['a', 'b'] },
  ],
])('clients set %s', async (flags, body) => {
  const { asked } = await runAgainst([200, SET], `clients set ci ${flags}`);
  expect(asked.map((each) => each.body)).toEqual([body]);
});

test('clients add: limits and models', async () => {
  const line =
    'clients add ci --rpm 60 --parallel 4 --tokens-per-day 2M --usd-per-day 5 ' +
    '--limit-mode record --model gpt-4o* --model mock';
  const { asked } = await runAgainst([201, ADDED], line);
  expect(asked[0]?.body).toEqual({
    ...{ name: 'ci', scopes: ['inference'], models: ['gpt-4o*', 'mock'] },
    limits: { rpm: 60, parallel: 4, tokensPerDay: 2e6, usdPerDay: 5, mode: 'record' },
  });
});

test('clients set: a client of the file', async () => {
  const hints = ['change it in clients.yaml'];
  const reply = problem(409, 'client_in_file', 'the clients file rules ci', { hints });
  const { code, stderr } = await runAgainst(reply, 'clients set ci --rpm 1');
  expect(code).toBe(1);
  expect(stderr).toBe('sidecar: the clients file rules ci\n  hint: change it in clients.yaml\n');
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
    body: { name: 'staging', scopes: ['inference'] },
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
