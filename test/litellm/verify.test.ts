import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { generateKey, isWellFormedKey } from '../../src/keyring/key.ts';
import { askReadiness, type Verification, verifyLitellm } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';
import { createServers } from '../support/servers.ts';

const KEY = generateKey();
const NO_DB = { error: { message: 'No connected db.', type: 'no_db_connection', code: '400' } };
const NO_KEY = { error: { message: 'Authentication Error', type: 'auth_error', code: '401' } };
const list = (...ids: unknown[]) => ({ data: ids.map((id) => ({ id, object: 'model' })) });

const { listen, endAll } = createServers();

type Said = readonly [status: number, body: unknown];

/** A LiteLLM that answers a question with its key, and one with any other. */
async function litellm(
  right: Said | ((response: ServerResponse) => void),
  wrong: Said | ((response: ServerResponse) => void) = [400, NO_DB],
) {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    const isRight = Object.values(request.headers).includes(`Bearer ${KEY}`);
    const said = isRight ? right : wrong;
    if (typeof said === 'function') return said(response);
    const [status, body] = said;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  const origin = await listen(server);
  const verify = (more: Partial<Verification> = {}) =>
    verifyLitellm({
      ...{ origin, rootPath: '', key: new Secret(KEY), keyHeader: undefined, timeoutMs: 2000 },
      ...more,
    });
  return { origin, seen, verify };
}

