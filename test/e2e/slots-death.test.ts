import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { get, post } from '../support/ask.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { eventually, foundAway, series } from '../support/stage.ts';
import { createTwoSlots } from '../support/two-slots.ts';
import { accept, closed, opened, openWebSocket } from '../support/websocket.ts';

const twoSlots = createTwoSlots();
const HELD = { SIDECAR_HOLD: '30s' };
const SSE = ['content-type: text/event-stream', 'transfer-encoding: chunked'];

const answerNext = async (upstream: FakeUpstream, text: string) => {
  const peer = await upstream.next();
  peer.answer('200 OK', text);
  return peer;
};

/** Leaves one idle connection. */
async function warmUp(sidecar: Sidecar, upstream: FakeUpstream): Promise<void> {
  const warm = get(sidecar);
  await answerNext(upstream, 'warm');
  await warm;
}

describe('a LiteLLM that is killed', () => {
  it('in the active slot: what is under way is told, new ones wait, and it is said', async () => {
    const it = await twoSlots({ settings: HELD });
    const { sidecar, a } = it;
    const unanswered = post(sidecar);
    await a.next();
    const stream = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const streaming = await a.next();
    streaming.head('200 OK', ...SSE);
    await stream.until('\r\n\r\n');
    await a.stop();
    const { response } = await unanswered;
    expect(response.statusCode).toBe(502);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_failed');
    await stream.ended;
    expect(stream.received.endsWith('0\r\n\r\n')).toBe(false);
    const held = post(sidecar, 'held');
    expect(await foundAway(sidecar)).toMatchObject({ level: 'warn', slot: 'a' });
    expect(await series(sidecar, 'upstream_up{slot="a"}')).toBe(0);
    expect(sidecar.upstreams.isUp('a')).toBe(false);
    await a.start();
    await answerNext(a, 'back');
    expect((await held).text).toBe('back');
  });

  it('in the active slot, with its connections at rest: sent again, and then held', async () => {
    const { sidecar, a } = await twoSlots({ settings: HELD });
    await warmUp(sidecar, a);
    // It takes the request on the connection that it has, and dies with all of its sockets.
    const asked = post(sidecar, 'once more');
    const dying = await a.next();
    expect(dying.connection).toBe(0);
    await a.stop();
    await foundAway(sidecar);
    expect(await series(sidecar, 'requests_held')).toBe(1);
    await a.start();
    const peer = await answerNext(a, 'served');
    expect(String(await peer.body)).toBe('once more');
    expect((await asked).text).toBe('served');
  });

  it('in the active slot, and takes connections until it is dead: sent again, and then held', async () => {
    const { sidecar, a } = await twoSlots({ settings: HELD });
    await warmUp(sidecar, a);
    const asked = post(sidecar, 'once more');
    (await a.next()).reset();
    // A process that ends may close its connections some milliseconds before it stops listening.
    await setTimeout(30);
    await a.stop();
    await foundAway(sidecar);
    expect(a.requests).toHaveLength(2);
    await a.start();
    await answerNext(a, 'served');
    expect((await asked).text).toBe('served');
  });

  it('in the active slot, and traffic is switched away: nobody waits any longer', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots({ settings: HELD });
    await warmUp(sidecar, a);
    const asked = post(sidecar, 'once more');
    await a.next();
    await a.stop();
    await foundAway(sidecar);
    switchTo('b');
    const peer = await answerNext(b, 'from b');
    expect(String(await peer.body)).toBe('once more');
    expect((await asked).text).toBe('from b');
    expect(sidecar.upstreams.load('a').requests).toBe(0);
  });

  it('while it is drained: its own are told, and the other slot never notices', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots({ settings: HELD });
    const unanswered = post(sidecar);
    await a.next();
    const client = openWebSocket(sidecar);
    const server = await accept(await a.next());
    server.on('error', () => undefined);
    await opened(client);
    switchTo('b');
    const stream = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const streaming = await b.next();
    streaming.head('200 OK', ...SSE);
    await stream.until('\r\n\r\n');
    const over = closed(client);
    await a.stop();
    expect((await unanswered).response.statusCode).toBe(502);
    expect((await over).code).toBe(1006);
    const next = get(sidecar);
    await answerNext(b, 'from b');
    expect((await next).text).toBe('from b');
    streaming.chunk('data: still\n\n');
    await stream.until('data: still');
    stream.leave();
    expect(sidecar.upstreams.held()).toBe(0);
    expect(sidecar.upstreams.isUp('b')).toBe(true);
    expect(sidecar.upstreams.load('a')).toMatchObject({ requests: 0, websockets: 0 });
    expect(await sidecar.upstreams.end('a')).toBe(0);
  });

  it('while it is drained, with a request on an old connection: the other one serves it', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots({ settings: HELD });
    await warmUp(sidecar, a);
    const asked = post(sidecar, 'once more');
    const dying = await a.next();
    expect(dying.connection).toBe(0);
    switchTo('b');
    await a.stop();
    // Its retry finds nobody at a, which is not active: it does not wait there.
    const peer = await answerNext(b, 'from b');
    expect(String(await peer.body)).toBe('once more');
    expect((await asked).text).toBe('from b');
    await eventually(() => (sidecar.accessLines().length === 2 ? true : undefined));
    expect(sidecar.accessLines().map(({ slot }) => slot)).toEqual(['a', 'b']);
    expect(await series(sidecar, 'requests_held')).toBe(0);
  });

  it('but lives: the retry of a request stays with the slot that it was sent to', async () => {
    const { sidecar, a, b, switchTo } = await twoSlots();
    await warmUp(sidecar, a);
    const asked = post(sidecar, 'once more');
    const dying = await a.next();
    switchTo('b');
    dying.reset();
    const again = await answerNext(a, 'from a');
    expect(again.rawHead).toBe(dying.rawHead);
    expect((await asked).text).toBe('from a');
    expect(b.requests).toHaveLength(0);
  });
});
