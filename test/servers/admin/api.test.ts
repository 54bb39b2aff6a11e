import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HandoverError, type UpstreamAdmin } from '../../../src/handover/contracts.ts';
import { AdminError, type ClientView, type KeyAdmin } from '../../../src/rotation/admin.ts';
import { createAdminApi } from '../../../src/servers/admin/api.ts';
import type { UsageReport } from '../../../src/usage/report.ts';
import {
  ask,
  askRaw,
  CHANGED,
  CLIENT,
  CONFIG,
  fakeAdmin,
  fakeAudit,
  fakeLive,
  fakeUpstream,
  fakeUsage,
  HANDOVER,
  KEY,
  ROTATED,
  SALT,
  STATUS,
  UPSTREAM,
  USAGE,
  WHO,
} from '../fake-admin.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

const start = async (
  changes: Partial<KeyAdmin> = {},
  upstreamChanges: Partial<UpstreamAdmin> = {},
  report: UsageReport = USAGE,
) => {
  const admin = fakeAdmin(changes);
  const upstream = fakeUpstream(upstreamChanges);
  const audit = fakeAudit();
  const usage = fakeUsage(report);
  const onError = vi.fn();
  const live = fakeLive();
  const parts = { admin, upstream, audit, usage, live };
  const api = createAdminApi({ ...parts, settings: () => CONFIG, onError });
  const server = createServer((request, response) => api.handle(request, response, 'cli:alice'));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    admin,
    upstream,
    audit,
    usage,
    onError,
    server,
    port: (server.address() as AddressInfo).port,
  };
};

const NO_AMOUNTS = { rpm: null, parallel: null, tokensPerDay: null, usdPerDay: null };
const BY = 'cli:alice';
const NO_FLAGS = { graceMs: undefined, compromised: false, force: false };

