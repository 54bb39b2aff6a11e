import { describe, expect, it } from 'vitest';
import type { KeyTraffic, SlotTraffic } from '../../src/handover/contracts.ts';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import type { FakeUpstream, Peer } from '../support/fake-upstream.ts';
import { callRaw, callWith } from '../support/raw-caller.ts';
import { eventually, foundAway, series } from '../support/stage.ts';
import { addressOf, createTwoSlots } from '../support/two-slots.ts';
import {
  accept,
  closed,
  message,
  opened,
  openWebSocket,
  SWITCHED,
  upgradeBytes,
} from '../support/websocket.ts';

const twoSlots = createTwoSlots();
const CHAT = 'POST /v1/chat/completions';
const HELD = { SIDECAR_HOLD: '30s' };
const SSE = ['content-type: text/event-stream', 'transfer-encoding: chunked'];

const answerNext = async (upstream: FakeUpstream, text: string): Promise<Peer> => {
  const peer = await upstream.next();
  peer.answer('200 OK', text);
  return peer;
};

describe('after a switch', () => {
  it('is what handovers program against', async () => {
    const { sidecar } = await twoSlots();
    const ports: SlotTraffic & KeyTraffic = sidecar.upstreams;
    expect(ports.load('a')).toEqual({ requests: 0, websockets: 0, mcpSessions: 0 });
    expect([ports.isUp('a'), ports.isUp('b')]).toEqual([true, false]);
  });

  it('new requests carry the Host and the key of the other slot, and nothing of this one', async () => {
    const { sidecar, a, b, keys, switchTo } = await twoSlots();
    const toA = get(sidecar);
    const atA = await answerNext(a, 'from a');
    expect((await toA).text).toBe('from a');
    expect(addressOf(atA)).toEqual({
      host: [`127.0.0.1:${a.port}`],
      key: [`Bearer ${keys.a}`],
    });
    switchTo('b');
    const toB = post(sidecar, '{"n":1}');
    const atB = await answerNext(b, 'from b');
    expect((await toB).text).toBe('from b');
    expect(addressOf(atB)).toEqual({ host: [`127.0.0.1:${b.port}`], key: [`Bearer ${keys.b}`] });
    for (const secret of [keys.a, sidecar.key, String(a.port)]) {
      expect(atB.rawHead).not.toContain(secret);
    }
    // Elsewhere than in Authorization too.
    const google = post(sidecar, '{}', { path: '/gemini/v1beta/models/m:generateContent' });
    expect((await answerNext(b, 'g')).values('x-goog-api-key')).toEqual([keys.b]);
    await google;
    expect(sidecar.accessLines().map(({ slot }) => slot)).toEqual(['a', 'b', 'b']);
    expect(a.requests).toHaveLength(1);
  });

  it('a Location of either names the gateway, and not the LiteLLM behind it', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    const location = async (upstream: FakeUpstream) => {
      const asked = get(sidecar, '/v1/models/');
      const peer = await upstream.next();
      peer.answer('307 Temporary Redirect', '', `location: ${upstream.url}/v1/models`);
      return (await asked).response.headers.location;
    };
    expect(await location(a)).toBe('/v1/models');
    switchTo('b');
    expect(await location(b)).toBe('/v1/models');
  });

  it('what is under way stays: its Location is still that of the one which answers', async () => {
    const { sidecar, a, switchTo } = await twoSlots();
    const asked = get(sidecar, '/v1/models/');
    const peer = await a.next();
    switchTo('b');
    peer.answer('307 Temporary Redirect', '', `location: ${a.url}/v1/models`);
    expect((await asked).response.headers.location).toBe('/v1/models');
  });

  it('a stream, an upload and a WebSocket stay, while new ones go to the other', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    const stream = await callWith(sidecar, CHAT, { body: '{}' });
    const streaming = await a.next();
    streaming.head('200 OK', ...SSE);
    streaming.chunk('data: 1\n\n');
    await stream.until('data: 1');
    const upload = ask(sidecar, { method: 'POST', path: '/v1/files' });
    upload.request.write('first');
    const uploading = await a.next();
    await uploading.bodyReaches(5);
    const client = openWebSocket(sidecar);
    const server = await accept(await a.next());
    await opened(client);
    expect(sidecar.upstreams.load('a')).toEqual({ requests: 2, websockets: 1, mcpSessions: 0 });

    switchTo('b');
    const other = get(sidecar);
    await answerNext(b, 'from b');
    await other;
    const second = openWebSocket(sidecar);
    const secondServer = await accept(await b.next());
    await opened(second);
    expect(sidecar.upstreams.load('b')).toEqual({ requests: 0, websockets: 1, mcpSessions: 0 });

    streaming.chunk('data: 2\n\n');
    await stream.until('data: 2');
    upload.request.end('second');
    expect(String(await uploading.body)).toBe('firstsecond');
    uploading.answer('200 OK', 'taken');
    expect(String(await bodyOf(await upload.answer))).toBe('taken');
    server.send('from a');
    expect(await message(client)).toBe('from a');
    secondServer.send('from b');
    expect(await message(second)).toBe('from b');
    expect(sidecar.upstreams.load('a')).toEqual({ requests: 1, websockets: 1, mcpSessions: 0 });
    client.terminate();
    second.terminate();
    stream.leave();
    await eventually(() => (sidecar.accessLines().length === 5 ? true : undefined));
    const slots = sidecar.accessLines().map(({ slot, status }) => `${slot} ${status}`);
    expect(slots.sort()).toEqual(['a 101', 'a 200', 'a 200', 'b 101', 'b 200']);
  });

  it('the metric shows the slots that are in use, and readiness is that of the active one', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    expect(await sidecar.metrics()).not.toContain('upstream_up{slot="b"}');
    switchTo('b');
    const ready = async () => (await fetch(`${sidecar.url}/health/readiness`)).status;
    // It was verified: no moment of doubt.
    expect(await ready()).toBe(200);
    await a.stop();
    await eventually(() => (sidecar.upstreams.isUp('a') ? undefined : true));
    expect(await ready()).toBe(200);
    expect(await series(sidecar, 'upstream_up{slot="b"}')).toBe(1);
    await b.stop();
    const lost = get(sidecar);
    await eventually(() => (sidecar.upstreams.isUp('b') ? undefined : true));
    expect(await ready()).toBe(503);
    expect((await lost).response.statusCode).toBe(503);
    expect(sidecar.accessLines().map(({ slot }) => slot)).toContain('-');
  }, 20_000);
});

