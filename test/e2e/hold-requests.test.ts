import { describe, expect, it } from 'vitest';
import { ask, post } from '../support/ask.ts';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { accessLine, createStages, foundAway, series, settled } from '../support/stage.ts';

const stage = createStages();
const HELD = { SIDECAR_HOLD: '30s' };
const CHAT = 'POST /v1/chat/completions';

/** Asks once, so that LiteLLM is known to be away. */
async function findAway(sidecar: Sidecar) {
  const first = post(sidecar, 'first');
  await foundAway(sidecar);
  return first;
}

describe('while LiteLLM is away', () => {
  it('requests wait, and are sent in their order when it is back', async () => {
    const { sidecar, upstream } = await stage({ settings: HELD });
    await upstream.stop();
    const caller = await callRaw(sidecar.port);
    const bodies = Array.from({ length: 10 }, (_, n) => `{"n":${n}}`);
    caller.send(bodies.map((body) => requestBytes(sidecar, CHAT, { body })).join(''));
    await foundAway(sidecar);
    expect(await series(sidecar, 'requests_held')).toBe(10);
    expect(await series(sidecar, 'upstream_up{slot="a"}')).toBe(0);
    await upstream.start();
    const seen: string[] = [];
    for (const _ of bodies) {
      const peer = await upstream.next();
      seen.push(String(await peer.body));
      peer.answer('200 OK', `answer to ${peer.bodyBytes}`);
    }
    expect(seen).toEqual(bodies);
    await caller.until(/(?:answer to[\s\S]*){10}/);
  });

  it('a sidecar that drains lets go of what waits, which would keep it up', async () => {
    const { sidecar, upstream } = await stage({ settings: HELD });
    await upstream.stop();
    const first = post(sidecar, 'first');
    await foundAway(sidecar);
    await sidecar.drain();
    const { response } = await first;
    expect([response.statusCode, response.headers['x-sidecar-refusal']]).toEqual([
      503,
      'upstream_unavailable',
    ]);
  });

  it('too many wait: 503 overloaded, and those that wait are served', async () => {
    const settings = { ...HELD, SIDECAR_HOLD_MAX: '2' };
    const { sidecar, upstream } = await stage({ settings });
    await upstream.stop();
    const first = findAway(sidecar);
    await foundAway(sidecar);
    const others = [post(sidecar, 'other'), post(sidecar, 'other')];
    const refused = await Promise.race(others);
    expect(refused.response.statusCode).toBe(503);
    expect(refused.response.headers['x-sidecar-refusal']).toBe('overloaded');
    expect(Number(refused.response.headers['retry-after'])).toBeGreaterThan(0);
    await upstream.start();
    for (const _ of [1, 2]) (await upstream.next()).answer('200 OK', 'served');
    expect((await first).text).toBe('served');
    const answers = await Promise.all(others);
    expect(answers.map(({ response }) => response.statusCode).sort()).toEqual([200, 503]);
  });

  it('too long: 503 upstream_unavailable with Retry-After, in the shape of the route', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '50ms' } });
    await upstream.stop();
    const { response, text } = await post(sidecar, '{}', { path: '/v1/messages' });
    expect(response.statusCode).toBe(503);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'overloaded_error' } });
    // Known to be away now: the next one is not even tried, and fares the same.
    expect((await post(sidecar)).response.statusCode).toBe(503);
    expect(await series(sidecar, 'upstream_errors_total{kind="connect"}')).toBe(1);
  });

  it.each([{ SIDECAR_HOLD: '0' }, { SIDECAR_HOLD: '30s', SIDECAR_HOLD_MAX: '0' }])(
    'with %o nobody waits: 503 at once',
    async (settings) => {
      const { sidecar, upstream } = await stage({ settings });
      await upstream.stop();
      expect((await post(sidecar)).response.statusCode).toBe(503);
      expect((await post(sidecar)).response.statusCode).toBe(503);
    },
  );

  it('a body that is still coming is not read, and goes up whole later', async () => {
    const { sidecar, upstream } = await stage({ settings: HELD });
    await upstream.stop();
    const size = 48 * 1024 * 1024;
    const caller = await callWith(sidecar, CHAT, { fields: [`content-length: ${size}`] });
    for (let sent = 0; sent < size; sent += 64 * 1024) caller.send(Buffer.alloc(64 * 1024, 'x'));
    await foundAway(sidecar);
    const taken = await settled(() => size - caller.socket.writableLength);
    // What lies in the kernel's buffers of both ends is out of anybody's hands.
    expect(taken).toBeLessThan(24 * 1024 * 1024);
    await upstream.start();
    const peer = await upstream.next();
    await peer.body;
    expect(peer.bodyBytes).toBe(size);
    peer.answer('200 OK', 'all of it');
    await caller.until('all of it');
  });

  it('Expect: 100-continue is answered, and the body waits with the rest', async () => {
    const { sidecar, upstream } = await stage({ settings: HELD });
    await upstream.stop();
    const asked = ask(sidecar, {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { expect: '100-continue', 'content-length': 4 },
    });
    asked.request.once('continue', () => asked.request.end('body'));
    asked.request.flushHeaders();
    await foundAway(sidecar);
    await upstream.start();
    const peer = await upstream.next();
    expect(String(await peer.body)).toBe('body');
    expect(peer.values('expect')).toEqual([]);
    peer.answer('200 OK');
    expect((await asked.answer).statusCode).toBe(200);
  });

  it('readiness says so, and liveness does not', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '50ms' } });
    const status = async (path: string) => (await fetch(sidecar.url + path)).status;
    expect(await status('/health/readiness')).toBe(200);
    await upstream.stop();
    await findAway(sidecar);
    expect(await status('/health/readiness')).toBe(503);
    expect(await status('/health/liveliness')).toBe(200);
  });

  it('that comes back within the delay of a drain is sent what waits', async () => {
    const settings = { ...HELD, SIDECAR_DRAIN_DELAY: '2s', SIDECAR_DRAIN: '20s' };
    const { sidecar, upstream } = await stage({ settings });
    await upstream.stop();
    const held = findAway(sidecar);
    await foundAway(sidecar);
    const drained = sidecar.drain();
    await upstream.start();
    (await upstream.next()).answer('200 OK', 'served');
    expect((await held).text).toBe('served');
    await drained;
    expect(await accessLine(sidecar)).toMatchObject({ status: 200 });
  });
});
