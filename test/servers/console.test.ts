import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { createAdminApi } from '../../src/servers/admin/api.ts';
import { createOpsServer } from '../../src/servers/ops.ts';
import {
  ask,
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
const PAGE = '<!doctype html><title>the page</title>';
const SHUT = '<!doctype html><title>no token</title>';
const SCRIPT = 'export const made = "by the build";'.repeat(50);

let folder = '';
const servers: ReturnType<typeof createOpsServer>[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'console-'));
  const files = { 'index.html': PAGE, 'no-token.html': SHUT, 'main-1A2B.js': SCRIPT };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text);
    await writeFile(join(folder, `${name}.gz`), gzipSync(text));
    await writeFile(join(folder, `${name}.br`), brotliCompressSync(text));
  }
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(folder, { recursive: true });
});

const start = async (opened = true) => {
  const admin = fakeAdmin();
  const onError = vi.fn();
  const api = createAdminApi({
    ...{ admin, upstream: fakeUpstream(), audit: fakeAudit(), usage: fakeUsage() },
    ...{ live: fakeLive(), settings: () => CONFIG, onError },
  });
  const server = createOpsServer({
    metrics: () => Promise.resolve({ type: 'text/plain', body: 'up 1\n' }),
    isReady: () => ({ ready: true, waitingFor: [] }),
    names: ['console.example'],
    onError,
    ...(opened && { admin: { tokenDigest: digestOf(TOKEN), api } }),
    console: pathToFileURL(`${folder}/`),
  });
  servers.push(server);
  const { port } = await server.listen('127.0.0.1', 0);
  return { admin, onError, port };
};

/** The body of an answer as its bytes, which `ask` reads as text. */
const bytesOf = (port: number, path: string, accepted: string) =>
  new Promise<{ coding: string | undefined; bytes: Buffer }>((resolve, reject) => {
    const headers = { 'accept-encoding': accepted };
    httpRequest({ host: '127.0.0.1', port, path, headers, agent: false }, async (response) => {
      const bytes = Buffer.concat(await response.toArray());
      resolve({ coding: response.headers['content-encoding'], bytes });
    })
      .on('error', reject)
      .end();
  });

describe('the console', () => {
  it('is a page at / that asks nobody else, runs no text, and stands in no frame', async () => {
    const { port } = await start();
    const { status, headers, text } = await ask({ port }, 'GET /');
    expect([status, text, headers['content-type']]).toEqual([
      200,
      PAGE,
      'text/html; charset=utf-8',
    ]);
    const policy = Object.fromEntries(
      String(headers['content-security-policy'])
        .split('; ')
        .map((each) => [each.split(' ')[0], each.split(' ').slice(1).join(' ')]),
    );
    expect(policy).toEqual({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'img-src': "'self'",
      'connect-src': "'self'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
      'require-trusted-types-for': "'script'",
      'trusted-types': "'none'",
    });
    expect(headers).toMatchObject({
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      vary: 'accept-encoding',
    });
    expect(headers['set-cookie']).toBeUndefined();
  });

  it('says how to set a token where none is, and has no API then', async () => {
    const { port } = await start(false);
    expect((await ask({ port }, 'GET /')).text).toBe(SHUT);
    expect((await ask({ port }, 'GET /api/status')).status).toBe(404);
  });

  it('is compressed as the browser takes it', async () => {
    const { port } = await start();
    const [br, gzip] = [brotliDecompressSync, gunzipSync];
    for (const [accepted, coding, open] of [
      ['gzip, deflate, br, zstd', 'br', br],
      ['gzip', 'gzip', gzip],
      ['br;q=0, gzip;q=0.5', 'gzip', gzip],
      ['BR ; q=0.1', 'br', br],
      ['identity', undefined, (bytes: Buffer) => bytes],
      ['gzip;q=0.000, brotli', undefined, (bytes: Buffer) => bytes],
    ] as const) {
      const found = await bytesOf(port, '/console/main-1A2B.js', accepted);
      expect([accepted, found.coding]).toEqual([accepted, coding]);
      expect(open(found.bytes).toString()).toBe(SCRIPT);
    }
  });

  it('is kept for good where its name says what is in it, and else asked for again', async () => {
    const { port } = await start();
    const script = await ask({ port }, 'GET /console/main-1A2B.js');
    expect(script.headers['cache-control']).toBe('public, max-age=31536000, immutable');
    expect(script.headers['content-type']).toBe('text/javascript; charset=utf-8');
    const page = await ask({ port }, 'GET /');
    const known = { 'if-none-match': `"other", W/${page.headers.etag}` };
    const again = await ask({ port }, 'GET /', { headers: known });
    expect([again.status, again.text]).toEqual([304, '']);
    expect(again.headers['content-security-policy']).toBe(page.headers['content-security-policy']);
    const other = await ask({ port }, 'GET /', { headers: { 'if-none-match': '"other"' } });
    expect(other.status).toBe(200);
  });

  it('is read when it is first asked for, whole, and stays as it was then', async () => {
    const { port } = await start();
    await writeFile(join(folder, 'index.html'), 'written after the start');
    expect((await ask({ port }, 'GET /')).text).toBe('written after the start');
    await rm(join(folder, 'main-1A2B.js'));
    await writeFile(join(folder, 'index.html'), 'a later build');
    expect((await ask({ port }, 'GET /')).text).toBe('written after the start');
    expect((await ask({ port }, 'GET /console/main-1A2B.js')).text).toBe(SCRIPT);
  });

  it('that was not built says so, until it is', async () => {
    const { port, onError } = await start();
    await rm(folder, { recursive: true });
    const { status, text } = await ask({ port }, 'GET /');
    expect([status, text]).toEqual([503, 'the console is not built: npm run build\n']);
    expect(onError).not.toHaveBeenCalled();
    folder = await mkdtemp(folder);
  });

  it.each([
    '/console/',
    '/console/index.html',
    '/console/no-token.html',
    '/console/main-1A2B.js.br',
    '/console/../index.html',
    '/console/..%2f..%2fpackage.json',
    '/console/%2e%2e/package.json',
    '/console/__proto__',
    '/console/main-1A2B.js/',
  ])('has nothing at %s', async (path) => {
    const { port } = await start();
    const { status, headers } = await ask({ port }, `GET ${path}`);
    expect(status).toBe(404);
    expect(headers['content-security-policy']).toContain("default-src 'none'");
  });

  it('is read and not written, and its head is that of the whole', async () => {
    const { port } = await start();
    const head = await ask({ port }, 'HEAD /');
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(String(PAGE.length));
    const post = await ask({ port }, 'POST /', { body: 'x' });
    expect([post.status, post.headers['allow'], post.headers['connection']]).toEqual([
      405,
      'GET, HEAD',
      'close',
    ]);
  });

  it('takes no token from its address, and no API does', async () => {
    const { port, admin } = await start();
    for (const name of ['token', 'access_token', 'authorization', 'key', '']) {
      const page = await ask({ port }, `GET /?${name}=${TOKEN}`);
      expect([page.status, page.text]).toEqual([400, expect.stringContaining('enter the token')]);
      const api = await ask({ port }, `GET /api/status?${name}=${TOKEN}`);
      expect([api.status, api.text]).toEqual([401, expect.not.stringContaining(TOKEN)]);
    }
    // As `http://user:token@host/` is sent.
    const basic = `Basic ${Buffer.from(`admin:${TOKEN}`).toString('base64')}`;
    const named = await ask({ port }, 'GET /api/status', { headers: { authorization: basic } });
    expect(named.status).toBe(401);
    const cookie = await ask({ port }, 'GET /api/status', {
      headers: { cookie: `token=${TOKEN}` },
    });
    expect(cookie.status).toBe(401);
    expect(admin.calls).toEqual([]);
  });
});