describe('each endpoint', () => {
  const rotation = { client: 'ci', ...NO_FLAGS, idempotencyKey: undefined };
  it.each([
    ['GET /api/status', {}, 200, STATUS, ['status']],
    ['GET /api/clients', {}, 200, { clients: [CLIENT] }, ['clients']],
    ['GET /api/clients/ci', {}, 200, CLIENT, ['client', 'ci']],
    ['DELETE /api/clients/ci', {}, 200, CHANGED, ['remove', 'ci', false, BY]],
    ['DELETE /api/clients/ci?force=true', {}, 200, CHANGED, ['remove', 'ci', true, BY]],
    ['DELETE /api/clients/ci?force=false', {}, 200, CHANGED, ['remove', 'ci', false, BY]],
    ['POST /api/clients/ci/rotate', {}, 200, ROTATED, ['rotate', rotation, BY]],
    [
      'POST /api/clients/ci/rotate',
      { grace: '24h', compromised: true, force: true },
      200,
      ROTATED,
      ['rotate', { ...rotation, graceMs: 86_400_000, compromised: true, force: true }, BY],
    ],
    [
      'POST /api/clients/ci/rotate',
      { grace: '0' },
      200,
      ROTATED,
      ['rotate', { ...rotation, graceMs: 0 }, BY],
    ],
    ['POST /api/clients/ci/rollback', {}, 200, CHANGED, ['rollback', 'ci', undefined, BY]],
    [
      'POST /api/clients/ci/rollback',
      { from: 'ci-3' },
      200,
      CHANGED,
      ['rollback', 'ci', 'ci-3', BY],
    ],
    ['POST /api/clients/ci/disable', {}, 200, CHANGED, ['disable', 'ci', BY]],
    ['POST /api/clients/ci/enable', {}, 200, CHANGED, ['enable', 'ci', BY]],
    [
      'POST /api/generations/ci-3/revoke',
      {},
      200,
      CHANGED,
      ['revoke', { generation: 'ci-3', force: false, compromised: false }, BY],
    ],
    [
      'POST /api/generations/ci-3/revoke',
      { force: true, compromised: true },
      200,
      CHANGED,
      ['revoke', { generation: 'ci-3', force: true, compromised: true }, BY],
    ],
    ['GET /api/generations/ci-3/who', {}, 200, WHO, ['who', 'ci-3']],
    [
      'POST /api/clients',
      { name: 'ci' },
      201,
      ROTATED,
      [
        'addClient',
        {
          name: 'ci',
          scopes: ['inference'],
          allowFrom: [],
          expiresInMs: undefined,
          namesEndUsers: false,
          limits: {},
          models: [],
          idempotencyKey: undefined,
        },
        BY,
      ],
    ],
    [
      'POST /api/clients',
      {
        name: 'ci',
        scopes: ['inference', 'passthrough'],
        expires: '90d',
        allowFrom: ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'],
        namesEndUsers: true,
        limits: { rpm: 60, parallel: '4', tokensPerDay: '2M', usdPerDay: 0.5, mode: 'record' },
        models: ['gpt-4o*', ' mock '],
      },
      201,
      ROTATED,
      [
        'addClient',
        {
          name: 'ci',
          scopes: ['inference', 'passthrough'],
          allowFrom: ['10.0.0.0/8', '192.0.2.7/32', 'fd00::/8'],
          expiresInMs: 90 * 86_400_000,
          namesEndUsers: true,
          limits: { rpm: 60, parallel: 4, tokensPerDay: 2e6, usdPerDay: 0.5, mode: 'record' },
          models: ['gpt-4o*', 'mock'],
          idempotencyKey: undefined,
        },
        BY,
      ],
    ],
  ])('%s %j is %i', async (route, body, status, view, call) => {
    const { admin, port } = await start();
    const reply = await ask({ port }, route, { body });
    expect([reply.status, reply.json]).toEqual([status, view]);
    expect(admin.calls).toEqual([call]);
    expect(reply.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-length': String(reply.text.length),
    });
    expect(Object.keys(reply.headers).join()).not.toContain('access-control');
  });

  it.each<[object, object]>([
    [{}, {}],
    [{ limits: {} }, { limits: {} }],
    [{ limits: { rpm: '1.5k', parallel: null } }, { limits: { rpm: 1500, parallel: undefined } }],
    [
      { limits: null, models: null, allowFrom: null, expires: null },
      { limits: undefined, models: [], allowFrom: [], expiresInMs: undefined },
    ],
    [
      { expires: '90d', allowFrom: ['10.0.0.7'], namesEndUsers: true, models: ['*'] },
      {
        ...{ expiresInMs: 90 * 86_400_000, allowFrom: ['10.0.0.7/32'] },
        ...{ namesEndUsers: true, models: ['*'] },
      },
    ],
  ])('PATCH /api/clients/ci %j changes what is there', async (body, changes) => {
    const { admin, port } = await start();
    const headers = { 'content-type': 'application/merge-patch+json' };
    const reply = await ask({ port }, 'PATCH /api/clients/ci', { body, headers });
    expect([reply.status, reply.json]).toEqual([200, CHANGED]);
    // What is there and undefined is taken off, and what is not there stays.
    expect(admin.calls).toStrictEqual([['setClient', { name: 'ci', ...changes }, BY]]);
  });

  it.each([
    ['GET /api/upstream', {}, 200, UPSTREAM, ['status']],
    ['POST /api/upstream/rotate', {}, 202, HANDOVER, ['rotate', BY]],
    ['POST /api/upstream/reload', {}, 202, HANDOVER, ['reload', { dryRun: false }, BY]],
    [
      'POST /api/upstream/reload',
      { dryRun: true },
      202,
      HANDOVER,
      ['reload', { dryRun: true }, BY],
    ],
    [
      'POST /api/upstream/reload',
      { dryRun: false },
      202,
      HANDOVER,
      ['reload', { dryRun: false }, BY],
    ],
    ['GET /api/upstream/handovers', {}, 200, { handovers: [HANDOVER] }, ['history']],
    ['GET /api/upstream/handovers/handover-12', {}, 200, HANDOVER, ['handover', 'handover-12']],
    ['POST /api/upstream/salt-key', {}, 200, SALT, ['saltKey', BY]],
  ])('%s %j is %i', async (route, body, status, view, call) => {
    const { admin, upstream, port } = await start();
    const reply = await ask({ port }, route, { body });
    expect([reply.status, reply.json]).toEqual([status, view]);
    expect([admin.calls, upstream.calls]).toEqual([[], [call]]);
    expect(reply.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
    });
  });

  it.each([
    ['', [0, 200]],
    ['?after=7', [7, 200]],
    ['?after=7&limit=1000', [7, 1000]],
    ['?limit=1', [0, 1]],
  ])('GET /api/audit%s reads %j', async (query, asked) => {
    const { audit, port } = await start();
    const { status, json } = await ask({ port }, `GET /api/audit${query}`);
    expect([status, json]).toMatchObject([200, { lines: [{ seq: 1 }], count: 1 }]);
    expect(audit.asked).toEqual([asked]);
  });

  it.each<[string, unknown]>([
    ['', {}],
    ['?by=model&since=24h', { by: 'model', since: { ms: 86_400_000 } }],
    ['?client=ci&model=a%2Fb', { client: 'ci', model: 'a/b' }],
    ['?since=2026-11-01', { since: { at: Date.UTC(2026, 10, 1) } }],
  ])('GET /api/usage%s asks for %j', async (query, asked) => {
    const { usage, port } = await start();
    const { status, json } = await ask({ port }, `GET /api/usage${query}`);
    expect([status, json]).toEqual([200, USAGE]);
    expect(usage.asked).toEqual([asked]);
  });

  it('GET /api/usage is not wanted any more once its caller has left', async () => {
    const { usage, port } = await start();
    const wants: (() => boolean)[] = [];
    usage.report = (_, isWanted = () => true) => {
      wants.push(isWanted);
      return new Promise(() => undefined);
    };
    const left = new AbortController();
    const answer = fetch(`http://127.0.0.1:${port}/api/usage`, { signal: left.signal });
    await vi.waitFor(() => expect(wants.map((isWanted) => isWanted())).toEqual([true]));
    left.abort();
    await expect(answer).rejects.toThrow();
    await vi.waitFor(() => expect(wants.map((isWanted) => isWanted())).toEqual([false]));
  });

  it('GET /api/usage says by client how much of a budget is used', async () => {
    const use = { requestsLastMinute: 9, inFlight: 9, tokensToday: 50, usdToday: 4 };
    const budgets = { tokensPerDay: 100, usdPerDay: 5 };
    const clientWith = (name: string, limits: object | null): ClientView => ({
      ...{ ...CLIENT, name },
      limits: limits && { ...NO_AMOUNTS, mode: 'refuse', ...limits },
      use: { ...use, reservedTokens: 0, reservedUsd: 0 },
    });
    const clients = [
      clientWith('both', budgets),
      clientWith('tokens', { tokensPerDay: 100 }),
      clientWith('dollars', { usdPerDay: 5 }),
      clientWith('rpm', { rpm: 1, parallel: 1 }),
      clientWith('free', null),
    ];
    const names = [...clients.map(({ name }) => name), 'gone', null];
    const rows = names.map((name) => ({ ...USAGE.total, name, active: null, budgetUsed: null }));
    const { port } = await start({ clients: () => clients }, {}, { ...USAGE, by: 'client', rows });
    const usedIn = async () => {
      const { json } = await ask({ port }, 'GET /api/usage?by=client');
      return (json as unknown as UsageReport).rows.map(({ budgetUsed }) => budgetUsed);
    };
    expect(await usedIn()).toEqual([0.8, 0.5, 0.8, null, null, null, null]);
  });

  it('POST /api/usage/save answers how it went', async () => {
    const { usage, port } = await start();
    const { status, json } = await ask({ port }, 'POST /api/usage/save');
    expect([status, json, usage.asked]).toEqual([200, USAGE.store, ['save']]);
  });

  it('GET /api/audit/verify is its verdict', async () => {
    const { port } = await start();
    const { status, json } = await ask({ port }, 'GET /api/audit/verify');
    expect([status, json]).toEqual([200, { ok: true, count: 1 }]);
  });

  it('HEAD is the head of GET, and of no POST', async () => {
    const { port } = await start();
    const get = await ask({ port }, 'GET /api/status');
    const head = await ask({ port }, 'HEAD /api/status');
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
    expect((await ask({ port }, 'HEAD /api/clients/ci/rotate')).status).toBe(405);
  });

  it('a body may be empty, with or without its type', async () => {
    const { admin, port } = await start();
    await ask({ port }, 'POST /api/clients/ci/rotate');
    await ask({ port }, 'POST /api/clients/ci/rotate', {
      headers: { 'content-type': 'Application/JSON; charset=utf-8' },
    });
    expect(admin.calls).toEqual(Array(2).fill(['rotate', rotation, BY]));
  });

  it('a segment is decoded once', async () => {
    const { admin, port } = await start();
    await ask({ port }, 'GET /api/clients/a%2Fb%20%C3%A9');
    await ask({ port }, 'GET /api/clients/a%252Fb');
    await ask({ port }, 'GET /api/%63lients/ci');
    expect(admin.calls).toEqual([
      ['client', 'a/b é'],
      ['client', 'a%2Fb'],
      ['client', 'ci'],
    ]);
  });
});

