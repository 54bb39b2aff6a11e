import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import type { FakeUpstream, Peer } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages, eventually, series } from '../support/stage.ts';
import { accept, opened, openWebSocket, refused } from '../support/websocket.ts';

const stage = createStages();
const JSON_TYPE = 'content-type: application/json';
const NO_DATABASE = JSON.stringify({
  error: { message: 'No connected db.', type: 'no_db_connection', param: null, code: '400' },
});
const REFUSED = '{"error":{"message":"Authentication Error","type":"token_not_found_in_db"}}';
const RETRIES = 'upstream_retries_total{kind="other_key"}';

/** How LiteLLM refuses a wrong key, with a database and without one. */
const REFUSALS = {
  401: (peer: Peer) => peer.answer('401 Unauthorized', REFUSED, JSON_TYPE),
  400: (peer: Peer) => peer.answer('400 Bad Request', NO_DATABASE, JSON_TYPE),
} as const;
const WAYS = [401, 400] as const;

/** A sidecar whose LiteLLM may run with either of two keys. */
async function twoKeys(settings: Record<string, string> = {}) {
  const it = await stage({ settings });
  const keys = { first: generateKey(), second: generateKey() };
  it.sidecar.upstreams.useKeys(new Secret(keys.first), new Secret(keys.second));
  return { ...it, ...keys };
}

const keyOf = (peer: Peer): string => (peer.values('authorization')[0] ?? '').slice(7);

/** One request that LiteLLM takes with this key alone; resolves to the keys that it was shown. */
async function serve(sidecar: Sidecar, upstream: FakeUpstream, key: string): Promise<string[]> {
  const asked = post(sidecar, 'x');
  const shown: string[] = [];
  for (;;) {
    const peer = await upstream.next();
    await peer.body;
    shown.push(keyOf(peer));
    if (keyOf(peer) === key) {
      peer.answer('200 OK', 'served');
      expect((await asked).text).toBe('served');
      return shown;
    }
    REFUSALS[401](peer);
  }
}