describe('what waits for a LiteLLM that is away', () => {
  it('goes to the other one at once when traffic is switched, in its order', async () => {
    const { sidecar, a, b, keys, switchTo } = await twoSlots({ settings: HELD });
    await a.stop();
    const held = [post(sidecar, 'first')];
    await foundAway(sidecar);
    for (const body of ['second', 'third']) {
      held.push(post(sidecar, body));
      await eventually(() => (sidecar.upstreams.held() === held.length ? true : undefined));
    }
    const client = openWebSocket(sidecar);
    await eventually(() => (sidecar.upstreams.held() === 4 ? true : undefined));
    expect(sidecar.upstreams.load('a')).toMatchObject({ requests: 0, websockets: 0 });
    const before = performance.now();
    switchTo('b');
    const bodies: string[] = [];
    for (const _ of held) {
      const peer = await b.next();
      bodies.push(String(await peer.body));
      expect(addressOf(peer)).toEqual({
        host: [`127.0.0.1:${b.port}`],
        key: [`Bearer ${keys.b}`],
      });
      peer.answer('200 OK', 'from b');
    }
    await accept(await b.next());
    await opened(client);
    client.terminate();
    // Long before SIDECAR_HOLD is over, on a busy machine, too.
    expect(performance.now() - before).toBeLessThan(10_000);
    expect(bodies).toEqual(['first', 'second', 'third']);
    for (const { text } of await Promise.all(held)) expect(text).toBe('from b');
    expect(sidecar.upstreams.held()).toBe(0);
    expect(a.requests).toHaveLength(0);
  });

  it('and back again: the slot that had traffic before serves it', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots({ settings: HELD });
    switchTo('b');
    await b.stop();
    const held = post(sidecar, 'held');
    await eventually(() => (sidecar.upstreams.held() === 1 ? true : undefined));
    switchTo('a');
    await answerNext(a, 'from a again');
    expect((await held).text).toBe('from a again');
    expect(await sidecar.upstreams.end('b')).toBe(0);
    expect(await sidecar.metrics()).not.toContain('upstream_up{slot="b"}');
  });
});

