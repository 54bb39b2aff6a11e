import { describe, expect, it } from 'vitest';
import { get } from '../support/ask.ts';
import { attack, expectRefusal, sayLine } from '../support/attack.ts';
import { callRaw, requestBytes } from '../support/raw-caller.ts';
import { conversation, converse, head, lastRequest } from '../support/raw-client.ts';
import { accessLine, createStages } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';
const CHUNKED = ['transfer-encoding: chunked'];

describe('the head of a request', () => {
  it('may be large, but not too large: 431', async () => {
    const on = await stage({ script: sayLine });
    const large = (bytes: number) =>
      requestBytes(on.sidecar, 'GET /v1/models', { fields: [`cookie: ${'x'.repeat(bytes)}`] });
    const good = await attack(on, large(24 * 1024));
    expect(good.answers.map(({ status }) => status)).toEqual([200, 200]);
    for (const bytes of [64 * 1024, 1024 * 1024]) {
      const { reached, refusals, rest, answers } = await attack(on, large(bytes));
      const seen = { reached, refusals, rest, status: answers[0]?.status };
      expect(seen).toEqual({ reached: [], refusals: ['headers_too_large'], rest: '', status: 431 });
    }
    const path = head(`GET /v1/${'x'.repeat(40_000)} HTTP/1.1`, 'host: gateway');
    expect((await converse(on.sidecar.port, path)).refusals).toEqual(['headers_too_large']);
    // Each is told once, however many packets it was.
    const lines = on.sidecar.accessLines();
    expect(lines.filter(({ status }) => status === 431)).toHaveLength(3);
  });

  it('that is slow ends in 408', async () => {
    const on = await stage({ settings: { SIDECAR_HEADERS_TIMEOUT: '200ms' } });
    const caller = await callRaw(on.sidecar.port);
    caller.send('GET /v1/models HTTP/1.1\r\nhost: gate');
    const { answers, refusals } = await conversation(caller);
    expect(refusals).toEqual(['request_timeout']);
    expect(answers[0]?.status).toBe(408);
    expect(await get(on.sidecar, '/health/liveness')).toMatchObject({ text: '"I\'m alive!"' });
  });

  it('that never begins ends without a word', async () => {
    const on = await stage({ settings: { SIDECAR_HEADERS_TIMEOUT: '200ms' } });
    const caller = await callRaw(on.sidecar.port);
    expect(await conversation(caller)).toMatchObject({ answers: [], rest: '' });
    expect(on.sidecar.accessLines()).toEqual([]);
  });
});

describe('the body of a request', () => {
  it('that nobody wants is read to its end, so that its sender sees the refusal', async () => {
    const on = await stage({ script: sayLine });
    const caller = await callRaw(on.sidecar.port);
    const size = 32 * 1024 * 1024;
    const fields = [`content-length: ${size}`];
    // As nginx does, which writes all of a body, and takes a reset for the end of the upstream.
    caller.send(requestBytes({ key: 'sk-no-key-of-ours' }, CHAT, { fields }));
    caller.send('x'.repeat(size));
    expect(await caller.ended).toBe('end');
    expect(caller.received).toContain('x-sidecar-refusal: malformed_key');
    expect(caller.socket.writableLength).toBe(0);
  });

  it('that stops coming ends in 408 (SIDECAR_UPLOAD_IDLE)', async () => {
    const on = await stage({ settings: { SIDECAR_UPLOAD_IDLE: '100ms' } });
    const caller = await callRaw(on.sidecar.port);
    const fields = ['content-length: 10'];
    caller.send(`${requestBytes(on.sidecar, CHAT, { fields })}half`);
    const peer = await on.upstream.next();
    await caller.until('request_timeout');
    // LiteLLM is not left waiting for the rest.
    await peer.gone;
    caller.send(`-here${lastRequest(on.sidecar.key)}`);
    const { answers, refusals, rest } = await conversation(caller);
    expect({ refusals, rest }).toEqual({ refusals: ['request_timeout'], rest: '' });
    expect(answers[0]?.status).toBe(408);
    expect(on.upstream.requests).toHaveLength(1);
    expect(await accessLine(on.sidecar)).toMatchObject({ status: 408, refusal: 'request_timeout' });
  });

  it('above SIDECAR_BODY_LIMIT is refused by its Content-Length', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const sized = (bytes: number) => requestBytes(on.sidecar, CHAT, { body: 'x'.repeat(bytes) });
    const good = await attack(on, sized(1024));
    expect(good.refusals).toEqual([undefined, undefined]);
    await expectRefusal(on, sized(1025), 'body_too_large', 'clean');
  });

  it('above SIDECAR_BODY_LIMIT is refused before it is sent', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const fields = ['content-length: 1000000000'];
    const caller = await callRaw(on.sidecar.port);
    caller.send(requestBytes(on.sidecar, CHAT, { fields }));
    await caller.until('body_too_large');
    caller.leave();
    expect(on.upstream.requests).toEqual([]);
  });

  it('above SIDECAR_BODY_LIMIT is refused when its chunks add up to that', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const chunk = `200\r\n${'x'.repeat(512)}\r\n`;
    const good = await attack(
      on,
      `${requestBytes(on.sidecar, CHAT, { fields: CHUNKED })}${chunk.repeat(2)}0\r\n\r\n`,
    );
    expect(good.refusals).toEqual([undefined, undefined]);
    const bytes = requestBytes(on.sidecar, CHAT, { fields: CHUNKED });
    const { refusals, rest } = await attack(on, `${bytes}${chunk.repeat(3)}0\r\n\r\n`);
    expect({ first: refusals[0], rest }).toEqual({ first: 'body_too_large', rest: '' });
    // Its beginning may have gone on as it came, but LiteLLM never sees its end.
    const posts = on.upstream.requests.filter(({ method }) => method === 'POST').slice(1);
    for (const peer of posts) {
      await peer.gone;
      expect(peer.rawBody.toString()).not.toMatch(/^0\r\n/m);
    }
  });

  it('above SIDECAR_BODY_LIMIT is refused in the midst of being sent', async () => {
    const on = await stage({ settings: { SIDECAR_BODY_LIMIT: '1KiB' } });
    const caller = await callRaw(on.sidecar.port);
    caller.send(`${requestBytes(on.sidecar, CHAT, { fields: CHUNKED })}1\r\nx\r\n`);
    const peer = await on.upstream.next();
    caller.send(`400\r\n${'x'.repeat(1024)}\r\n`);
    await caller.until('body_too_large');
    await peer.gone;
    caller.send(`0\r\n\r\n${lastRequest(on.sidecar.key)}`);
    const { refusals, rest } = await conversation(caller);
    expect({ refusals, rest }).toEqual({ refusals: ['body_too_large'], rest: '' });
    expect(peer.rawBody.toString()).not.toMatch(/^0\r\n/m);
    expect(on.upstream.requests).toHaveLength(1);
  });
});
