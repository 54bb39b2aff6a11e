import { afterEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import type { KeyAdmin } from '../../src/rotation/admin.ts';
import { createAdminApi } from '../../src/servers/admin/api.ts';
import { createOpsServer } from '../../src/servers/ops.ts';
import {
  ask,
  askRaw,
  CONFIG,
  fakeAdmin,
  fakeAudit,
  fakeLive,
  fakeUpstream,
  fakeUsage,
  ROTATED,
  STATUS,
} from './fake-admin.ts';

const TOKEN = 'a-token-of-these-tests-0123456789';
const servers: ReturnType<typeof createOpsServer>[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const start = async (changes: Partial<KeyAdmin> = {}, opened = true) => {
  const admin = fakeAdmin(changes);
  const onError = vi.fn();
  const api = createAdminApi({
    ...{ admin, upstream: fakeUpstream(), audit: fakeAudit(), usage: fakeUsage() },
    ...{ live: fakeLive(), settings: () => CONFIG, onError },
  });
  const server = createOpsServer({
    metrics: () => Promise.resolve({ type: 'text/plain', body: 'up 1\n' }),
    isReady: () => ({ ready: true, waitingFor: [] }),
    onError,
    ...(opened && { admin: { tokenDigest: digestOf(TOKEN), api } }),
  });
  servers.push(server);
  const { port } = await server.listen('127.0.0.1', 0);
  return { admin, onError, server, port };
};

const withToken = (token = TOKEN) => ({ authorization: `Bearer ${token}` });
const headOf = (route: string, more = '') =>
  `${route} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n${more}\r\n`;
const ROTATE = 'POST /api/clients/ci/rotate';

describe('the admin API on the ops port', () => {
  it('is not there without a token to open it', async () => {
    const { admin, port } = await start({}, false);
    const { status, headers, text } = await ask({ port }, 'GET /api/status', {
      headers: withToken(),
    });
    expect([status, headers['content-type']]).toEqual([404, 'text/plain; charset=utf-8']);
    expect(text).not.toContain('/api/');
    expect(admin.calls).toEqual([]);
  });

  it('answers who has the token, whose address is in the audit', async () => {
    const { admin, port } = await start();
    const headers = { ...withToken(), 'x-sidecar-actor': 'alice' };
    expect((await ask({ port }, 'GET /api/status', { headers })).json).toEqual(STATUS);
    const reply = await ask({ port }, ROTATE, { headers, body: { grace: '1h' } });
    expect([reply.status, reply.json]).toEqual([200, ROTATED]);
    expect(admin.calls).toMatchObject([
      ['status'],
      ['rotate', { client: 'ci', graceMs: 3_600_000 }, 'api:127.0.0.1'],
    ]);
  });

  it('stands beside the endpoints that need no token', async () => {
    const { port } = await start();
    for (const path of ['/livez', '/readyz', '/metrics']) {
      expect((await ask({ port }, `GET ${path}`)).status).toBe(200);
    }
    expect((await ask({ port }, 'POST /metrics', { headers: withToken() })).status).toBe(405);
    const { status, text } = await ask({ port }, 'GET /api');
    expect([status, text]).toEqual([404, expect.stringContaining('/api/')]);
  });

  it.each([
    [{}, 'Bearer'],
    [{ authorization: TOKEN }, 'Bearer'],
    [{ authorization: `Basic ${TOKEN}` }, 'Bearer'],
    [{ authorization: 'Bearer ' }, 'Bearer'],
    [{ 'x-api-key': TOKEN }, 'Bearer'],
    [withToken('wrong'), 'Bearer error="invalid_token"'],
    [withToken(TOKEN.slice(1)), 'Bearer error="invalid_token"'],
    [withToken(`${TOKEN}x`), 'Bearer error="invalid_token"'],
    [withToken(TOKEN.toUpperCase()), 'Bearer error="invalid_token"'],
    [withToken(digestOf(TOKEN)), 'Bearer error="invalid_token"'],
  ])('%j is 401', async (headers, challenge) => {
    const { admin, port } = await start();
    for (const route of ['GET /api/status', ROTATE, 'GET /api/nothing', 'PUT /api/status']) {
      const reply = await ask({ port }, route, { headers });
      expect([reply.status, reply.json['code']]).toEqual([401, 'unauthorized']);
      expect(reply.headers['www-authenticate']).toBe(challenge);
      expect(reply.headers['content-type']).toBe('application/problem+json');
      expect(reply.text).not.toContain(TOKEN);
    }
    expect(admin.calls).toEqual([]);
  });

  it('takes the scheme in any case', async () => {
    const { port } = await start();
    const headers = { authorization: `bEARER  ${TOKEN}` };
    expect((await ask({ port }, 'GET /api/status', { headers })).status).toBe(200);
  });

  it('limits wrong tokens, and never locks out the right one', async () => {
    const { port } = await start();
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      const headers = withToken(`wrong-${attempt}`);
      const reply = await ask({ port }, 'GET /api/status', { headers });
      statuses.push(reply.status);
      if (reply.status !== 429) continue;
      expect(reply.json['code']).toBe('too_many_failures');
      expect(Number(reply.headers['retry-after'])).toBeGreaterThan(0);
      expect(Number(reply.headers['retry-after'])).toBeLessThanOrEqual(60);
    }
    expect(statuses).toEqual([...Array<number>(10).fill(401), 429, 429]);
    const right = await ask({ port }, 'GET /api/status', { headers: withToken() });
    expect(right.status).toBe(200);
    expect((await ask({ port }, 'GET /api/status')).status).toBe(401);
  });

  it('refuses a web page even with the token, and gives no leave before it is asked', async () => {
    const { admin, port } = await start();
    const origin = 'https://evil.example';
    const page = await ask({ port }, ROTATE, { headers: { ...withToken(), origin }, body: {} });
    expect([page.status, page.json['code']]).toEqual([403, 'origin_refused']);
    const preflight = await ask({ port }, `OPTIONS ${ROTATE.slice(5)}`, {
      headers: { origin, 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(401);
    for (const { headers } of [page, preflight]) {
      expect(Object.keys(headers).join()).not.toContain('access-control');
    }
    expect(admin.calls).toEqual([]);
  });
});

describe('its connections', () => {
  it('are kept after a body that was read', async () => {
    const { admin, port } = await start();
    const more = 'Content-Type: application/json\r\nContent-Length: 14\r\n';
    const rotate = `${headOf(ROTATE, more)}{"grace":"1h"}`;
    const got = await askRaw(
      { port },
      rotate + rotate + headOf('GET /api/status', 'Connection: close\r\n'),
    );
    expect(got.match(/^HTTP\/1\.1 200/gm)).toHaveLength(3);
    expect(admin.calls.map(([verb]) => verb)).toEqual(['rotate', 'rotate', 'status']);
  });

  it('give leave to send a body to who has the token, and to nobody else', async () => {
    const { port } = await start();
    const more =
      'Content-Type: application/json\r\nContent-Length: 2\r\n' +
      'Expect: 100-continue\r\nConnection: close\r\n';
    const right = await askRaw({ port }, `${headOf(ROTATE, more)}{}`);
    expect(right.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 200']);
    const wrong = await askRaw({ port }, `${headOf(ROTATE, more).replace(TOKEN, 'wrong')}{}`);
    expect(wrong.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 401']);
  });

  it.each([
    ['an endpoint that reads none', 'POST /livez', TOKEN],
    ['a wrong token', ROTATE, 'wrong'],
  ])('end with a body sent to %s: nothing behind it is served', async (_, route, token) => {
    const { admin, port } = await start();
    const long = 'x'.repeat(100_000);
    const first = headOf(route, `Content-Length: ${long.length}\r\n`).replace(TOKEN, token);
    const got = await askRaw({ port }, first + long + headOf(ROTATE));
    expect(got.match(/^HTTP\/1\.1 \d+/gm)).toHaveLength(1);
    expect(got).toMatch(/^connection: close/im);
    expect(admin.calls).toEqual([]);
  });

  it('serve nothing behind a short body that is not read', async () => {
    const { admin, port } = await start();
    const got = await askRaw(
      { port },
      `${headOf('POST /livez', 'Content-Length: 1\r\n')}x${headOf(ROTATE)}`,
    );
    expect(got.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 405']);
    expect(admin.calls).toEqual([]);
  });

  it('end with their answer when the port closes', async () => {
    let finish = (): void => {};
    let begun = (): void => {};
    const asked = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const { server, port } = await start({
      rotate: () =>
        new Promise((resolve) => {
          finish = () => resolve(ROTATED);
          begun();
        }),
    });
    const reply = askRaw({ port }, headOf(ROTATE));
    await asked;
    const closed = server.close();
    finish();
    expect(await reply).toMatch(/^HTTP\/1\.1 200[\s\S]*connection: close/i);
    await closed;
  });
});
