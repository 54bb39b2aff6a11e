import { describe, expect, it } from 'vitest';
import { ask, get as getText, post } from '../support/ask.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { eventually } from '../support/stage.ts';
import { createTwoSlots } from '../support/two-slots.ts';

const twoSlots = createTwoSlots();
const SESSION = '5f1d7a1e0c9b4f0e8a3d6b2c1e4f7a90';
const other = (n: number): string => SESSION.replace('5f', String(10 + n));

/** Sends a request of a session and answers it; resolves to which LiteLLM got it. */
async function call(
  { sidecar, a, b }: { sidecar: Sidecar; a: FakeUpstream; b: FakeUpstream },
  options: { session?: string; path?: string; method?: string },
  answer: readonly [status: string, ...fields: string[]] = ['200 OK'],
): Promise<'a' | 'b'> {
  const { session, path = '/mcp', method = 'POST' } = options;
  const before = [a.requests.length, b.requests.length];
  const asked = post(sidecar, method === 'DELETE' ? '' : '{}', {
    path,
    method,
    headers: session === undefined ? {} : { 'Mcp-Session-Id': session },
  });
  const which = await eventually(() => {
    if (a.requests.length > (before[0] ?? 0)) return 'a';
    return b.requests.length > (before[1] ?? 0) ? 'b' : undefined;
  });
  const [status, ...fields] = answer;
  const peer = await { a, b }[which].next();
  expect(peer.values('mcp-session-id')).toEqual(session === undefined ? [] : [session]);
  peer.answer(status, '{}', ...fields);
  await asked;
  return which;
}

const issued = (session: string) => ['200 OK', `Mcp-Session-Id: ${session}`] as const;

describe('an MCP session', () => {
  it('stays with the slot that issued it, until that is ended', async () => {
    const it = await twoSlots();
    const { sidecar, switchTo } = it;
    expect(await call(it, {}, issued(SESSION))).toBe('a');
    // The active one is not ended.
    expect(await sidecar.upstreams.end('a')).toBe(0);
    expect(sidecar.upstreams.load('a').mcpSessions).toBe(1);
    switchTo('b');
    expect(await call(it, { session: SESSION })).toBe('a');
    expect(await call(it, { session: SESSION, path: '/mcp/' })).toBe('a');
    expect(await call(it, { session: SESSION, path: '/github/mcp' })).toBe('a');
    expect(await call(it, { session: SESSION, path: '/toolset/t/mcp' })).toBe('a');
    // A route that is none of MCP's knows no sessions.
    expect(await call(it, { session: SESSION, path: '/v1/chat/completions' })).toBe('b');
    expect(await call(it, {})).toBe('b');
    expect(sidecar.upstreams.load('b').mcpSessions).toBe(0);
    await sidecar.upstreams.end('a');
    expect(await call(it, { session: SESSION }, ['404 Not Found'])).toBe('b');
  });

  it('that both answer for belongs to each of them by its own name', async () => {
    const it = await twoSlots();
    await call(it, {}, issued(other(1)));
    it.switchTo('b');
    await call(it, {}, issued(other(2)));
    expect(await call(it, { session: other(1) })).toBe('a');
    expect(await call(it, { session: other(2) })).toBe('b');
    it.switchTo('a');
    expect(await call(it, { session: other(2) })).toBe('b');
    const loads = [it.sidecar.upstreams.load('a'), it.sidecar.upstreams.load('b')];
    expect(loads.map(({ mcpSessions }) => mcpSessions)).toEqual([1, 1]);
  });

  it('that is not known belongs to the slot that is active when it is first seen', async () => {
    const it = await twoSlots();
    expect(await call(it, { session: SESSION })).toBe('a');
    it.switchTo('b');
    expect(await call(it, { session: SESSION })).toBe('a');
    expect(await call(it, { session: other(1) })).toBe('b');
  });

  it.each([
    ['200 OK', 'b'],
    ['204 No Content', 'b'],
    ['404 Not Found', 'b'],
    ['405 Method Not Allowed', 'a'],
    ['500 Internal Server Error', 'a'],
  ] as const)(
    'that its client deletes, answered by %s: then %s has its name',
    async (status, to) => {
      const it = await twoSlots();
      await call(it, {}, issued(SESSION));
      it.switchTo('b');
      expect(await call(it, { session: SESSION, method: 'DELETE' }, [status])).toBe('a');
      expect(it.sidecar.upstreams.load('a').mcpSessions).toBe(to === 'b' ? 0 : 1);
      expect(await call(it, { session: SESSION })).toBe(to);
    },
  );

  it('is not learned from an answer that is an error', async () => {
    const it = await twoSlots();
    await call(it, {}, ['400 Bad Request', `Mcp-Session-Id: ${SESSION}`]);
    expect(it.sidecar.upstreams.load('a').mcpSessions).toBe(0);
  });

  it('whose slot died while it was drained goes to the active one, and waits for nobody', async () => {
    const it = await twoSlots({ settings: { SIDECAR_HOLD: '30s' } });
    await call(it, {}, issued(SESSION));
    it.switchTo('b');
    await it.a.stop();
    expect(await call(it, { session: SESSION })).toBe('b');
    // And stays there though the other comes back: what it knew is gone.
    await it.a.start();
    await eventually(() => (it.sidecar.upstreams.isUp('a') ? true : undefined));
    expect(await call(it, { session: SESSION })).toBe('b');
  });
});

describe('the old SSE transport', () => {
  const EVENT = `event: endpoint\r\ndata: /mcp/sse/messages?session_id=${SESSION}\r\n\r\n`;

  async function openStream(it: { sidecar: Sidecar; a: FakeUpstream }, pieces: readonly string[]) {
    const stream = await callWith(it.sidecar, 'GET /mcp/sse');
    const peer = await it.a.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    for (const piece of pieces) {
      peer.chunk(piece);
      await stream.until(piece);
    }
    return { stream, peer };
  }
  const messages = (id: string) => ({ path: `/mcp/sse/messages?x=1&session_id=${id}` });

  it.each([
    ['in one piece', [EVENT]],
    ['in two', [EVENT.slice(0, 60), EVENT.slice(60)]],
  ])('posts its messages to the slot that has the stream, said %s', async (_, pieces) => {
    const it = await twoSlots();
    const { stream, peer } = await openStream(it, pieces);
    it.switchTo('b');
    expect(await call(it, messages(SESSION))).toBe('a');
    // As a UUID it may have hyphens.
    const hyphens = SESSION.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-').toUpperCase();
    expect(await call(it, messages(hyphens))).toBe('a');
    expect(await call(it, messages(other(1)))).toBe('b');
    expect(it.sidecar.upstreams.load('a')).toMatchObject({ requests: 1, mcpSessions: 1 });
    // It lives as long as its stream.
    stream.leave();
    await peer.gone;
    await eventually(() => (it.sidecar.upstreams.load('a').mcpSessions === 0 ? true : undefined));
    expect(await call(it, messages(SESSION))).toBe('b');
  });
});

it('with a DELETE of somebody else nothing is forgotten', async () => {
  const it = await twoSlots();
  await call(it, {}, issued(SESSION));
  it.switchTo('b');
  const asked = ask(it.sidecar, { method: 'DELETE', path: '/v1/files/f' });
  asked.request.setHeader('mcp-session-id', SESSION);
  asked.request.end();
  (await it.b.next()).answer('200 OK');
  await asked.answer;
  expect(await call(it, { session: SESSION })).toBe('a');
  const last = getText(it.sidecar);
  (await it.b.next()).answer('200 OK');
  await last;
});