const ROTATE = 'POST /api/clients/ci/rotate';

describe('a page in a browser', () => {
  const withToken = { authorization: `Bearer ${TOKEN}` };

  it.each([
    ['127.0.0.1:4001', 'http://127.0.0.1:4001'],
    ['localhost:8080', 'http://localhost:8080'],
    ['LOCALHOST', 'http://localhost'],
    ['console.example', 'https://console.example'],
    ['console.example:443', 'https://console.example'],
    ['[::1]:4001', 'http://[::1]:4001'],
  ])('of this port (%s) uses the API', async (host, origin) => {
    const { admin, port } = await start();
    const headers = { ...withToken, host, origin, 'sec-fetch-site': 'same-origin' };
    expect((await ask({ port }, ROTATE, { headers, body: {} })).json).toEqual(ROTATED);
    const typed = { ...withToken, host, 'sec-fetch-site': 'none' };
    expect((await ask({ port }, 'GET /api/status', { headers: typed })).json).toEqual(STATUS);
    expect(admin.calls).toHaveLength(2);
  });

  it.each([
    ['of another site', { origin: 'https://evil.example' }],
    ['of another port', { origin: 'http://127.0.0.1:4000' }],
    ['of another name of this machine', { origin: 'http://localhost:4001' }],
    ['whose name begins alike', { origin: 'http://127.0.0.1:4001.evil.example' }],
    ['whose name ends alike', { origin: 'http://evil.example@127.0.0.1:4002' }],
    ['in a sandbox, or of a file', { origin: 'null' }],
    ['without a name', { origin: '' }],
    ['of another scheme', { origin: 'chrome-extension://127.0.0.1:4001' }],
    ['of two origins', { origin: 'http://127.0.0.1:4001, https://evil.example' }],
    ['of another site, that names none', { 'sec-fetch-site': 'cross-site' }],
    ['of a neighbour', { 'sec-fetch-site': 'same-site', origin: 'http://127.0.0.1:4001' }],
  ])('%s is refused, even with the token', async (_, fields) => {
    const { admin, port } = await start();
    const headers = { ...withToken, host: '127.0.0.1:4001', ...fields };
    for (const route of [ROTATE, 'GET /api/status', 'GET /api/live']) {
      const { status, json, headers: got } = await ask({ port }, route, { headers });
      expect([status, json['code']]).toEqual([403, 'origin_refused']);
      expect(Object.keys(got).join()).not.toContain('access-control');
    }
    expect(admin.calls).toEqual([]);
  });

  it('that has this port under its own name gets neither the page nor the API', async () => {
    const { admin, port } = await start();
    const host = 'rebound.evil.example';
    const headers = { ...withToken, host, origin: `http://${host}` };
    for (const route of ['GET /', 'GET /console/main-1A2B.js', 'GET /api/status', ROTATE]) {
      const { status, text } = await ask({ port }, route, { headers });
      expect([status, text]).toEqual([421, expect.not.stringContaining('page')]);
    }
    expect(admin.calls).toEqual([]);
  });
});
