import { describe, expect, it } from 'vitest';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { accessLine, createStages, eventually, foundAway, series } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';

describe('a client that leaves', () => {
  it.each(['FIN', 'RST'])('before the answer, by %s: LiteLLM is let go at once', async (how) => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{"stream":true}' });
    const peer = await upstream.next();
    await peer.body;
    if (how === 'FIN') caller.leave();
    else caller.socket.resetAndDestroy();
    await peer.gone;
    expect(await accessLine(sidecar, 'client_aborted')).toMatchObject({ status: 0 });
    expect(await series(sidecar, 'client_aborts_total')).toBe(1);
    expect(await series(sidecar, 'upstream_errors_total{kind="reset"}')).toBe(0);
    expect(await series(sidecar, 'requests_in_flight')).toBe(0);
  });

  it('in mid-stream: LiteLLM is let go at once', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{"stream":true}' });
    const peer = await upstream.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    peer.chunk('data: 1\n\n');
    await caller.until('data: 1');
    caller.leave();
    await peer.gone;
    expect(await accessLine(sidecar, 'client_aborted')).toMatchObject({ status: 200 });
    expect(await series(sidecar, 'streams_in_flight')).toBe(0);
    expect(await series(sidecar, 'upstream_errors_total{kind="aborted"}')).toBe(0);
  });

  it('while LiteLLM is waited for by a slow reader: it is let go all the same', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/models');
    const peer = await upstream.next();
    caller.socket.pause();
    peer.head('200 OK', 'transfer-encoding: chunked');
    while (peer.socket.writableLength < 1024 * 1024) {
      peer.chunk(Buffer.alloc(64 * 1024, 'x'));
      await new Promise(setImmediate);
    }
    caller.socket.resetAndDestroy();
    await peer.gone;
    await accessLine(sidecar, 'client_aborted');
  });

  it('while it is held: its request is never sent', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '30s' } });
    await upstream.stop();
    const caller = await callWith(sidecar, CHAT, { body: '{"leaves":true}' });
    await foundAway(sidecar);
    const other = await callWith(sidecar, CHAT, { body: '{"stays":true}' });
    caller.leave();
    await accessLine(sidecar, 'client_aborted');
    expect(await series(sidecar, 'requests_held')).toBe(1);
    await upstream.start();
    const peer = await upstream.next();
    expect(String(await peer.body)).toBe('{"stays":true}');
    peer.answer('200 OK', 'at last');
    await other.until('at last');
    expect(upstream.requests).toHaveLength(1);
  });

  it('in its own body: LiteLLM gets no whole request', async () => {
    const { sidecar, upstream } = await stage();
    const fields = ['content-length: 100'];
    const caller = await callWith(sidecar, CHAT, { fields });
    caller.send('half of it');
    const peer = await upstream.next();
    await peer.bodyReaches(10);
    caller.leave();
    await peer.gone;
    expect(peer.bodyBytes).toBe(10);
    await accessLine(sidecar, 'client_aborted');
  });

  it('in its own chunked body: LiteLLM sees no end of it', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { fields: ['transfer-encoding: chunked'] });
    caller.send('a\r\nhalf of it\r\n');
    const peer = await upstream.next();
    await peer.bodyReaches(10);
    caller.leave();
    await peer.gone;
    expect(peer.rawBody.toString()).not.toContain('0\r\n\r\n');
    await accessLine(sidecar, 'client_aborted');
  });

  it('with a second request behind the first: neither is answered, both are let go', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(requestBytes(sidecar, 'GET /v1/models') + requestBytes(sidecar, 'GET /v1/models'));
    const peers = [await upstream.next(), await upstream.next()];
    caller.leave();
    for (const peer of peers) await peer.gone;
    await eventually(() => (sidecar.accessLines().length === 2 ? true : undefined));
    expect(sidecar.accessLines().map(({ outcome }) => outcome)).toEqual([
      'client_aborted',
      'client_aborted',
    ]);
  });
});