describe('verifyLitellm', () => {
  it('is good where it lists models and refuses a key that was made up', async () => {
    const { verify, seen, origin } = await litellm([200, list('b', 'a', 'b')]);
    expect(await verify()).toEqual({ kind: 'good', models: ['a', 'b'] });
    expect(seen.map(({ method, url }) => [method, url])).toEqual([
      ['GET', '/v1/models'],
      ['GET', '/v1/models'],
    ]);
    const [own, other] = seen.map(({ headers }) => headers.authorization?.slice(7) ?? '');
    expect(own).toBe(KEY);
    expect(other).not.toBe(KEY);
    expect(isWellFormedKey(other ?? '')).toBe(true);
    expect(seen.map(({ headers }) => headers.host)).toEqual([origin.host, origin.host]);
    expect(seen[0]?.headers.connection).toBe('close');
  });

  it('asks below the root path, in the header and with the host that it is told', async () => {
    const { verify, seen } = await litellm([200, list('a')], [401, NO_KEY]);
    const how = { rootPath: '/llm', keyHeader: 'x-my-key', host: 'gateway.example' };
    expect((await verify(how)).kind).toBe('good');
    expect(seen.map(({ url }) => url)).toEqual(['/llm/v1/models', '/llm/v1/models']);
    expect(seen.map(({ headers }) => headers.host)).toEqual([how.host, how.host]);
    expect(seen[0]?.headers['x-my-key']).toBe(`Bearer ${KEY}`);
    expect(seen[1]?.headers['x-my-key']).toMatch(/^Bearer sk-/);
    expect(seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  it.each([
    ['another key', [401, NO_KEY], { kind: 'refuses_key', status: 401 }],
    ['another key, behind something', [403, 'no'], { kind: 'refuses_key', status: 403 }],
    ['another key, without a database', [400, NO_DB], { kind: 'refuses_key', status: 400 }],
    ['a bad request', [400, { error: { type: 'x' } }], { kind: 'not_litellm', status: 400 }],
    ['no such page', [404, { detail: 'Not Found' }], { kind: 'not_litellm', status: 404 }],
    ['a redirect', [307, ''], { kind: 'not_litellm', status: 307 }],
    ['a page', [200, '<html>'], { kind: 'not_litellm', status: 200 }],
    ['other JSON', [200, { data: { id: 'a' } }], { kind: 'not_litellm', status: 200 }],
    ['null', [200, 'null'], { kind: 'not_litellm', status: 200 }],
    ['an empty list elsewhere', [201, list('a')], { kind: 'not_litellm', status: 201 }],
    ['that it starts', [503, ''], { kind: 'silent' }],
    ['a crash', [500, NO_KEY], { kind: 'silent' }],
    ['no model', [200, list()], { kind: 'no_models' }],
    ['no model with a name', [200, list(null, 7, '', '\u001b[m')], { kind: 'no_models' }],
    ['models of no form', [200, { data: [null, 1, 'x', []] }], { kind: 'no_models' }],
  ] as [string, Said, object][])('sees in the answer %s', async (_, said, verdict) => {
    const { verify } = await litellm(said);
    expect(await verify()).toEqual(verdict);
  });

  it.each([
    [401, 'good'],
    [403, 'good'],
    [400, 'good'],
    [429, 'good'],
    [200, 'accepts_any_key'],
    [204, 'accepts_any_key'],
    [302, 'not_litellm'],
    [500, 'silent'],
    [503, 'silent'],
  ])('takes a %i to a made-up key for %s', async (status, kind) => {
    const { verify } = await litellm([200, list('a')], [status, '']);
    expect((await verify()).kind).toBe(kind);
  });

  it('names one that takes any key so, even where it lists nothing', async () => {
    const { verify } = await litellm([200, list()], [200, list()]);
    expect(await verify()).toEqual({ kind: 'accepts_any_key' });
  });

  it('keeps a thousand names, printable and to 200 characters', async () => {
    const names = Array.from({ length: 1500 }, (_, n) => `m${String(n).padStart(4, '0')}`);
    const odd = `0\u001b[31m\u202e\n${'x'.repeat(300)}`;
    const { verify } = await litellm([200, list(...names.toReversed(), odd)]);
    const verdict = await verify();
    const models = verdict.kind === 'good' ? verdict.models : [];
    expect(models).toHaveLength(1000);
    expect(models.slice(0, 2)).toEqual([`0${'x'.repeat(198)}…`, 'm0000']);
    expect(models.at(-1)).toBe('m0998');
  });

  it('reads four MiB and no more', async () => {
    const padded = (bytes: number) => `${JSON.stringify(list('a'))}${' '.repeat(bytes)}`;
    const fits = await litellm([200, padded(4_000_000)]);
    expect((await fits.verify()).kind).toBe('good');
    const endless = await litellm((response) => {
      const fill = (): boolean => response.write(' '.repeat(65_536)) && fill();
      response.on('drain', fill);
      fill();
    });
    expect(await endless.verify()).toEqual({ kind: 'not_litellm', status: 200 });
  });

  it.each([
    ['says nothing', () => undefined],
    ['hangs up', (response: ServerResponse) => response.destroy()],
    ['breaks off', (response: ServerResponse) => response.write('{"da', () => response.destroy())],
    ['stops half way', (response: ServerResponse) => response.write('{"da')],
  ])('is silent where it %s, at either question', async (_, end) => {
    const first = await litellm(end);
    expect(await first.verify({ timeoutMs: 100 })).toEqual({ kind: 'silent' });
    const second = await litellm([200, list('a')], end);
    expect(await second.verify({ timeoutMs: 300 })).toEqual({ kind: 'silent' });
  });

  it('has no patience with a byte now and then', async () => {
    const drip = await litellm((response) => {
      const timer = setInterval(() => response.write(' '), 5);
      response.once('close', () => clearInterval(timer));
    });
    expect(await drip.verify({ timeoutMs: 100 })).toEqual({ kind: 'silent' });
  });

  it('is silent where nobody listens, and where the name does not resolve', async () => {
    const { verify, origin } = await litellm([200, list('a')]);
    endAll();
    expect(await verify({ origin })).toEqual({ kind: 'silent' });
    const nowhere = new URL('http://litellm.invalid:4000');
    expect(await verify({ origin: nowhere })).toEqual({ kind: 'silent' });
  });

  it('is no LiteLLM where it speaks something else', async () => {
    const origin = await listen(
      createNetServer((socket) => {
        socket.on('error', () => undefined).end('-ERR unknown command\r\n');
      }),
    );
    const how = { origin, rootPath: '', key: new Secret(KEY), keyHeader: undefined };
    expect(await verifyLitellm(how)).toEqual({ kind: 'not_litellm', status: 0 });
  });

  it('does not throw over a key that no header can carry', async () => {
    const { verify } = await litellm([200, list('a')]);
    expect(await verify({ key: new Secret('a\nb') })).toEqual({ kind: 'silent' });
  });
});

describe('askReadiness', () => {
  it.each([
    [200, { status: 'healthy', db: 'Not connected' }, false],
    [200, { status: 'healthy', db: 'connected', cache: null }, true],
    [200, { status: 'healthy', db: 'disconnected' }, true],
    [503, { status: 'healthy', db: 'disconnected' }, true],
    [503, { status: 'healthy', db: 'stalled' }, true],
    [503, { status: 'shutting_down' }, undefined],
    [503, { detail: 'Service Unhealthy (x)' }, undefined],
    [200, { db: 'something new' }, undefined],
    [200, { db: null }, undefined],
    [200, 'ok', undefined],
    [401, { db: 'connected' }, undefined],
    [404, { detail: 'Not Found' }, undefined],
  ])('%i %j', async (status, body, database) => {
    const { origin, seen } = await litellm([200, ''], [status, body]);
    expect(await askReadiness({ origin, rootPath: '/llm' })).toEqual({ database });
    expect(seen.map(({ url }) => url)).toEqual(['/llm/health/readiness']);
    expect(seen[0]?.headers.authorization).toBeUndefined();
  });

  it('does not know where nobody answers', async () => {
    const { origin } = await litellm([200, ''], () => undefined);
    const asked = { origin, rootPath: '', timeoutMs: 50 };
    expect(await askReadiness(asked)).toEqual({ database: undefined });
    endAll();
    expect(await askReadiness(asked)).toEqual({ database: undefined });
  });
});
