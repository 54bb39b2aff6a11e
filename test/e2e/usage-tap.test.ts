import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ANSWERS, type Answer, readAnswer } from '../support/answers.ts';
import { ask, bodyOf, post } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { callWith } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages, eventually } from '../support/stage.ts';
import { accept, closed, openWebSocket } from '../support/websocket.ts';

const stage = createStages();

/** The last access line of the sidecar's own client, once there are so many. */
const lineOf = (sidecar: Sidecar, count = 1) =>
  eventually(() => {
    // Whoever tried this port by mistake, as one of a LiteLLM that is gone, had no key.
    const lines = sidecar.accessLines().filter(({ client }) => client !== '-');
    return lines.length >= count ? lines.at(-1) : undefined;
  });

/** Says a recorded answer in pieces of any size, as chunks, each in a packet of its own or not. */
async function say(peer: Peer, { status, headers, body }: Answer): Promise<void> {
  await peer.body;
  const fields = Object.entries(headers).filter(([name]) => !/^(?:content-l|connec)/.test(name));
  const lines = fields.map(([name, value]) => `${name}: ${value}`);
  peer.head(`${status} OK`, ...lines, 'transfer-encoding: chunked');
  for (let at = 0; at < body.length; ) {
    const end = Math.min(body.length, at + randomInt(1, 400));
    peer.chunk(body.subarray(at, end));
    at = end;
    if (randomInt(3) === 0) await new Promise(setImmediate);
  }
  peer.write('0\r\n\r\n');
}

const SSE = ['content-type: text/event-stream', 'transfer-encoding: chunked'];

/** What else the access line of an answer has. */
const ALSO: Record<string, object> = {
  'chat-json': { model: 'gpt-4o', costUsd: 0.00055, cachedTokens: 40, upstreamMs: 1479.978 },
  'chat-sse': { model: 'gpt-4o', costUsd: 0.00055, chunks: 5 },
  'responses-sse-falls-back': { model: 'claude' },
};
const MISSED: readonly (readonly [RegExp, string])[] = [
  [/responses-sse-errs/, 'absent'],
  [/-errs$|-breaks$/, 'cut'],
  [/^chat-sse(?:-claude)?-unset$|^completions-sse-unset$/, 'absent'],
];

describe('an answer passes its tap as it came', () => {
  it('whatever a real LiteLLM answered, in any pieces, and its record has what it said', async () => {
    const { sidecar } = await stage({
      script: (peer) => say(peer, readAnswer(peer.values('x-answer')[0] ?? '')),
    });
    for (const [at, { name, path, used, tellsUsage }] of ANSWERS.entries()) {
      const answer = readAnswer(name);
      const { response, text } = await post(sidecar, '{}', { path, headers: { 'x-answer': name } });
      expect(response.statusCode, name).toBe(answer.status);
      expect(text, name).toBe(answer.body.toString());
      const line = await lineOf(sidecar, at + 1);
      const told = used && tellsUsage && { inputTokens: used.input, outputTokens: used.output };
      expect(line, name).toMatchObject({ ...told, ...ALSO[name] });
      expect(line?.['callId'], name).toBe(answer.headers['x-litellm-call-id']);
      expect(line?.['usageFault'], name).toBe(MISSED.find(([part]) => part.test(name))?.[1]);
    }
  });

  it('compressed, too', async () => {
    const { sidecar, upstream } = await stage();
    const body = gzipSync(readAnswer('chat-json').body);
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.end('{}');
    const peer = await upstream.next();
    peer.head('200 OK', 'content-encoding: gzip', `content-length: ${body.length}`);
    peer.write(body);
    const response: IncomingMessage = await asked.answer;
    expect(response.headers['content-encoding']).toBe('gzip');
    expect((await bodyOf(response)).equals(body)).toBe(true);
    expect(await lineOf(sidecar)).toMatchObject({ inputTokens: 120, outputTokens: 30 });
  });

  it.each([
    ['JSON of 500 MB', false, 8000, 65_536],
    ['an event of 10 MiB', true, 160, 65_536],
  ])('%s, in memory that does not grow', async (_, isStream, count, size) => {
    const { sidecar, upstream } = await stage();
    const asked = ask(sidecar, { method: 'POST', path: '/v1/responses' });
    asked.request.end('{}');
    const peer = await upstream.next();
    const usage = '"usage":{"input_tokens":7,"output_tokens":8}';
    const first = isStream ? 'data: {"type":"response.completed","response":{"x":"' : '{"x":"';
    const last = isStream ? `",${usage}},"n":1}\n\n` : `",${usage}}`;
    const sent = createHash('sha256');
    const chunk = async (bytes: Buffer): Promise<void> => {
      sent.update(bytes);
      if (!peer.chunk(bytes)) {
        await new Promise((resolve) => {
          peer.socket.once('drain', resolve);
        });
      }
    };
    peer.head('200 OK', ...(isStream ? SSE : ['transfer-encoding: chunked']));
    const response = await asked.answer;
    const got = createHash('sha256');
    const ended = once(response, 'end');
    response.on('data', (bytes: Buffer) => got.update(bytes));
    const before = process.memoryUsage().rss;
    await chunk(Buffer.from(first));
    const piece = Buffer.alloc(size, 'x');
    for (let n = 0; n < count; n++) await chunk(piece);
    await chunk(Buffer.from(last));
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
    peer.write('0\r\n\r\n');
    expect(await lineOf(sidecar)).toMatchObject({ inputTokens: 7, outputTokens: 8 });
    await ended;
    expect(got.digest('hex')).toBe(sent.digest('hex'));
  });
});