describe('with two keys live, a request', () => {
  it.each(WAYS)(
    'that is refused with %i for the first is sent again with the second',
    async (way) => {
      const { sidecar, upstream, first, second } = await twoKeys();
      const asked = post(sidecar, '{"n":1}');
      const peer = await upstream.next();
      expect(keyOf(peer)).toBe(first);
      REFUSALS[way](peer);
      const again = await upstream.next();
      expect(again.rawHead).toBe(peer.rawHead.replace(first, second));
      expect(String(await again.body)).toBe('{"n":1}');
      again.answer('200 OK', 'served');
      const { response, text } = await asked;
      expect([response.statusCode, text]).toEqual([200, 'served']);
      expect(await series(sidecar, RETRIES)).toBe(1);
      expect(sidecar.accessLines()).toMatchObject([{ status: 200, responseBytes: 6 }]);
    },
  );

  it.each(WAYS)('without a body, refused with %i, too', async (way) => {
    const { sidecar, upstream, second } = await twoKeys();
    const asked = get(sidecar);
    REFUSALS[way](await upstream.next());
    const again = await upstream.next();
    expect(keyOf(again)).toBe(second);
    again.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
  });

  it.each(WAYS)('in chunks, refused with %i when it is whole, goes up again whole', async (way) => {
    const { sidecar, upstream } = await twoKeys();
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.write('first');
    const peer = await upstream.next();
    await peer.bodyReaches(5);
    asked.request.end('second');
    await peer.body;
    REFUSALS[way](peer);
    const again = await upstream.next();
    expect(String(await again.body)).toBe('firstsecond');
    again.answer('200 OK', 'served');
    expect(String(await bodyOf(await asked.answer))).toBe('served');
  });

  it.each(WAYS)('refused with %i while its body is still coming: both halves go', async (way) => {
    const { sidecar, upstream } = await twoKeys();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', {
      fields: ['transfer-encoding: chunked'],
    });
    caller.send('5\r\nfirst\r\n');
    const peer = await upstream.next();
    await peer.bodyReaches(5);
    REFUSALS[way](peer);
    const again = await upstream.next();
    await again.bodyReaches(5);
    caller.send('6\r\nsecond\r\n0\r\n\r\n');
    expect(String(await again.body)).toBe('firstsecond');
    again.answer('200 OK', 'served');
    await caller.until('served');
    caller.leave();
  });

  it.each(WAYS)(
    'refused with %i whose body is too large to be kept: 503, try again',
    async (way) => {
      const { sidecar, upstream, second } = await twoKeys({ SIDECAR_REPLAY_BYTES: '1KiB' });
      const asked = post(sidecar, Buffer.alloc(100_000, 'x'));
      const peer = await upstream.next();
      await peer.body;
      REFUSALS[way](peer);
      const { response } = await asked;
      expect(response.statusCode).toBe(503);
      expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
      expect(response.headers['retry-after']).toBe('1');
      expect(upstream.requests).toHaveLength(1);
      expect(await series(sidecar, RETRIES)).toBe(0);
      // A small one finds out which key is right, and the next large one passes.
      await serve(sidecar, upstream, second);
      const large = post(sidecar, Buffer.alloc(100_000, 'x'));
      const taken = await upstream.next();
      expect(keyOf(taken)).toBe(second);
      await taken.body;
      taken.answer('200 OK', 'large');
      expect((await large).text).toBe('large');
    },
  );

  it("that meets a provider's own 401 with both keys gets the second one as it is", async () => {
    const { sidecar, upstream } = await twoKeys();
    const asked = post(sidecar);
    REFUSALS[401](await upstream.next());
    const own = '{"error":{"message":"the provider says no"}}';
    (await upstream.next()).answer('401 Unauthorized', own, JSON_TYPE, 'www-authenticate: x');
    const { response, text } = await asked;
    expect([response.statusCode, text]).toEqual([401, own]);
    expect(response.headers['www-authenticate']).toBe('x');
    expect(response.headers['x-sidecar-refusal']).toBeUndefined();
    expect(upstream.requests).toHaveLength(2);
  });

  it('that meets 400 no_db_connection with both keys gets that', async () => {
    const { sidecar, upstream } = await twoKeys();
    const asked = post(sidecar);
    REFUSALS[400](await upstream.next());
    REFUSALS[400](await upstream.next());
    const { response, text } = await asked;
    expect([response.statusCode, text]).toEqual([400, NO_DATABASE]);
    expect(upstream.requests).toHaveLength(2);
  });

  const CHUNKS = [
    '{"error":{"message":"bad model, \\"type\\":\\"no_db_connection\\"",',
    '"code":"400"}}',
  ];
  it.each([
    ['in JSON', [JSON_TYPE], CHUNKS],
    [
      'of 16 KiB and more',
      [JSON_TYPE],
      [`{"a":"${'x'.repeat(20_000)}"`, ',"type":"no_db_connection"}'],
    ],
    ['that is no JSON', ['content-type: text/plain'], [NO_DATABASE]],
    ['without a type', [], [NO_DATABASE]],
    ['without a body', [JSON_TYPE], []],
  ])('that meets another 400, %s, gets it byte for byte', async (_, fields, chunks) => {
    const { sidecar, upstream } = await twoKeys();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const peer = await upstream.next();
    const length = chunks.join('').length;
    peer.head('400 Not At All', ...fields, 'X-Own: 1', 'x-own: 2', `content-length: ${length}`);
    for (const chunk of chunks) {
      peer.write(chunk);
      await new Promise(setImmediate);
    }
    const text = await caller.until(chunks.at(-1) ?? '\r\n\r\n');
    const [head = '', body] = text.split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 400 Not At All\r\n/);
    expect(head).toContain('X-Own: 1\r\nx-own: 2\r\n');
    expect(body).toBe(chunks.join(''));
    caller.leave();
    expect(upstream.requests).toHaveLength(1);
  });

  it('that meets a 400 whose end never comes is told so: 502', async () => {
    const { sidecar, upstream } = await twoKeys();
    const asked = post(sidecar);
    const peer = await upstream.next();
    peer.head('400 Bad Request', JSON_TYPE, 'transfer-encoding: chunked');
    peer.chunk('{"error":');
    await new Promise(setImmediate);
    peer.socket.end();
    const { response } = await asked;
    expect(response.statusCode).toBe(502);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_failed');
    expect(upstream.requests).toHaveLength(1);
  });

  it('whose client leaves between the two tries is not sent again for nothing', async () => {
    const { sidecar, upstream } = await twoKeys();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const peer = await upstream.next();
    peer.head('400 Bad Request', JSON_TYPE, 'transfer-encoding: chunked');
    peer.chunk('{"error":');
    caller.leave();
    await peer.gone;
    await eventually(() => sidecar.accessLines().find((line) => line['outcome'] !== undefined));
    expect(upstream.requests).toHaveLength(1);
  });
});