describe('the end of a slot', () => {
  it('says 1001 to WebSockets, cuts the rest a second later, and leaves the other alone', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    const polite = openWebSocket(sidecar);
    await accept(await a.next());
    await opened(polite);
    const deaf = await callRaw(sidecar.port);
    deaf.send(upgradeBytes(sidecar));
    (await a.next()).write(SWITCHED);
    await deaf.until('\r\n\r\n');
    const stream = await callWith(sidecar, CHAT, { body: '{}' });
    const streaming = await a.next();
    streaming.head('200 OK', ...SSE);
    streaming.chunk('data: 1\n\n');
    await stream.until('data: 1');
    const silent = get(sidecar).catch((error: Error) => error.message);
    const asked = await a.next();
    switchTo('b');
    const live = await callWith(sidecar, CHAT, { body: '{}' });
    const lives = await b.next();
    lives.head('200 OK', ...SSE);
    lives.chunk('data: on b\n\n');
    await live.until('data: on b');

    const goodbye = closed(polite);
    const ended = sidecar.upstreams.end('a');
    expect(await goodbye).toEqual({ code: 1001, reason: 'LiteLLM was replaced: connect again' });
    await deaf.until('LiteLLM was replaced');
    // Three are left: the deaf one, the stream, the one without an answer.
    expect(await ended).toBe(3);
    await Promise.all([deaf.ended, stream.ended, streaming.gone, asked.gone]);
    expect(stream.received.endsWith('0\r\n\r\n')).toBe(false);
    expect(await silent).toMatch(/hang up|aborted|ECONNRESET/);
    expect(sidecar.upstreams.load('a')).toEqual({ requests: 0, websockets: 0, mcpSessions: 0 });
    lives.chunk('data: still\n\n');
    await live.until('data: still');
    live.leave();
    const cut = sidecar.accessLines().filter(({ outcome }) => outcome === 'cut');
    expect(cut.map(({ slot }) => slot)).toEqual(['a', 'a', 'a']);
  });

  it('takes no longer than what is left, and does nothing to the active one', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    const asked = get(sidecar);
    const peer = await a.next();
    expect(await sidecar.upstreams.end('a')).toBe(0);
    switchTo('b');
    const before = performance.now();
    const ended = sidecar.upstreams.end('a');
    peer.answer('200 OK', 'just in time');
    expect((await asked).text).toBe('just in time');
    expect(await ended).toBe(0);
    expect(performance.now() - before).toBeLessThan(900);
    expect(await sidecar.upstreams.end('b')).toBe(0);
    const after = get(sidecar);
    await answerNext(b, 'from b');
    expect((await after).text).toBe('from b');
  });

  it('that is taken back by a switch cuts nothing', async () => {
    const { sidecar, a, switchTo } = await twoSlots();
    const stream = await callWith(sidecar, CHAT, { body: '{}' });
    const streaming = await a.next();
    streaming.head('200 OK', ...SSE);
    streaming.chunk('data: 1\n\n');
    await stream.until('data: 1');
    switchTo('b');
    const ended = sidecar.upstreams.end('a');
    switchTo('a');
    expect(await ended).toBe(0);
    streaming.chunk('data: 2\n\n');
    await stream.until('data: 2');
    const next = get(sidecar);
    await answerNext(a, 'from a');
    expect((await next).text).toBe('from a');
    stream.leave();
  });
});