describe('an Idempotency-Key', () => {
  it.each([
    ['abc-1', 'abc-1'],
    ['"abc-1"', 'abc-1'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['a"b', 'a"b'],
    ['x'.repeat(255), 'x'.repeat(255)],
  ])('%s is passed on', async (header, idempotencyKey) => {
    const { admin, port } = await start();
    const headers = { 'idempotency-key': header };
    await ask({ port }, 'POST /api/clients/ci/rotate', { headers });
    await ask({ port }, 'POST /api/clients', { headers, body: { name: 'ci' } });
    expect(admin.calls).toMatchObject([
      ['rotate', { idempotencyKey }, BY],
      ['addClient', { idempotencyKey }, BY],
    ]);
  });

  it.each(['', '""', '"abc', '"a"b"', '"a\\b"', 'a b', '"a b"', 'x'.repeat(256), 'caf\xe9'])(
    '%j is refused',
    async (header) => {
      const { admin, port } = await start();
      const headers = { 'idempotency-key': header };
      const { status, json } = await ask({ port }, 'POST /api/clients/ci/rotate', { headers });
      expect([status, json['code']]).toEqual([400, 'bad_request']);
      expect(json['detail']).toBe('Idempotency-Key: must be 1 to 255 visible ASCII characters');
      expect(admin.calls).toEqual([]);
    },
  );
});

describe('mistakes', () => {
  const spanOf = 'must be text: a number and its unit, such as 30s, 5m, 24h or 7d, or 0';
  const rotate = 'POST /api/clients/ci/rotate';
  const patch = 'PATCH /api/clients/ci';
  it.each([
    [rotate, { grace: '5' }, `grace: ${spanOf}; at most 3650d; did you mean 5s?`],
    [rotate, { grace: 5 }, `grace: ${spanOf}; at most 3650d; did you mean 5s?`],
    [rotate, { grace: true }, `grace: ${spanOf}; at most 3650d`],
    [rotate, { grace: '1000y' }, `grace: ${spanOf}; at most 3650d`],
    [rotate, { grace: '36500d' }, `grace: ${spanOf}; at most 3650d; that is more than 3650d`],
    [rotate, { compromised: 'yes' }, 'compromised: must be true or false'],
    [rotate, { gracee: '1h' }, 'unknown field gracee; did you mean grace?'],
    [rotate, { nonsense: 1 }, 'unknown field nonsense; known: grace, compromised, force'],
    [rotate, { [KEY]: 1 }, 'an unknown field; known: grace, compromised, force'],
    ['POST /api/clients/ci/enable', { on: 1 }, 'unknown field on; there are none here'],
    ['GET /api/status', { on: 1 }, 'unknown field on; there are none here'],
    ['GET /api/status?all=1', {}, 'unknown parameter all; there are none here'],
    ['POST /api/generations/ci-1/revoke', { force: 1 }, 'force: must be true or false'],
    ['DELETE /api/clients/ci?force=1', {}, 'force: must be true or false'],
    ['DELETE /api/clients/ci?forced=true', {}, 'unknown parameter forced; did you mean force?'],
    ['DELETE /api/clients/ci?force=true&force=true', {}, 'a parameter stands twice'],
    ['DELETE /api/clients/ci?__proto__=1', {}, 'unknown parameter __proto__; known: force'],
    ['POST /api/upstream/reload', { dryRun: 'yes' }, 'dryRun: must be true or false'],
    ['POST /api/upstream/reload', { dry: true }, /^unknown field dry; /],
    ['POST /api/upstream/rotate', { dryRun: true }, /^unknown field dryRun; there are none here/],
    ['GET /api/audit?limit=0', {}, 'limit: must be a whole number from 1 to 1000'],
    ['GET /api/audit?limit=1001', {}, 'limit: must be a whole number from 1 to 1000'],
    ['GET /api/audit?limit=', {}, 'limit: must be a whole number from 1 to 1000'],
    ['GET /api/audit?after=-1', {}, 'after: must be a whole number from 0 to 999999999999999'],
    ['GET /api/usage?by=week', {}, 'by: must be one of client, model, key, hour, day'],
    ['GET /api/usage?since=7', {}, /^since: must be a span .*; did you mean 7s\?$/],
    ['GET /api/usage?since=2026-02-30', {}, /^since: must be .*; there is no such day$/],
    ['GET /api/usage?client=', {}, 'client: must not be empty'],
    ['GET /api/usage?models=x', {}, 'unknown parameter models; did you mean model?'],
    [patch, { limits: { rpm: 0 } }, /^limits\.rpm: must be a whole number above 0, .*, or null; /],
    [patch, { limits: { rpm: -1 } }, /^limits\.rpm: .*; above 0: leave it out for no limit$/],
    [patch, { limits: { usdPerDay: '5$' } }, /^limits\.usdPerDay: .*; did you mean 5\?$/],
    [patch, { limits: { tokensPerDay: 1.5 } }, /^limits\.tokensPerDay: must be a whole number/],
    [patch, { limits: { parallel: true } }, /^limits\.parallel: must be .*, or null$/],
    [patch, { limits: { mode: 'reject' } }, 'limits.mode: must be one of refuse, record'],
    [patch, { limits: { rmp: 60 } }, 'limits: unknown field rmp; did you mean rpm?'],
    [patch, { limits: 60 }, /^limits: must be an object, such as /],
    [patch, { models: 'mock' }, /^models: must be a list, such as /],
    [patch, { models: ['mock', 'gpt-4o?'] }, /^models\[1\]: .*; only \* has a meaning/],
    [patch, { models: ['mock,gpt-4o'] }, /^models\[0\]: must be the name .*; one by one/],
    [patch, { models: [''] }, /^models\[0\]: must be the name of a model/],
    [patch, { scopes: ['full'] }, /^unknown field scopes; known: expires, allowFrom, /],
    ['POST /api/clients', {}, 'name: must be text'],
    ['POST /api/clients', { name: '' }, 'name: must not be empty'],
    ['POST /api/clients', { name: 'ci', scopes: [] }, /^scopes: must name one at least of/],
    ['POST /api/clients', { name: 'ci', scopes: 'full' }, /^scopes: must be a list/],
    ['POST /api/clients', { name: 'ci', expires: '90' }, /^expires: .*did you mean 90s\?$/],
    ['POST /api/clients', { name: 'ci', allowFrom: '10.0.0.0/8' }, /^allowFrom: must be a list/],
    ['POST /api/clients', { name: 'ci', allowFrom: [''] }, /^allowFrom\[0\]: must be an address/],
    ['POST /api/clients', { name: 'ci', allowFrom: [' , '] }, /^allowFrom\[0\]: must be an addr/],
    ['POST /api/clients', { name: 'ci', allowFrom: ['10.0.0.1,10.0.0.2'] }, /^allowFrom\[0\]: /],
    [
      'POST /api/clients',
      { name: 'ci', allowFrom: ['10.0.0.0/8', '10.0.0.1/8'] },
      'allowFrom[1]: must be an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8; ' +
        'did you mean 10.0.0.0/8, or 10.0.0.1 alone?',
    ],
    ['POST /api/clients', { name: 'ci', allowFrom: ['10.0.0.0/33'] }, /is from 0 to 32$/],
  ])('%s %j', async (route, body, detail) => {
    const { admin, upstream, audit, port } = await start();
    const { status, json, headers } = await ask({ port }, route, { body });
    expect(status).toBe(400);
    expect(headers['content-type']).toBe('application/problem+json');
    expect(json).toMatchObject({
      type: 'about:blank',
      title: 'Bad Request',
      status: 400,
      code: 'bad_request',
      hints: [],
    });
    expect(json['detail']).toMatch(detail);
    expect(json['mistakes']).toEqual([json['detail']]);
    expect(JSON.stringify(json)).not.toContain(KEY);
    expect([admin.calls, upstream.calls, audit.asked]).toEqual([[], [], []]);
  });

  it('are all told at once', async () => {
    const { admin, port } = await start();
    const { json } = await ask({ port }, 'POST /api/clients?x=1', {
      headers: { 'idempotency-key': 'a b' },
      body: { nme: 'ci', scopes: ['admin'], expires: '5', allowFrom: ['x', 7] },
    });
    expect(json['detail']).toBe('the request has 8 mistakes');
    expect((json['mistakes'] as string[]).map((line) => line.split(/[:;]/, 1)[0])).toEqual([
      'name',
      'scopes[0]',
      'expires',
      'allowFrom[0]',
      'allowFrom[1]',
      'unknown field nme',
      'unknown parameter x',
      'Idempotency-Key',
    ]);
    expect(admin.calls).toEqual([]);
  });

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'a field %s is unknown, and pollutes nothing',
    async (name) => {
      const { admin, port } = await start();
      const body = `{"${name}":{"force":true,"polluted":1}}`;
      const headers = { 'content-type': 'application/json' };
      const { status, json } = await ask({ port }, rotate, { headers, body });
      expect([status, json['detail']]).toEqual([400, expect.stringContaining(`field ${name};`)]);
      expect('polluted' in {}).toBe(false);
      expect(admin.calls).toEqual([]);
    },
  );

  it.each(['{', '{"grace":"1h"', `{"grace":"${KEY}`, 'grace=1h', '\x00', '{}{}', ' '])(
    'malformed JSON %j is said without a word of it',
    async (body) => {
      const { admin, port } = await start();
      const headers = { 'content-type': 'application/json' };
      const { status, json } = await ask({ port }, rotate, { headers, body });
      expect([status, json['code']]).toEqual([400, 'bad_request']);
      expect(json['detail']).toBe('the body is not JSON in UTF-8');
      expect(admin.calls).toEqual([]);
    },
  );

  it('bytes that are no UTF-8 are refused, not mended', async () => {
    const { admin, port } = await start();
    const body = Buffer.from('{"name":"ci\xff"}', 'latin1');
    const headers = { 'content-type': 'application/json' };
    const { json } = await ask({ port }, 'POST /api/clients', { headers, body });
    expect(json['detail']).toBe('the body is not JSON in UTF-8');
    expect(admin.calls).toEqual([]);
  });

  it.each(['[]', 'null', '3', '"x"', '[{"grace":"1h"}]'])('%s is no object', async (body) => {
    const { admin, port } = await start();
    const headers = { 'content-type': 'application/json' };
    const { status, json } = await ask({ port }, rotate, { headers, body });
    expect([status, json['detail']]).toEqual([400, 'the body must be a JSON object']);
    expect(admin.calls).toEqual([]);
  });

  it('a % that encodes nothing', async () => {
    const { admin, port } = await start();
    const { status, json } = await ask({ port }, 'GET /api/clients/a%zz');
    expect([status, json['code']]).toEqual([400, 'bad_request']);
    expect(admin.calls).toEqual([]);
  });
});

