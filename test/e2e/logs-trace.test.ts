import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { get, outcomeOf, post } from '../support/ask.ts';
import { sayLine } from '../support/attack.ts';
import { callWith } from '../support/raw-caller.ts';
import { accessLine, createStages } from '../support/stage.ts';
import { accept, closed, opened, openWebSocket } from '../support/websocket.ts';

const stage = createStages();

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${ID}-00f067aa0ba902b7-00`;

describe('the trace of a request', () => {
  it("is the client's own, at LiteLLM and in the line", async () => {
    const { sidecar, upstream } = await stage({ script: sayLine });
    await get(sidecar, '/v1/models', { headers: { traceparent: PARENT, tracestate: 'a=1' } });
    expect(upstream.requests[0]?.values('traceparent')).toEqual([PARENT]);
    expect(upstream.requests[0]?.values('tracestate')).toEqual(['a=1']);
    expect((await accessLine(sidecar))['traceId']).toBe(ID);
  });

  it('is a new one where the client has none, at LiteLLM and in the line', async () => {
    const { sidecar, upstream } = await stage({ script: sayLine });
    await post(sidecar);
    const { traceId } = await accessLine(sidecar);
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(upstream.requests[0]?.values('traceparent')).toEqual([
      expect.stringMatching(`^00-${String(traceId)}-[0-9a-f]{16}-01$`),
    ]);
  });

  it('is none where LiteLLM shall begin its own', async () => {
    const settings = { SIDECAR_BEGIN_TRACES: 'false' };
    const { sidecar, upstream } = await stage({ script: sayLine, settings });
    const headers = { traceparent: 'not valid', tracestate: 'a=1' };
    await get(sidecar, '/v1/models', { headers });
    expect(upstream.requests[0]?.rawHead).not.toMatch(/^trace/im);
    expect(await accessLine(sidecar)).not.toHaveProperty('traceId');
    await get(sidecar, '/v1/models', { headers: { traceparent: PARENT } });
    expect(upstream.requests[1]?.values('traceparent')).toEqual([PARENT]);
  });

  it('stays the same at a second try', async () => {
    const { sidecar, upstream } = await stage({
      script(peer) {
        if (upstream.requests.length === 2) peer.reset();
        else peer.answer('200 OK', '{}');
      },
    });
    // The first leaves a connection, on which the second dies.
    await get(sidecar);
    await get(sidecar);
    const [, died, again] = upstream.requests.map((each) => each.values('traceparent'));
    expect(again).toEqual(died);
    expect(again).toHaveLength(1);
  });

  it('stands in the line of a refusal where the client named one', async () => {
    const { sidecar } = await stage();
    const stranger = { ...sidecar, key: generateKey() };
    expect(await outcomeOf(stranger, '/v1/models', { traceparent: PARENT })).toBe(
      '401 unknown_key',
    );
    expect(await outcomeOf(stranger)).toBe('401 unknown_key');
    const lines = sidecar.accessLines();
    expect(lines.map(({ traceId }) => traceId)).toEqual([ID, undefined]);
  });

  it('goes with a WebSocket', async () => {
    const { sidecar, upstream } = await stage({
      script: async (peer) => {
        (await accept(peer)).close(1000);
      },
    });
    for (const headers of [{ traceparent: PARENT }, {}]) {
      const authorization = `Bearer ${sidecar.key}`;
      const socket = openWebSocket(sidecar, { headers: { authorization, ...headers } });
      await opened(socket);
      await closed(socket);
    }
    const [given, made] = upstream.requests.map((each) => each.values('traceparent'));
    expect(given).toEqual([PARENT]);
    await expect
      .poll(() => sidecar.accessLines().map(({ traceId }) => traceId))
      .toEqual([ID, made?.[0]?.slice(3, 35)]);
    expect(made).toEqual([expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)]);
  });
});

describe('what LiteLLM says of a request', () => {
  it('stands in its line: its ids, what it used and cost, how long it took', async () => {
    const usage = { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 };
    const { sidecar } = await stage({
      script(peer) {
        peer.answer(
          '200 OK',
          JSON.stringify({ model: 'gpt-4o', usage }),
          'content-type: application/json',
          'x-litellm-call-id: call-1',
          'x-litellm-model-group: mine',
          'x-litellm-response-cost: 6e-05',
          'x-litellm-response-duration-ms: 2643.98',
          'llm_provider-x-request-id: req_1',
        );
      },
    });
    await post(sidecar);
    expect(await accessLine(sidecar)).toMatchObject({
      ...{ callId: 'call-1', providerId: 'req_1', model: 'mine', upstreamMs: 2643.98 },
      ...{ inputTokens: 12, outputTokens: 3, costUsd: 6e-5 },
    });
  });
});

describe('why an answer broke off', () => {
  it.each([
    ['end', 'other side closed'],
    ['reset', 'ECONNRESET'],
  ] as const)('stands in its line: LiteLLM dies in mid-stream, by %s', async (how, reason) => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.chunk('first');
    await caller.until('first');
    if (how === 'end') peer.socket.end();
    else peer.reset();
    await caller.ended;
    const line = await accessLine(sidecar, 'upstream_aborted');
    expect(line['abortReason']).toContain(reason);
  });

  it('stands in its line: LiteLLM says what is no HTTP, with a key in it', async () => {
    const { sidecar, upstream } = await stage();
    const key = generateKey();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.chunk('first');
    await caller.until('first');
    peer.write(`${key}\r\n`);
    await caller.ended;
    const line = await accessLine(sidecar, 'upstream_aborted');
    expect(line['abortReason']).toMatch(/chunk size/i);
  });

  it('stands in the line of a 502, too', async () => {
    const { sidecar } = await stage({ script: (peer) => peer.reset() });
    await post(sidecar);
    const [line] = sidecar.accessLines();
    expect(line).toMatchObject({ refusal: 'upstream_failed', abortReason: expect.anything() });
    expect(line?.['abortReason']).toContain('ECONNRESET');
  });

  it('is not said of an answer that came whole, nor of a client that left', async () => {
    const { sidecar, upstream } = await stage();
    const asked = get(sidecar);
    (await upstream.next()).answer('200 OK', '{}');
    await asked;
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', { body: '{}' });
    await upstream.next();
    caller.socket.destroy();
    await accessLine(sidecar, 'client_aborted');
    expect(sidecar.logText()).not.toContain('abortReason');
  });
});
