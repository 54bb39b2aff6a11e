import { describe, expect, it } from 'vitest';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import { callWith } from '../support/raw-caller.ts';
import { accessLine, createStages, series } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';

describe('an upstream that dies', () => {
  it('before the answer: 502 upstream_failed, in the shape of the route', async () => {
    const { sidecar, upstream } = await stage({ script: (peer) => peer.reset() });
    const openai = await post(sidecar);
    expect(openai.response.statusCode).toBe(502);
    expect(openai.response.headers['x-sidecar-refusal']).toBe('upstream_failed');
    expect(JSON.parse(openai.text)).toMatchObject({ error: { code: 'upstream_failed' } });
    const anthropic = await post(sidecar, '{}', { path: '/v1/messages' });
    expect(anthropic.response.statusCode).toBe(502);
    expect(JSON.parse(anthropic.text)).toMatchObject({ type: 'error' });
    const google = await post(sidecar, '{}', { path: '/v1beta/models/g:generateContent' });
    expect(JSON.parse(google.text)).toMatchObject({ error: { code: 502 } });
    // Fresh connections all three: nothing was sent twice.
    expect(upstream.requests).toHaveLength(3);
    expect(await series(sidecar, 'upstream_errors_total{kind="reset"}')).toBe(3);
    expect(await series(sidecar, 'upstream_retries_total{kind="reused_connection"}')).toBe(0);
  });

  it('with a FIN instead of an answer: 502', async () => {
    const { sidecar } = await stage({ script: (peer) => peer.socket.end() });
    expect((await post(sidecar)).response.statusCode).toBe(502);
    expect((await get(sidecar)).response.statusCode).toBe(502);
  });

  it.each([
    ['FIN', 'end'],
    ['RST', 'reset'],
  ] as const)('in the head of its answer, by %s: 502', async (_, how) => {
    const { sidecar } = await stage({
      script(peer) {
        peer.socket.write('HTTP/1.1 200 OK\r\ncontent-ty', () => {
          if (how === 'end') peer.socket.end();
          else peer.reset();
        });
      },
    });
    const { response, text } = await post(sidecar);
    expect(response.statusCode).toBe(502);
    expect(text).toContain('upstream_failed');
  });

  const chunks = (what: string) => `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${what}`;
  it.each([
    ['after the head', chunks(''), '\r\n\r\n'],
    ['between two chunks', chunks('5\r\nfirst\r\n'), 'first'],
    ['in a chunk', chunks('50\r\nfirst'), 'first'],
    ['in its Content-Length', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfirst', 'first'],
  ])('%s: the client sees the break, and no clean end', async (_, said, reached) => {
    for (const how of ['end', 'reset'] as const) {
      const { sidecar, upstream } = await stage();
      const caller = await callWith(sidecar, CHAT, { body: '{}' });
      const peer = await upstream.next();
      peer.write(said);
      await caller.until(reached);
      if (how === 'end') peer.socket.end();
      else peer.reset();
      await caller.ended;
      // The end of a chunked body is what a client would take for the end of the answer.
      expect(caller.received).not.toContain('0\r\n\r\n');
      expect(caller.received.match(/HTTP\/1\.1/g)).toHaveLength(1);
      await accessLine(sidecar, 'upstream_aborted');
      expect(await series(sidecar, 'upstream_errors_total{kind="aborted"}')).toBe(1);
    }
  });

  it("in mid-stream: Node's own client rejects", async () => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar);
    asked.request.end();
    const peer = await upstream.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    peer.chunk('data: 1\n\n');
    const response = await asked.answer;
    peer.socket.end();
    await expect(bodyOf(response)).rejects.toThrow('aborted');
  });

  it.each([
    ['a head that is no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    [
      'a control character in a field',
      'HTTP/1.1 200 OK\r\nx-a: b\x01c\r\ncontent-length: 0\r\n\r\n',
    ],
    ['a Content-Length that is no number', 'HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    [
      'length and chunked',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
    ],
    ['a head of 100 KiB', `HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(100 * 1024)}\r\n\r\n`],
  ])('says %s: 502, and counts as protocol', async (_, bytes) => {
    const { sidecar, upstream } = await stage({ script: (peer) => void peer.write(bytes) });
    const { response } = await post(sidecar);
    expect(response.statusCode).toBe(502);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_failed');
    expect(upstream.requests).toHaveLength(1);
    expect(await series(sidecar, 'upstream_errors_total{kind="protocol"}')).toBe(1);
  });

  it('says a bad chunk size in mid-stream: the client sees the break', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    peer.write(chunks('5\r\nfirst\r\n'));
    await caller.until('first');
    peer.write('xyz\r\n');
    await caller.ended;
    expect(caller.received).not.toContain('0\r\n\r\n');
  });
});