describe('what a web page could send', () => {
  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain; a=application/json',
    'application/jsonp',
  ])('a body of %s is 415, even an empty one', async (type) => {
    const { admin, port } = await start();
    for (const body of ['{}', '']) {
      const { status, json, headers } = await ask({ port }, 'POST /api/clients/ci/rotate', {
        headers: { 'content-type': type },
        body,
      });
      expect([status, json['code']]).toEqual([415, 'unsupported_media_type']);
      expect(headers['content-type']).toBe('application/problem+json');
    }
    expect(admin.calls).toEqual([]);
  });

  it('a body without a type, or in an encoding, is 415', async () => {
    const { admin, port } = await start();
    const route = 'POST /api/clients/ci/rotate';
    expect((await ask({ port }, route, { body: '{}' })).status).toBe(415);
    const headers = { 'content-encoding': 'gzip' };
    expect((await ask({ port }, route, { headers, body: {} })).status).toBe(415);
    expect(admin.calls).toEqual([]);
  });

  it.each(['https://evil.example', 'null', ''])('an Origin (%j) is 403', async (origin) => {
    const { admin, port } = await start();
    for (const route of ['GET /api/status', 'POST /api/clients/ci/rotate', 'OPTIONS /api/status']) {
      const { status, json, headers } = await ask({ port }, route, { headers: { origin } });
      expect([status, json['code']]).toEqual([403, 'origin_refused']);
      expect(json['hints']).toEqual([
        expect.stringContaining('a proxy in front must pass Host on'),
      ]);
      expect(Object.keys(headers).join()).not.toContain('access-control');
    }
    expect(admin.calls).toEqual([]);
  });
});

