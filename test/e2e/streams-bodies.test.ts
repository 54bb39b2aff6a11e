import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import { createStages, series } from '../support/stage.ts';

const stage = createStages();
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Binary, and longer than a read now and then. */
const pieces = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 2000 }) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.integer({ min: 60_000, max: 200_000 }), fc.nat(255))
        .map(([size, seed]) => new Uint8Array(size).map((_, at) => (at * 31 + seed) % 256)),
    },
  ),
  { minLength: 1, maxLength: 8 },
);

/** Lets what was written go out as a packet of its own. */
const nextTurn = () => new Promise(setImmediate);

describe('bytes of bodies', () => {
  it('are the same both ways, however they are cut', { timeout: 60_000 }, async () => {
    const { sidecar, upstream } = await stage();
    await fc.assert(
      fc.asyncProperty(
        pieces,
        pieces,
        fc.boolean(),
        fc.boolean(),
        async (up, down, long, chunked) => {
          const length = up.reduce((sum, each) => sum + each.length, 0);
          const asked = ask(sidecar, {
            method: 'POST',
            path: '/v1/audio/transcriptions',
            headers: long ? { 'content-length': length } : {},
          });
          const sent = (async () => {
            for (const piece of up) {
              asked.request.write(piece);
              await nextTurn();
            }
            asked.request.end();
          })();
          const peer = await upstream.next();
          expect(digest(await peer.body)).toBe(digest(Buffer.concat(up)));
          await sent;
          const received = asked.answer.then(bodyOf);
          await answerIn(peer, down, chunked);
          expect(digest(await received)).toBe(digest(Buffer.concat(down)));
        },
      ),
      { numRuns: 60 },
    );
    // Each request is over: nothing is left open of any of them.
    expect(await series(sidecar, 'requests_in_flight')).toBe(0);
  });

  async function answerIn(peer: Peer, down: readonly Uint8Array[], chunked: boolean) {
    const length = down.reduce((sum, each) => sum + each.length, 0);
    peer.head('200 OK', chunked ? 'transfer-encoding: chunked' : `content-length: ${length}`);
    for (const piece of down) {
      if (chunked) peer.chunk(Buffer.from(piece));
      else peer.write(Buffer.from(piece));
      await nextTurn();
    }
    if (chunked) peer.write('0\r\n\r\n');
  }

  it('with Content-Encoding pass untouched', async () => {
    const { sidecar, upstream } = await stage();
    // No gzip at all: whoever unpacked it would fail.
    const bytes = Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 255]);
    const asked = ask(sidecar, { headers: { 'accept-encoding': 'br;q=1.0, gzip' } });
    asked.request.end();
    const peer = await upstream.next();
    expect(peer.values('accept-encoding')).toEqual(['br;q=1.0, gzip']);
    peer.head('200 OK', 'content-encoding: gzip', `content-length: ${bytes.length}`);
    peer.write(bytes);
    const response = await asked.answer;
    expect(response.headers['content-encoding']).toBe('gzip');
    expect(await bodyOf(response)).toEqual(bytes);
  });

  it("with trailers: LiteLLM's reach the client", async () => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar);
    asked.request.end();
    const peer = await upstream.next();
    peer.head('200 OK', 'trailer: x-cost, x-end', 'transfer-encoding: chunked');
    peer.chunk('body');
    peer.write('0\r\nx-cost: 0.5\r\nX-End: yes\r\n\r\n');
    const response = await asked.answer;
    expect(String(await bodyOf(response))).toBe('body');
    expect(response.headers['trailer']).toBe('x-cost, x-end');
    expect(response.rawTrailers).toEqual(['x-cost', '0.5', 'X-End', 'yes']);
  });

  it('without a length, to the end of the connection, arrive whole', async () => {
    const { sidecar, upstream } = await stage();
    const asked = get(sidecar);
    const peer = await upstream.next();
    peer.head('200 OK', 'content-type: text/plain');
    peer.write('until ');
    peer.socket.end('the end');
    expect((await asked).text).toBe('until the end');
  });
});

describe('an answer that comes before the body is whole', () => {
  it('(413): the client gets it, and LiteLLM no more of the body', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'POST /v1/files', { fields: ['content-length: 100'] });
    caller.send('first');
    const peer = await upstream.next();
    await peer.bodyReaches(5);
    peer.answer('413 Payload Too Large', 'too large', 'connection: close');
    expect(await caller.until('too large')).toContain('HTTP/1.1 413 Payload Too Large');
    await peer.gone;
    caller.send('x'.repeat(95));
    caller.send('GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n');
    // The connection is clean: what comes behind the body is the next request, and has no key.
    await caller.until('missing_key');
    expect(peer.bodyBytes).toBe(5);
  });

  it('and the client goes on for ever: its connection is closed', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'POST /v1/files', {
      fields: ['transfer-encoding: chunked'],
    });
    caller.send('5\r\nfirst\r\n');
    const peer = await upstream.next();
    peer.answer('413 Payload Too Large', 'too large');
    await caller.until('too large');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    let over = false;
    const ended = caller.ended.then(() => {
      over = true;
    });
    while (!over) {
      caller.send(chunk);
      await nextTurn();
    }
    await ended;
  });

  it('as a stream: both go on at once', async () => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar, { method: 'POST', path: '/v1/responses' });
    asked.request.write('1');
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    const response = await asked.answer;
    asked.request.end('2');
    expect(String(await peer.body)).toBe('12');
    peer.chunk('done');
    peer.write('0\r\n\r\n');
    expect(String(await bodyOf(response))).toBe('done');
  });
});

describe('SIDECAR_BODY_LIMIT', () => {
  it.each(['announced', 'in chunks'])('passed by a body, %s: 413 body_too_large', async (how) => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const asked = ask(sidecar, {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: how === 'announced' ? { 'content-length': 1025 } : {},
    });
    asked.request.write(Buffer.alloc(1000));
    if (how === 'in chunks') await (await upstream.next()).bodyReaches(1000);
    asked.request.end(Buffer.alloc(25));
    const response = await asked.answer;
    expect(response.statusCode).toBe(413);
    expect(response.headers['x-sidecar-refusal']).toBe('body_too_large');
    for (const peer of upstream.requests) await peer.gone;
  });

  it('just met: passes', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const asked = post(sidecar, Buffer.alloc(1024));
    (await upstream.next()).answer('200 OK');
    expect((await asked).response.statusCode).toBe(200);
  });
});
