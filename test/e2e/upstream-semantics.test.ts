import { describe, expect, it } from 'vitest';
import { ask, get, post } from '../support/ask.ts';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { createStages, eventually, series } from '../support/stage.ts';

const stage = createStages();

describe('an answer', () => {
  it('to HEAD has its length and no body, and the connection goes on', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'HEAD /v1/models');
    (await upstream.next()).head('200 OK', 'content-length: 1234');
    expect(await caller.until('\r\n\r\n')).toMatch(/content-length: 1234\r\n/i);
    caller.send(requestBytes(sidecar, 'GET /v1/models'));
    (await upstream.next()).answer('200 OK', 'next');
    expect(await caller.until('next')).not.toContain('transfer-encoding');
  });

  it('to HEAD that says chunked has no body either', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'HEAD /v1/models');
    (await upstream.next()).head('200 OK', 'transfer-encoding: chunked');
    await caller.until('\r\n\r\n');
    caller.send(requestBytes(sidecar, 'GET /v1/models'));
    (await upstream.next()).answer('200 OK', 'next');
    expect(await caller.until('next')).toMatch(/\r\n\r\nHTTP\/1\.1 200 OK[\s\S]*next$/);
  });

  it.each([
    ['204 No Content', []],
    ['204 No Content', ['content-length: 4']],
    ['304 Not Modified', ['etag: "a"', 'content-length: 99']],
  ])('%s has no body, and the connection goes on', async (status, fields) => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/models');
    (await upstream.next()).head(status, ...fields);
    expect(await caller.until('\r\n\r\n')).toContain(`HTTP/1.1 ${status}\r\n`);
    caller.send(requestBytes(sidecar, 'GET /v1/models'));
    (await upstream.next()).answer('200 OK', 'next');
    expect(await caller.until('next')).toMatch(/\r\n\r\nHTTP\/1\.1 200 OK[\s\S]*next$/);
  });

  it.each(['200 Fine', '299 ', '418 I am a teapot', '599 Whatever'])(
    'keeps its status and its words: %s',
    async (status) => {
      const { sidecar, upstream } = await stage();
      const caller = await callWith(sidecar, 'GET /v1/models');
      (await upstream.next()).answer(status, 'body');
      expect(await caller.until('body')).toContain(`HTTP/1.1 ${status}\r\n`);
      await eventually(() =>
        sidecar.accessLines().find((line) => line['status'] === Number.parseInt(status, 10)),
      );
    },
  );

  it.each(['HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n', 'HTTP/1.1 099 Odd\r\n\r\n'])(
    'that no request asked for is a 502: %j',
    async (said) => {
      const { sidecar, upstream } = await stage({ script: (peer) => void peer.write(said) });
      expect((await get(sidecar)).response.statusCode).toBe(502);
      for (const peer of upstream.requests) await peer.gone;
    },
  );

  it('keeps each of several fields of a name, in their order', async () => {
    const { sidecar, upstream } = await stage();
    const asked = get(sidecar);
    (await upstream.next()).answer('200 OK', '', 'Set-Cookie: a=1', 'X-A: ä', 'set-cookie: b=2');
    const { response } = await asked;
    expect(response.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(response.rawHeaders).toContain('Set-Cookie');
    expect(Buffer.from(response.headers['x-a'] as string, 'latin1').toString()).toBe('ä');
  });

  it('behind a 103: the client gets the answer alone', async () => {
    const { sidecar, upstream } = await stage();
    const asked = get(sidecar);
    const peer = await upstream.next();
    peer.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
    peer.answer('200 OK', 'answer');
    const { response, text } = await asked;
    expect([response.statusCode, text, response.headers['link']]).toEqual([
      200,
      'answer',
      undefined,
    ]);
  });

  it('loses its hop-by-hop fields, and those its Connection names', async () => {
    const { sidecar, upstream } = await stage();
    const asked = get(sidecar);
    (await upstream.next()).answer(
      '200 OK',
      '',
      ...['connection: keep-alive, x-hop', 'x-hop: 1', 'keep-alive: timeout=1', 'x-kept: 1'],
      ...['proxy-authenticate: Basic'],
    );
    const { headers } = (await asked).response;
    expect(headers['x-kept']).toBe('1');
    for (const name of ['x-hop', 'proxy-authenticate']) expect(headers[name]).toBeUndefined();
    expect(headers['keep-alive']).not.toBe('timeout=1');
  });
});

describe('a client', () => {
  it('of HTTP/1.0 gets an answer without chunks, that ends with the connection', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(
      `GET /v1/models HTTP/1.0\r\nhost: gateway\r\nauthorization: Bearer ${sidecar.key}\r\n\r\n`,
    );
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.chunk('one ');
    peer.chunk('two');
    peer.write('0\r\n\r\n');
    expect(await caller.ended).toBe('end');
    expect(caller.received).toMatch(/\r\n\r\none two$/);
    expect(caller.received).not.toMatch(/transfer-encoding/i);
  });

  it('that does not wait for answers gets them in the order it asked', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    const paths = ['/v1/models?n=1', '/v1/models?n=2', '/v1/models?n=3'];
    caller.send(paths.map((path) => requestBytes(sidecar, `GET ${path}`)).join(''));
    const peers = [await upstream.next(), await upstream.next(), await upstream.next()];
    // The last is answered first.
    for (const peer of peers.reverse()) peer.answer('200 OK', `<${peer.target}>`);
    await caller.until('n=3>');
    const order = [...caller.received.matchAll(/<([^>]*)>/g)].map(([, path]) => path);
    expect(order).toEqual(paths);
  });

  it('that gets a refusal among answers keeps its connection and their order', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    const bare = 'GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n';
    const good = requestBytes(sidecar, 'GET /v1/models');
    caller.send(good + bare + good);
    const peers = [await upstream.next(), await upstream.next()];
    for (const peer of peers) peer.answer('200 OK', 'served');
    const all = await caller.until(/served[\s\S]*served/);
    expect(all.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 401', 'HTTP/1.1 200']);
  });

  it('of many at once: each gets its own answer, and connections are used again', async () => {
    const { sidecar, upstream } = await stage({
      script: async (peer) => peer.answer('200 OK', String(await peer.body)),
    });
    for (let round = 0; round < 3; round++) {
      const bodies = Array.from({ length: 50 }, (_, n) => `${round}-${n}`);
      const answers = await Promise.all(bodies.map((body) => post(sidecar, body)));
      expect(answers.map(({ text }) => text)).toEqual(bodies);
    }
    expect(upstream.requests).toHaveLength(150);
    expect(upstream.connections()).toBeLessThan(150);
    expect(await series(sidecar, 'requests_in_flight')).toBe(0);
  });

  it('of a method with a body that is seldom one: DELETE with a length passes', async () => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar, {
      method: 'DELETE',
      path: '/v1/files/f',
      headers: { 'content-length': 2 },
    });
    asked.request.end('{}');
    const peer = await upstream.next();
    expect([peer.method, String(await peer.body)]).toEqual(['DELETE', '{}']);
    peer.answer('200 OK');
    expect((await asked.answer).statusCode).toBe(200);
  });
});