it('the settings in force are answered without asking the keys', async () => {
  const { port, admin } = await start();
  const reply = await ask({ port }, 'GET /api/config');
  expect([reply.status, reply.json, admin.calls]).toEqual([200, CONFIG, []]);
});

describe('paths and methods', () => {
  it.each([
    ['GET /api/statu', '/api/status'],
    ['GET /api/status/', '/api/status'],
    ['GET /api/STATUS', '/api/status'],
    ['POST /api/clients/ci/rotat', '/api/clients/{name}/rotate'],
    ['POST /api/client/ci/rotate', '/api/clients/{name}/rotate'],
    ['GET /api/generations/ci-1/whoo', '/api/generations/{id}/who'],
    ['GET /api/upstream/handover', '/api/upstream/handovers'],
    ['POST /api/upstreem/rotate', '/api/upstream/rotate'],
    ['POST /api/upstream/saltkey', '/api/upstream/salt-key'],
    ['GET /api/clients//rotate', '/api/clients/{name}/rotate'],
  ])('%s is 404 with the near one and the list', async (route, near) => {
    const { admin, port } = await start();
    const { status, json } = await ask({ port }, route);
    expect([status, json['code']]).toEqual([404, 'not_found']);
    const hints = json['hints'] as string[];
    expect(hints[0]).toBe(`did you mean ${near}?`);
    expect(hints).toHaveLength(1 + 28);
    expect(hints.join('\n')).toContain('POST /api/generations/{id}/revoke');
    expect(admin.calls).toEqual([]);
  });

  it('a name in a path is not repeated, and a far path has no near one', async () => {
    const { port } = await start();
    const { status, text, json } = await ask({ port }, `GET /api/${KEY}/${KEY}`);
    expect(status).toBe(404);
    expect(text).not.toContain(KEY);
    expect(json['hints']).toHaveLength(28);
  });

  it.each([
    ['POST /api/status', 'GET, HEAD'],
    ['OPTIONS /api/status', 'GET, HEAD'],
    ['DELETE /api/clients', 'GET, HEAD, POST'],
    ['PUT /api/clients/ci', 'GET, HEAD, PATCH, DELETE'],
    ['GET /api/clients/ci/rotate', 'POST'],
    ['PATCH /api/generations/ci-1/revoke', 'POST'],
    ['GET /api/upstream/rotate', 'POST'],
    ['POST /api/upstream/handovers/handover-12', 'GET, HEAD'],
  ])('%s is 405, allowed %s', async (route, allow) => {
    const { admin, port } = await start();
    const { status, json, headers } = await ask({ port }, route);
    expect([status, json['code'], headers.allow]).toEqual([405, 'method_not_allowed', allow]);
    expect(admin.calls).toEqual([]);
  });
});

