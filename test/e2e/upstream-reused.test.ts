import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ask, get, post } from '../support/ask.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { accessLine, createStages, eventually, series } from '../support/stage.ts';

const stage = createStages();
const RETRIES = 'upstream_retries_total{kind="reused_connection"}';

/** Leaves one idle connection between the two. */
async function warmUp(sidecar: Sidecar, upstream: FakeUpstream) {
  const first = get(sidecar);
  const peer = await upstream.next();
  peer.answer('200 OK', 'warm');
  await first;
  return peer;
}

describe('a reused connection', () => {
  afterEach(() => vi.restoreAllMocks());

  it('is reused', async () => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const second = get(sidecar);
    const peer = await upstream.next();
    expect(peer.connection).toBe(0);
    peer.answer('200 OK', 'again');
    await second;
  });

  it.each(['FIN', 'RST'])(
    'that dies at once by %s: the request is sent again, once',
    async (how) => {
      const { sidecar, upstream } = await stage();
      await warmUp(sidecar, upstream);
      const second = post(sidecar, '{"n":2}');
      const dying = await upstream.next();
      expect(dying.connection).toBe(0);
      if (how === 'FIN') dying.socket.end();
      else dying.reset();
      const again = await upstream.next();
      expect(again.connection).toBe(1);
      expect(again.rawHead).toBe(dying.rawHead);
      expect(String(await again.body)).toBe('{"n":2}');
      again.answer('200 OK', 'answered');
      const { response, text } = await second;
      expect([response.statusCode, text]).toEqual([200, 'answered']);
      expect(await series(sidecar, RETRIES)).toBe(1);
    },
  );

  it('whose client leaves between the two tries: nothing is sent again', async () => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    (await upstream.next()).reset();
    await setTimeout(20);
    caller.leave();
    await accessLine(sidecar, 'client_aborted');
    expect(await series(sidecar, RETRIES)).toBe(1);
    // Longer than it waits before it tries again.
    await setTimeout(150);
    expect(upstream.requests).toHaveLength(2);
  });

  it('that dies, and then the fresh one dies as well: 502, and no third try', async () => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const second = post(sidecar);
    (await upstream.next()).reset();
    (await upstream.next()).reset();
    expect((await second).response.statusCode).toBe(502);
    expect(upstream.requests).toHaveLength(3);
  });

  it('that dies with a chunked body half sent: both halves come, once each', async () => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', {
      fields: ['transfer-encoding: chunked'],
    });
    caller.send('5\r\nfirst\r\n');
    const dying = await upstream.next();
    await dying.bodyReaches(5);
    dying.reset();
    const again = await upstream.next();
    await again.bodyReaches(5);
    caller.send('6\r\nsecond\r\n0\r\n\r\n');
    expect(String(await again.body)).toBe('firstsecond');
    again.answer('200 OK', 'answered');
    await caller.until('answered');
    expect(upstream.requests).toHaveLength(3);
  });

  it('that dies after more of the body than is kept: 502, and no second try', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_REPLAY_BYTES: '1KiB' } });
    await warmUp(sidecar, upstream);
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.write(Buffer.alloc(2000));
    const dying = await upstream.next();
    await dying.bodyReaches(2000);
    dying.reset();
    expect((await asked.answer).statusCode).toBe(502);
    asked.request.destroy();
    expect(upstream.requests).toHaveLength(2);
  });

  it.each([
    ['at once', '{}'],
    ['in pieces', undefined],
  ])('that dies, with SIDECAR_REPLAY_BYTES=0 and a body that came %s: 502', async (_, body) => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_REPLAY_BYTES: '0' } });
    await warmUp(sidecar, upstream);
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    if (body === undefined) asked.request.write('{');
    else asked.request.end(body);
    (await upstream.next()).reset();
    expect((await asked.answer).statusCode).toBe(502);
    asked.request.destroy();
    expect(upstream.requests).toHaveLength(2);
  });

  it('that dies after a minute: maybe it was paid for, so it is not sent again', async () => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const second = post(sidecar);
    const dying = await upstream.next();
    const { now } = performance;
    vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 60_000);
    dying.reset();
    expect((await second).response.statusCode).toBe(502);
    expect(upstream.requests).toHaveLength(2);
    expect(await series(sidecar, RETRIES)).toBe(0);
  });

  it.each([
    ['in the head of its answer', 'HTTP/1.1 200 OK\r\ncontent-ty'],
    ['after a 103', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'],
    ['with something that is no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ])('that dies %s: LiteLLM had begun, so it is not sent again', async (_, said) => {
    const { sidecar, upstream } = await stage();
    await warmUp(sidecar, upstream);
    const second = post(sidecar);
    const dying = await upstream.next();
    dying.socket.end(said);
    expect((await second).response.statusCode).toBe(502);
    expect(upstream.requests).toHaveLength(2);
  });

  it('that LiteLLM closed while it was idle is not used', async () => {
    const { sidecar, upstream } = await stage();
    const idle = await warmUp(sidecar, upstream);
    idle.socket.end();
    await idle.gone;
    const second = get(sidecar);
    const peer = await upstream.next();
    expect(peer.connection).toBe(1);
    peer.answer('200 OK');
    await second;
    expect(await series(sidecar, RETRIES)).toBe(0);
  });

  it('is not reused where LiteLLM said Connection: close', async () => {
    const { sidecar, upstream } = await stage();
    const first = await callWith(sidecar, 'GET /v1/models');
    (await upstream.next()).answer('200 OK', 'the end', 'connection: close');
    // What LiteLLM says of its connection is nothing to the client's.
    expect(await first.until('the end')).toMatch(/connection: keep-alive/i);
    const second = get(sidecar);
    const peer = await upstream.next();
    expect(peer.connection).toBe(1);
    peer.answer('200 OK');
    await second;
  });

  it('is let go after a second of rest, before uvicorn or gunicorn let it go', async () => {
    const { sidecar, upstream } = await stage();
    const idle = await warmUp(sidecar, upstream);
    await idle.gone;
    expect(await eventually(() => sidecar.accessLines()[0])).toMatchObject({ status: 200 });
  });
});
