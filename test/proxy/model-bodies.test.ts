import { randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import { createGatewayStages } from '../support/gateway-stage.ts';
import { knownKey, policyWith, snapshotOf } from '../support/policies.ts';
import { openWebSocket, refused } from '../support/websocket.ts';

const stage = createGatewayStages();
const KEY = generateKey();

/** A gateway whose one client may use `mock` and what begins with `gpt-4o`. */
async function restricted() {
  const it = await stage();
  const keyring = snapshotOf([[KEY, knownKey('ci', { models: ['mock', 'gpt-4o*'] })]]);
  it.policy.current = policyWith({ admission: { ...policyWith().admission, keyring } });
  const { port, upstream } = it;
  return { ...it, client: { port, key: KEY }, sent: () => upstream.requests.length };
}

const chat = (model: string, text = 'hello'): string =>
  JSON.stringify({ messages: [{ role: 'user', content: text }], model });

async function refusalOf(response: IncomingMessage): Promise<string> {
  const { error } = JSON.parse(String(await bodyOf(response))) as { error: { message: string } };
  return `${response.statusCode} ${response.headers['x-sidecar-refusal']}: ${error.message}`;
}

const DENIED = '403 model_denied: this key may not use the model "evil": it may use mock, gpt-4o*';

/** More than is read at once: the sidecar sees it in several pieces. */
const LONG = 'x'.repeat(300_000);
/** So many bytes of it go up before its last piece is here. */
const BEGUN = 100_000;

describe('a body that is here whole', () => {
  it('is judged before anything of it is sent, and its connection serves the next', async () => {
    const { client, upstream, sent, records } = await restricted();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const { response } = await post(client, chat('evil'), { agent });
    expect(response.headers['x-sidecar-refusal']).toBe('model_denied');
    expect(response.headers.connection).toBe('keep-alive');
    expect(sent()).toBe(0);
    const asked = post(client, chat('mock'), { agent });
    const peer = await upstream.next();
    expect(String(await peer.body)).toBe(chat('mock'));
    peer.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
    agent.destroy();
    expect(records).toMatchObject([
      { status: 403, refusal: 'model_denied', slot: '-', overheadMs: -1 },
      { status: 200, slot: 'a' },
    ]);
  });

  it('is refused in the shape that its route reads', async () => {
    const { client } = await restricted();
    const { text } = await post(client, chat('evil'), { path: '/v1/messages' });
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'permission_error' } });
    const path = '/v1beta/models/evil:generateContent';
    expect(JSON.parse((await post(client, '{}', { path })).text)).toMatchObject({
      error: { status: 'PERMISSION_DENIED' },
    });
  });
});