describe('what a verb rejects with', () => {
  it.each([
    ['unknown_client', 404],
    ['unknown_generation', 404],
    ['bad_grace', 400],
    ['bad_client_name', 400],
    ['client_exists', 409],
    ['too_many_generations', 409],
    ['no_rollback_after_compromise', 409],
    ['not_the_active_key', 409],
    ['idempotency_mismatch', 422],
    ['publish_failed', 500],
    ['store_unavailable', 503],
  ] as const)('%s is %i with its words', async (code, status) => {
    const { onError, port } = await start({
      rotate: () => Promise.reject(new AdminError(code, 'why it is', { hints: ['what to do'] })),
    });
    const reply = await ask({ port }, 'POST /api/clients/ci/rotate');
    expect(reply.status).toBe(status);
    const { title, ...rest } = reply.json;
    expect(title).toMatch(/^[A-Z]/);
    expect(rest).toEqual({
      type: 'about:blank',
      status,
      detail: 'why it is',
      code,
      hints: ['what to do'],
    });
    expect(reply.headers['retry-after']).toBe(status === 503 ? '5' : undefined);
    expect(onError).not.toHaveBeenCalled();
  });

  it.each([
    ['handover_under_way', 409],
    ['no_slots', 409],
    ['salt_key_unknown', 409],
    ['salt_key_not_new', 409],
    ['nothing_to_reload', 409],
    ['unknown_handover', 404],
    ['state_unavailable', 503],
    ['stopping_upstream', 503],
  ] as const)('%s is %i with its words', async (code, status) => {
    const refused = new HandoverError(code, 'why it is', { hints: ['what to do'] });
    const { onError, port } = await start(
      {},
      {
        rotate: () => Promise.reject(refused),
        handover: () => {
          throw refused;
        },
      },
    );
    for (const route of ['POST /api/upstream/rotate', 'GET /api/upstream/handovers/handover-9']) {
      const { title, ...rest } = (await ask({ port }, route)).json;
      expect(title).toMatch(/^[A-Z]/);
      const [detail, hints] = ['why it is', ['what to do']];
      expect(rest).toEqual({ type: 'about:blank', status, detail, code, hints });
    }
    const { headers } = await ask({ port }, 'POST /api/upstream/rotate');
    expect(headers['retry-after']).toBe(status === 503 ? '5' : undefined);
    expect(onError).not.toHaveBeenCalled();
  });

  it('handover_under_way says which', async () => {
    const refused = new HandoverError('handover_under_way', 'one waits', { handover: HANDOVER });
    const { port } = await start({}, { rotate: () => Promise.reject(refused) });
    const { status, json } = await ask({ port }, 'POST /api/upstream/rotate');
    expect([status, json['handover']]).toEqual([409, HANDOVER]);
  });

  it('in_use says who would break', async () => {
    const { port } = await start({
      revoke: () => Promise.reject(new AdminError('in_use', 'used', { who: WHO })),
    });
    const { status, json } = await ask({ port }, 'POST /api/generations/ci-1/revoke');
    expect([status, json['who']]).toEqual([409, WHO]);
  });

  it('a verb that throws at once is answered like one that rejects', async () => {
    const { port } = await start({
      client: () => {
        throw new AdminError('unknown_client', 'no client ci');
      },
    });
    expect((await ask({ port }, 'GET /api/clients/ci')).status).toBe(404);
  });

  it('an unknown error is 500 without its reason, which is told inside', async () => {
    const { onError, port } = await start({
      status: () => {
        throw new Error(`inner ${KEY}`);
      },
    });
    const { status, json, text } = await ask({ port }, 'GET /api/status');
    expect([status, json['code']]).toEqual([500, 'failed']);
    expect(text).not.toContain('inner');
    expect(onError.mock.calls).toEqual([[new Error(`inner ${KEY}`)]]);
  });
});