describe('the order of two keys', () => {
  it('is that of what LiteLLM took last', async () => {
    const { sidecar, upstream, first, second } = await twoKeys();
    expect(await serve(sidecar, upstream, second)).toEqual([first, second]);
    expect(await serve(sidecar, upstream, second)).toEqual([second]);
    expect(await serve(sidecar, upstream, first)).toEqual([second, first]);
    expect(await serve(sidecar, upstream, first)).toEqual([first]);
    expect(await series(sidecar, RETRIES)).toBe(2);
  });

  it('learns from an answer that is no refusal, whatever else it is', async () => {
    const { sidecar, upstream, second } = await twoKeys();
    for (const status of ['429 Too Many Requests', '400 Bad Request']) {
      sidecar.upstreams.useKeys(new Secret(generateKey()), new Secret(second));
      const asked = post(sidecar);
      REFUSALS[401](await upstream.next());
      (await upstream.next()).answer(status, '{"error":{"type":"other"}}', JSON_TYPE);
      expect((await asked).response.statusCode).toBe(Number(status.slice(0, 3)));
      expect(await serve(sidecar, upstream, second)).toEqual([second]);
    }
  });

  it('is over with one key: a 401 is an answer like any other', async () => {
    const { sidecar, upstream, first, second } = await twoKeys();
    expect(await serve(sidecar, upstream, second)).toEqual([first, second]);
    sidecar.upstreams.useKeys(new Secret(first), undefined);
    const asked = post(sidecar);
    const peer = await upstream.next();
    expect(keyOf(peer)).toBe(first);
    REFUSALS[401](peer);
    const { response, text } = await asked;
    expect([response.statusCode, text]).toEqual([401, REFUSED]);
    expect(upstream.requests).toHaveLength(3);
  });

  it('that changes under way: the second try goes with what is best then', async () => {
    const { sidecar, upstream } = await twoKeys();
    const asked = post(sidecar);
    const peer = await upstream.next();
    const third = generateKey();
    sidecar.upstreams.useKeys(new Secret(third), undefined);
    REFUSALS[401](peer);
    const again = await upstream.next();
    expect(keyOf(again)).toBe(third);
    again.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
  });
});

describe('a second try', () => {
  it('on a connection that had died of old age is still made with the other key', async () => {
    const { sidecar, upstream, first, second } = await twoKeys();
    const asked = post(sidecar);
    const peer = await upstream.next();
    REFUSALS[400](peer);
    // The 400 was read whole, so its connection is used again.
    const dying = await upstream.next();
    expect([dying.connection, keyOf(dying)]).toEqual([0, second]);
    dying.reset();
    const again = await upstream.next();
    expect(keyOf(again)).toBe(second);
    expect(again.rawHead).not.toContain(first);
    again.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
  });

  it('waits where LiteLLM went away in between', async () => {
    const { sidecar, upstream, second } = await twoKeys({ SIDECAR_HOLD: '30s' });
    const asked = post(sidecar);
    const peer = await upstream.next();
    peer.socket.once('close', () => undefined);
    const stopped = new Promise<void>((resolve) => {
      REFUSALS[401](peer);
      void upstream.stop().then(resolve);
    });
    await stopped;
    await eventually(() => (sidecar.upstreams.held() === 1 ? true : undefined));
    await upstream.start();
    const again = await upstream.next();
    expect(keyOf(again)).toBe(second);
    again.answer('200 OK', 'served');
    expect((await asked).text).toBe('served');
  });
});

describe('a WebSocket with two keys live', () => {
  it('that is refused with 403 is asked for again with the other one, and opens', async () => {
    const { sidecar, upstream, first, second } = await twoKeys();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    expect(keyOf(peer)).toBe(first);
    peer.answer('403 Forbidden');
    const again = await upstream.next();
    expect(keyOf(again)).toBe(second);
    const server = await accept(again);
    await opened(client);
    server.send('hello');
    const [data] = await new Promise<[unknown]>((resolve) => {
      client.once('message', (...args) => resolve(args as unknown as [unknown]));
    });
    expect(String(data)).toBe('hello');
    expect(await series(sidecar, RETRIES)).toBe(1);
    client.terminate();
    // The next one goes with the right key at once.
    expect(await serve(sidecar, upstream, second)).toEqual([second]);
  });

  it('that is refused with both gets the second answer, alone and whole', async () => {
    const { sidecar, upstream } = await twoKeys();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    peer.head('403 Forbidden', 'content-length: 100');
    peer.write('the first, not all of it');
    (await upstream.next()).answer('403 Forbidden', 'no such model');
    const { response, text } = await refused(client);
    expect([response.statusCode, text]).toEqual([403, 'no such model']);
    await peer.gone;
    expect(upstream.requests).toHaveLength(2);
    await eventually(() => sidecar.accessLines().find(({ status }) => status === 403));
  });

  it('with one key a 403 is passed on at once', async () => {
    const { sidecar, upstream, first } = await twoKeys();
    sidecar.upstreams.useKeys(new Secret(first), undefined);
    const client = openWebSocket(sidecar);
    (await upstream.next()).answer('403 Forbidden', 'no');
    expect((await refused(client)).text).toBe('no');
    expect(upstream.requests).toHaveLength(1);
  });
});