describe('a body that comes in pieces', () => {
  it('goes up as it comes, and has its end when it has passed', async () => {
    const { client, upstream } = await restricted();
    const { request, answer } = ask(client, { method: 'POST', path: '/v1/chat/completions' });
    request.write(`{"user":"${LONG}",`);
    const peer = await upstream.next();
    await peer.bodyReaches(BEGUN);
    request.end('"model":"mock"}');
    expect(String(await peer.body)).toBe(`{"user":"${LONG}","model":"mock"}`);
    peer.answer('200 OK', 'served');
    expect(String(await bodyOf(await answer))).toBe('served');
  });

  it.each([
    ['with another model', '"model":"evil"}', DENIED],
    ['with another model in the middle of more', `"model":"evil","a":"${LONG}"}`, DENIED],
    ['without a model', '"a":"b"}', 'the request names none'],
    ['that does not end', '"model":"mock"', 'does not end'],
  ])('%s never reaches LiteLLM whole', async (_, end, why) => {
    const begin = `{"user":"${LONG}",`;
    const { client, upstream } = await restricted();
    for (const headers of [{}, { 'content-length': begin.length + end.length }]) {
      const options = { method: 'POST', path: '/v1/chat/completions', headers };
      const { request, answer } = ask(client, options);
      request.write(begin);
      const peer = await upstream.next();
      await peer.bodyReaches(BEGUN);
      request.end(end);
      expect(await refusalOf(await answer)).toContain(why);
      await peer.gone;
      expect(peer.bodyBytes).toBeLessThan(begin.length + end.length);
    }
  });

  it('is refused behind 150 MB of text, with the memory of a few chunks', async () => {
    const { client, upstream } = await restricted();
    const mb = Buffer.alloc(1024 * 1024, 'word ');
    const asked = ask(client, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.write(`{"messages":[{"content":"${LONG}`);
    const peer = await upstream.next();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (let at = 0; at < 150; at++) {
      if (!asked.request.write(mb)) {
        await new Promise((resolve) => asked.request.once('drain', resolve));
      }
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    await peer.bodyReaches(145 * mb.length);
    asked.request.end('"}],"model":"evil"}');
    expect(await refusalOf(await asked.answer)).toBe(DENIED);
    await peer.gone;
    expect(peer.bodyBytes).toBeLessThan(150 * mb.length + LONG.length + 40);
    // The fake LiteLLM in this process keeps 16 of it, and some waits for the garbage collector.
    expect(most).toBeLessThan(100 * mb.length);
  });

  it('of a form with a file passes byte by byte, or is refused for a model behind it', async () => {
    const { client, upstream } = await restricted();
    const file = randomBytes(300_000);
    const form = (model: string): Buffer =>
      Buffer.concat([
        Buffer.from('--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'),
        file,
        Buffer.from(
          `\r\n--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--XX--\r\n`,
        ),
      ]);
    const options = {
      path: '/v1/audio/transcriptions',
      headers: { 'content-type': 'multipart/form-data; boundary=XX' },
    };
    const passing = post(client, form('mock'), options);
    const peer = await upstream.next();
    expect((await peer.body).equals(form('mock'))).toBe(true);
    peer.answer('200 OK', 'served');
    expect((await passing).text).toBe('served');
    const { response } = await post(client, form('evil'), options);
    expect(response.statusCode).toBe(403);
    const other = await upstream.next();
    await other.gone;
    expect(other.bodyBytes).toBeLessThan(form('evil').length);
  });
});

describe('a body in gzip', () => {
  const options = { headers: { 'content-encoding': 'gzip' } };

  it('goes up as it is once it has passed', async () => {
    const { client, upstream } = await restricted();
    const zipped = gzipSync(chat('gpt-4o-mini', randomBytes(200_000).toString('base64')));
    const asked = post(client, zipped, options);
    const peer = await upstream.next();
    expect((await peer.body).equals(zipped)).toBe(true);
    peer.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
  });

  it.each([
    ['with another model', gzipSync(chat('evil')), '"evil"'],
    [
      'with another model, longer than a chunk',
      gzipSync(chat('evil', randomBytes(200_000).toString('base64'))),
      '"evil"',
    ],
    ['that is a bomb', gzipSync(chat('mock', 'x'.repeat(60_000_000))), 'too large'],
    ['that is none', Buffer.from(chat('mock')), 'no gzip'],
  ])('%s never reaches LiteLLM whole', async (_, zipped, why) => {
    const { client, upstream } = await restricted();
    const asked = ask(client, { method: 'POST', path: '/v1/chat/completions', ...options });
    asked.request.end(zipped);
    expect(await refusalOf(await asked.answer)).toContain(why);
    for (const peer of upstream.requests) {
      await peer.gone;
      expect(peer.bodyBytes).toBeLessThan(zipped.length);
    }
  });
});

/** A request whose body is sent in pieces, each of which is read before the next is sent. */
async function inPieces(
  { client, exchanges }: Awaited<ReturnType<typeof restricted>>,
  pieces: readonly string[],
) {
  const asked = ask(client, { method: 'POST', path: '/v1/chat/completions' });
  for (const piece of pieces) {
    asked.request.write(piece);
    await expect.poll(() => exchanges.count('all')).toBe(1);
    // The gateway is in this process: what was written is read within the next turns.
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  }
  return asked;
}

/** Has one request served, so that the next goes on a connection that was used. */
async function warmUp({ client, upstream }: Awaited<ReturnType<typeof restricted>>) {
  const asked = post(client, chat('mock'));
  const peer = await upstream.next();
  await peer.body;
  peer.answer('200 OK', 'served');
  await asked;
  return peer.connection;
}

describe('a second try', () => {
  it.each([
    ['a body that was whole', []],
    ['a body in pieces', [chat('mock').slice(0, 20), chat('mock').slice(20, 30)]],
  ])('of %s sends what was judged, and is not judged again', async (_, before) => {
    const it = await restricted();
    const used = await warmUp(it);
    const { request, answer } = await inPieces(it, before);
    request.end(chat('mock').slice(before.join('').length));
    const dying = await it.upstream.next();
    expect(dying.connection).toBe(used);
    await dying.body;
    dying.reset();
    const again = await it.upstream.next();
    expect(String(await again.body)).toBe(chat('mock'));
    again.answer('200 OK', 'again');
    expect(String(await bodyOf(await answer))).toBe('again');
  });

  it('in the middle of a body goes on with its check', async () => {
    const it = await restricted();
    await warmUp(it);
    const { request, answer } = await inPieces(it, ['{"a":1,', '"b":2,']);
    const dying = await it.upstream.next();
    await dying.bodyReaches(7);
    dying.reset();
    request.end('"model":"evil"}');
    expect(await refusalOf(await answer)).toBe(DENIED);
    for (const peer of it.upstream.requests.slice(1)) {
      await peer.gone;
      expect(peer.bodyBytes).toBeLessThan(28);
    }
  });
});

describe('a list of models', () => {
  const JSON_TYPE = 'Content-Type: application/json';
  const LIST = JSON.stringify({ object: 'list', data: [{ id: 'mock' }, { id: 'evil' }] });
  const LEFT = { object: 'list', data: [{ id: 'mock' }] };

  it('has none but those that the client may use', async () => {
    const { client, upstream } = await restricted();
    const asked = get(client, '/v1/models', { headers: { 'accept-encoding': 'gzip' } });
    const peer = await upstream.next();
    expect(peer.values('accept-encoding')).toEqual([]);
    peer.answer('200 OK', LIST, JSON_TYPE, 'ETag: "x"', 'X-Litellm-Version: 1');
    const { response, text } = await asked;
    expect(JSON.parse(text)).toEqual(LEFT);
    expect(response.headers).toMatchObject({
      'content-length': String(text.length),
      'content-type': 'application/json',
      'x-litellm-version': '1',
    });
    expect(response.headers.etag).toBeUndefined();
  });

  it('is read in chunks, too', async () => {
    const { client, upstream } = await restricted();
    const asked = get(client, '/models');
    const peer = await upstream.next();
    peer.head('200 OK', JSON_TYPE, 'Transfer-Encoding: chunked');
    peer.chunk(LIST.slice(0, 30));
    peer.chunk(LIST.slice(30));
    peer.write('0\r\n\r\n');
    expect(JSON.parse((await asked).text)).toEqual(LEFT);
  });

  it.each([
    ['is no list', '{"a":1}', [], 'cannot be read'],
    ['is no JSON', 'evil', [], 'cannot be read'],
    [
      'is compressed all the same',
      gzipSync(LIST).toString('latin1'),
      ['Content-Encoding: gzip'],
      'cannot be read',
    ],
    ['is too long', `${LIST}${' '.repeat(4 * 1024 * 1024)}`, [], 'is longer than 4 MiB'],
  ])('that %s is a 502', async (_, body, fields, why) => {
    const { client, upstream, records } = await restricted();
    const asked = ask(client, { path: '/v1/models' });
    asked.request.end();
    (await upstream.next()).answer('200 OK', body, ...fields);
    expect(await refusalOf(await asked.answer)).toMatch(
      `502 upstream_failed: LiteLLM's list of models ${why}`,
    );
    await expect.poll(() => records).toMatchObject([{ status: 502, refusal: 'upstream_failed' }]);
  });

  it('that LiteLLM refuses is handed on as it is', async () => {
    const { client, upstream } = await restricted();
    const asked = get(client);
    (await upstream.next()).answer('500 Internal Server Error', 'oh', 'Content-Encoding: x');
    const { response, text } = await asked;
    expect([response.statusCode, text]).toEqual([500, 'oh']);
  });

  it('that breaks off is no list', async () => {
    const { client, upstream } = await restricted();
    const asked = ask(client, { path: '/v1/models' });
    asked.request.end();
    const peer = await upstream.next();
    peer.head('200 OK', JSON_TYPE, `Content-Length: ${LIST.length}`);
    peer.write(LIST.slice(0, 20));
    peer.reset();
    expect(await refusalOf(await asked.answer)).toContain('502 upstream_failed');
  });

  it('is as LiteLLM made it for a client that may use all', async () => {
    const { client, policy, upstream } = await restricted();
    const keyring = snapshotOf([[KEY, knownKey('ci')]]);
    policy.current = policyWith({ admission: { ...policyWith().admission, keyring } });
    const asked = get(client, '/v1/models', { headers: { 'accept-encoding': 'gzip' } });
    const peer = await upstream.next();
    expect(peer.values('accept-encoding')).toEqual(['gzip']);
    peer.answer('200 OK', LIST);
    expect((await asked).text).toBe(LIST);
  });
});

describe('a WebSocket', () => {
  it('to a model that its client may not use is refused before LiteLLM hears of it', async () => {
    const { client, sent } = await restricted();
    // It asks for the model `m`.
    const { response, text } = await refused(openWebSocket(client));
    expect([response.statusCode, response.headers['x-sidecar-refusal']]).toEqual([
      403,
      'model_denied',
    ]);
    expect(text).toContain('"m\\"');
    expect(sent()).toBe(0);
  });
});