describe('connections', () => {
  const LIMIT = 64 * 1024;
  const padded = (bytes: number): string => {
    const frame = '{"grace":"1h"}';
    return frame.replace('}', `${' '.repeat(bytes - frame.length)}}`);
  };
  const JSON_TYPE = { 'content-type': 'application/json' };
  const CHUNKED = { ...JSON_TYPE, 'transfer-encoding': 'chunked' };

  it.each([
    ['of a known length', JSON_TYPE],
    ['in chunks', CHUNKED],
  ])('a body %s has 64 KiB at most', async (_, headers) => {
    const { admin, port } = await start();
    const route = 'POST /api/clients/ci/rotate';
    const fits = await ask({ port }, route, { headers, body: padded(LIMIT) });
    expect(fits.status).toBe(200);
    for (const bytes of [LIMIT + 1, 900_000]) {
      const over = await ask({ port }, route, { headers, body: padded(bytes) });
      expect([over.status, over.json['code']]).toEqual([413, 'body_too_large']);
      expect(over.headers.connection).toBe('close');
    }
    expect(admin.calls).toHaveLength(1);
  });

  it('a body that says it is too long is refused before it comes', async () => {
    const { port } = await start();
    const got = await askRaw(
      { port },
      'POST /api/clients/ci/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        'Content-Length: 100000000\r\n\r\n',
    );
    expect(got).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('a client that is still sending can read why it is refused', async () => {
    const { port } = await start();
    const rest = 'x'.repeat(100_000);
    const socket = connect(port, '127.0.0.1');
    const failed = vi.fn();
    socket.on('error', failed);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(
      'POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${2 * rest.length}\r\n\r\n`,
    );
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 404 [\s\S]*connection: close/i);
    await new Promise((resolve) => socket.write(rest, resolve));
    await new Promise((resolve) => socket.write(rest, resolve));
    await closed;
    expect(failed).not.toHaveBeenCalled();
  });

  it('pipelined requests are answered in order', async () => {
    const { admin, port } = await start();
    const rotate = (more: string) =>
      `POST /api/clients/ci/rotate HTTP/1.1\r\nHost: x\r\n${more}\r\n\r\n`;
    const withBody = `${rotate('Content-Type: application/json\r\nContent-Length: 14')}{"grace":"1h"}`;
    const got = await askRaw(
      { port },
      `${withBody}GET /api/nothing HTTP/1.1\r\nHost: x\r\n\r\n${rotate('Connection: close')}`,
    );
    expect(got.match(/^HTTP\/1\.1 \d+/gm)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 404',
      'HTTP/1.1 200',
    ]);
    expect(admin.calls).toMatchObject([
      ['rotate', { graceMs: 3_600_000 }, BY],
      ['rotate', NO_FLAGS, BY],
    ]);
  });

  it('a client that leaves in the middle of its body changes nothing', async () => {
    const { admin, server, port } = await start();
    const socket = connect(port, '127.0.0.1');
    const gone = new Promise<void>((resolve) => {
      server.once('request', (request) => {
        request.once('data', () => socket.destroy());
        request.once('close', () => resolve());
      });
    });
    socket.write(
      'POST /api/clients/ci/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        'Content-Length: 15\r\n\r\n{"grace":"1h"}',
    );
    await gone;
    // the server still answers, and this one request is the only one that was made
    await ask({ port }, 'GET /api/status');
    expect(admin.calls).toEqual([['status']]);
  });

  it('a rotation goes on when its client has left', async () => {
    let finish = (): void => {};
    const done = vi.fn();
    const { onError, server, port } = await start({
      async rotate() {
        await new Promise<void>((resolve) => {
          finish = resolve;
          request.destroy();
        });
        done();
        return ROTATED;
      },
    });
    const request = httpRequest({
      port,
      host: '127.0.0.1',
      method: 'POST',
      path: '/api/clients/ci/rotate',
    });
    request.on('error', () => undefined);
    const left = new Promise<void>((resolve) => {
      server.once('request', (_, response) => response.once('close', () => resolve()));
    });
    request.end();
    await left;
    finish();
    await vi.waitFor(() => expect(done).toHaveBeenCalledOnce());
    expect((await ask({ port }, 'GET /api/status')).status).toBe(200);
    expect(onError).not.toHaveBeenCalled();
  });

  it('an answer that cannot be written as JSON ends its connection and is told inside', async () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    const { onError, port } = await start({ client: () => circle as never });
    await expect(ask({ port }, 'GET /api/clients/ci')).rejects.toMatchObject({
      code: 'ECONNRESET',
    });
    expect(onError).toHaveBeenCalledOnce();
  });
});