describe('a usage that does not come is missed', () => {
  const CHAT = 'POST /v1/chat/completions';

  it('where the client leaves a stream, though not behind its usage', async () => {
    const { sidecar, upstream } = await stage();
    const usage = 'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":8}}\n\n';
    const cases = [
      ['data: {"choices":[]}\n\n', { usageFault: 'cut', chunks: 1 }],
      [usage, { usageFault: undefined, inputTokens: 7, chunks: 1 }],
    ] as const;
    for (const [at, [said, expected]] of cases.entries()) {
      const caller = await callWith(sidecar, CHAT, { body: '{}' });
      const peer = await upstream.next();
      peer.head('200 OK', ...SSE);
      peer.chunk(said);
      await caller.until('data:');
      caller.leave();
      await peer.gone;
      const line = await lineOf(sidecar, at + 1);
      const { usageFault, ...rest } = expected;
      expect(line).toMatchObject({ outcome: 'client_aborted', ...rest });
      expect(line?.['usageFault']).toBe(usageFault);
      expect(line?.['firstChunkMs']).toBeGreaterThan(0);
    }
  });

  it('where the client leaves before the answer', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    await peer.body;
    caller.leave();
    expect(await lineOf(sidecar)).toMatchObject({ usageFault: 'cut', status: 0 });
  });

  it('where LiteLLM breaks off', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, CHAT, { body: '{}' });
    const peer = await upstream.next();
    peer.head('200 OK', ...SSE);
    peer.chunk('data: {"usage":{"prompt_tok');
    await caller.until('prompt_tok');
    peer.reset();
    const expected = { usageFault: 'cut', outcome: 'upstream_aborted' };
    expect(await lineOf(sidecar)).toMatchObject(expected);
  });

  it('where it is a WebSocket, which is not read', async () => {
    const { sidecar, upstream } = await stage();
    const socket = openWebSocket(sidecar);
    (await accept(await upstream.next())).close(1000);
    await closed(socket);
    expect(await lineOf(sidecar)).toMatchObject({ status: 101, usageFault: 'websocket' });
  });

  it.each([
    ['an error', 'POST', '/v1/chat/completions', '500 Oops', {}],
    ['no usage', 'POST', '/v1/chat/completions', '200 OK', { usageFault: 'absent' }],
    ['a stored response', 'GET', '/v1/responses/resp_1', '200 OK', {}],
    ['a picture', 'POST', '/v1/images/generations', '200 OK', {}],
    ['a list of models', 'GET', '/v1/models', '200 OK', {}],
  ])('and not otherwise: %s', async (_, method, path, status, expected) => {
    const body = method === 'GET' ? '{"usage":{"input_tokens":3,"output_tokens":4}}' : '{}';
    const { sidecar } = await stage({ script: (peer) => peer.answer(status, body) });
    const asked = ask(sidecar, { method, path });
    asked.request.end(method === 'POST' ? '{}' : undefined);
    await bodyOf(await asked.answer);
    const { usageFault, inputTokens } = (await lineOf(sidecar)) ?? {};
    expect({ usageFault, inputTokens }).toEqual({ usageFault: undefined, ...expected });
  });
});
