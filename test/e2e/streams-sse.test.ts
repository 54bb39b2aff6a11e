import { describe, expect, it, vi } from 'vitest';
import { ask, get, post } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import { createStages, eventually, series } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';

function beginStream(peer: Peer, type = 'text/event-stream') {
  peer.head('200 OK', `content-type: ${type}`, 'transfer-encoding: chunked');
}

describe('an event stream', () => {
  it('its head leaves at once, before the first event', async () => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.end('{}');
    const peer = await upstream.next();
    beginStream(peer);
    const response = await asked.answer;
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('text/event-stream');
    response.destroy();
    await peer.gone;
  });

  it('each event leaves when it comes', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    beginStream(peer);
    // The next one is said only when the one before has arrived.
    for (let n = 0; n < 20; n++) {
      peer.chunk(`data: ${n}\n\n`);
      await caller.until(`data: ${n}\n\n`);
    }
    peer.write('0\r\n\r\n');
    const all = await caller.until('\r\n0\r\n\r\n');
    expect(all.match(/data: /g)).toHaveLength(20);
  });

  it('half an event leaves too: nothing waits for its end', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    beginStream(peer);
    peer.chunk('data: {"hal');
    await caller.until('{"hal');
    peer.chunk('f":1}\n\n');
    await caller.until('f":1}');
    caller.leave();
  });

  it.each([
    ['text/event-stream', 1],
    ['text/event-stream; charset=utf-8', 1],
    ['Text/Event-Stream;charset=UTF-8', 1],
    ['text/event-stream-like', 0],
    ['application/json', 0],
  ])('of type %s counts as %i in the gauge', async (type, count) => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    beginStream(peer, type);
    peer.chunk('data: 1\n\n');
    await caller.until('data: 1');
    expect(await series(sidecar, 'streams_in_flight')).toBe(count);
    expect(await series(sidecar, 'requests_in_flight')).toBe(1);
    caller.leave();
    await peer.gone;
  });

  it('has no limit on its silence, not even where an answer has one', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_ANSWER_TIMEOUT: '100ms' } });
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    beginStream(peer);
    peer.chunk('data: 1\n\n');
    await caller.until('data: 1');
    // Another one, younger, is given up on meanwhile: the limits were looked at.
    const other = post(sidecar);
    const silent = await upstream.next();
    expect((await other).response.statusCode).toBe(504);
    await silent.gone;
    peer.chunk('data: 2\n\n');
    await caller.until('data: 2');
    caller.leave();
  });
});

describe('SIDECAR_ANSWER_TIMEOUT', () => {
  it('passed without an answer: 504 upstream_timeout, and LiteLLM is let go', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_ANSWER_TIMEOUT: '100ms' } });
    const asked = post(sidecar);
    const peer = await upstream.next();
    const { response, text } = await asked;
    expect(response.statusCode).toBe(504);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_timeout');
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'upstream_timeout' } });
    await peer.gone;
    expect(await series(sidecar, 'upstream_errors_total{kind="timeout"}')).toBe(1);
    expect(await series(sidecar, 'upstream_retries_total{kind="reused_connection"}')).toBe(0);
    await eventually(() => sidecar.accessLines().find((line) => line['status'] === 504));
  });

  it('does not run while the body is still coming', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_ANSWER_TIMEOUT: '30s' } });
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.write('first');
    const peer = await upstream.next();
    await peer.bodyReaches(5);
    // Younger, and without a body: its end says that the limits were looked at.
    const other = get(sidecar);
    await upstream.next();
    const { now } = performance;
    let offset = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + offset);
    // In steps: a clock that leaps is one of a process that was stopped.
    const pass = async (ms: number): Promise<void> => {
      for (const end = offset + ms; offset < end; ) {
        offset += 1000;
        const step = get(sidecar);
        (await upstream.next()).answer('200 OK');
        await step;
      }
    };
    await pass(20_000);
    asked.request.end('last');
    await peer.body;
    await pass(25_000);
    expect((await other).response.statusCode).toBe(504);
    peer.answer('200 OK');
    expect((await asked.answer).statusCode).toBe(200);
  });
});

describe('SIDECAR_UPLOAD_IDLE', () => {
  it('passed in a body: 408 request_timeout, and LiteLLM is let go', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_UPLOAD_IDLE: '100ms' } });
    const caller = await callWith(sidecar, CHAT, { fields: ['content-length: 100'] });
    caller.send('half');
    const peer = await upstream.next();
    await peer.bodyReaches(4);
    expect(await caller.until('request_timeout')).toContain('HTTP/1.1 408 Request Timeout');
    await peer.gone;
    await caller.ended;
  });

  it('is about the client: a LiteLLM that does not read is not its fault', async () => {
    const settings = { SIDECAR_UPLOAD_IDLE: '100ms' };
    const { sidecar, upstream } = await stage({ settings });
    const size = 32 * 1024 * 1024;
    const caller = await callWith(sidecar, CHAT, { fields: [`content-length: ${size}`] });
    caller.send(Buffer.alloc(64 * 1024, 'x'));
    const peer = await upstream.next();
    peer.socket.pause();
    for (let sent = 64 * 1024; sent < size; sent += 64 * 1024)
      caller.send(Buffer.alloc(64 * 1024, 'x'));
    // Another client's stalled body ends twice meanwhile.
    for (const _ of [1, 2]) {
      const other = await callWith(sidecar, CHAT, { fields: ['content-length: 100'] });
      other.send('half');
      await other.until('request_timeout');
    }
    peer.socket.resume();
    await peer.body;
    expect(peer.bodyBytes).toBe(size);
    peer.answer('200 OK', 'all of it');
    await caller.until('all of it');
  });
});
