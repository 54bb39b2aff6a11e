import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ClientView } from '../../src/rotation/admin.ts';
import { addClient, adminCall } from '../support/admin.ts';
import { ask, bodyOf, get, post } from '../support/ask.ts';
import type { Script } from '../support/fake-upstream.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages, eventually, series } from '../support/stage.ts';
import { sayUsage } from '../support/usage.ts';
import { accept, closed, message, opened, openWebSocket, refused } from '../support/websocket.ts';

const stage = createStages();

/** A sidecar and a client of it with these limits; without a script a test answers by hand. */
async function start(limits: object, script: Script | null = sayUsage) {
  const { sidecar, upstream } = await stage(script === null ? {} : { script });
  const { as: ci } = await addClient(sidecar, { name: 'ci', limits });
  return { sidecar, upstream, ci };
}

/** The lines of the client's requests that are over, once there are so many. */
const linesOf = (sidecar: Sidecar, count: number) =>
  eventually(() => {
    const lines = sidecar.accessLines().filter(({ client }) => client === 'ci');
    return lines.length >= count ? lines : undefined;
  });

const limitFieldsOf = (headers: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.includes('ratelimit')));

/** As Anthropic's API answers, with what LiteLLM says of a limit that is none of this client's. */
const sayMessage: Script = async (peer) => {
  await peer.body;
  const usage = { input_tokens: 10, output_tokens: 20 };
  peer.answer(
    '200 OK',
    JSON.stringify({ type: 'message', role: 'assistant', content: [], usage }),
    'Content-Type: application/json',
    'x-litellm-response-cost: 0.001',
    'anthropic-ratelimit-requests-remaining: 4000',
    'x-ratelimit-remaining-requests: 4000',
  );
};

describe('rpm', () => {
  it('lets a minute of requests in at once, and tells the next when it may come', async () => {
    const { sidecar, ci, upstream } = await start({ rpm: 3 });
    for (const left of ['2', '1', '0']) {
      const { response } = await get(ci);
      expect(response.statusCode).toBe(200);
      expect(limitFieldsOf(response.headers)).toMatchObject({
        'x-ratelimit-limit-requests': '3',
        'x-ratelimit-remaining-requests': left,
      });
    }
    const { response, text } = await get(ci);
    expect(response.statusCode).toBe(429);
    const { headers } = response;
    expect(headers).toMatchObject({
      'retry-after': '20',
      'x-sidecar-refusal': 'rate_limited',
      'x-ratelimit-reset-requests': '1m0s',
    });
    expect(headers['x-should-retry']).toBeUndefined();
    expect(JSON.parse(text).error).toMatchObject({
      type: 'rate_limit_error',
      code: 'rate_limited',
      message: 'rpm: this client may send 3 requests a minute: the next one in 20 s',
    });
    expect(upstream.requests).toHaveLength(3);
    const lines = await linesOf(sidecar, 4);
    expect(lines.map(({ limit, refusal }) => [limit, refusal]).at(-1)).toEqual([
      ...['rpm', 'rate_limited'],
    ]);
    // Nobody else waits for it.
    expect((await get(sidecar)).response.statusCode).toBe(200);
  });

  it('is told in the shape and the fields of Anthropic on its routes', async () => {
    const { ci } = await start({ rpm: 1, tokensPerDay: '2k' }, sayMessage);
    const first = await post(ci, '{}', { path: '/v1/messages' });
    expect(limitFieldsOf(first.response.headers)).toEqual({
      'anthropic-ratelimit-requests-limit': '1',
      'anthropic-ratelimit-requests-remaining': '0',
      'anthropic-ratelimit-requests-reset': expect.stringMatching(/^20\d\d-.*:\d\dZ$/),
      'anthropic-ratelimit-tokens-limit': '2000',
      'anthropic-ratelimit-tokens-remaining': '1875',
      'anthropic-ratelimit-tokens-reset': expect.stringMatching(/T00:00:00Z$/),
    });
    const { response, text } = await post(ci, '{}', { path: '/v1/messages' });
    expect(response.headers['anthropic-ratelimit-requests-remaining']).toBe('0');
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
  });

  it('refuses before the upload is read', async () => {
    const { ci } = await start({ rpm: 1 });
    await get(ci);
    const headers = { 'content-length': '1000000', expect: '100-continue' };
    const asked = ask(ci, { method: 'POST', path: '/v1/chat/completions', headers });
    asked.request.on('continue', () => expect.fail('it was told to go on'));
    asked.request.flushHeaders();
    expect((await asked.answer).statusCode).toBe(429);
    asked.request.destroy();
  });

  it('may be read by a page in a browser', async () => {
    const { ci } = await start({ rpm: 1 });
    for (const status of [200, 429]) {
      const { response } = await get(ci, '/v1/models', {
        headers: { origin: 'https://page.example' },
      });
      expect(response.statusCode).toBe(status);
      expect(response.headers['access-control-expose-headers']).toContain(
        'x-ratelimit-remaining-requests',
      );
    }
  });
});

describe('parallel', () => {
  it('counts requests and tunnels until they are over', async () => {
    const { sidecar, ci, upstream } = await start({ parallel: 2 }, null);
    const first = ask(ci, { method: 'POST', path: '/v1/chat/completions' });
    first.request.end('{}');
    const peer = await upstream.next();
    const tunnel = openWebSocket(ci);
    const server = await accept(await upstream.next());
    await opened(tunnel);
    const { response, text } = await get(ci);
    expect(response.statusCode).toBe(429);
    expect(response.headers['retry-after']).toBe('1');
    expect(text).toContain('parallel: this client may have 2 requests under way');
    const isOver = closed(tunnel);
    server.close();
    await isOver;
    await linesOf(sidecar, 2);
    const again = ask(ci, {});
    again.request.end();
    (await upstream.next()).answer('200 OK', '{}');
    expect((await again.answer).statusCode).toBe(200);
    peer.answer('200 OK', '{}');
    await bodyOf(await first.answer);
  });

  it('is given back by a client that leaves', async () => {
    const { sidecar, ci, upstream } = await start({ parallel: 1 }, null);
    const asked = ask(ci, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.end('{}');
    await upstream.next();
    asked.request.destroy();
    await linesOf(sidecar, 1);
    const next = ask(ci, {});
    next.request.end();
    (await upstream.next()).answer('200 OK', '{}');
    expect((await next.answer).statusCode).toBe(200);
  });
});

describe('a budget', () => {
  it('that is spent refuses what may cost something, finally', async () => {
    const { sidecar, ci, upstream } = await start({ usdPerDay: 0.002, tokensPerDay: 1000 });
    await post(ci);
    await post(ci);
    await linesOf(sidecar, 2);
    const { response, text } = await post(ci);
    expect(response.statusCode).toBe(429);
    expect(response.headers).toMatchObject({
      'x-should-retry': 'false',
      'x-ratelimit-remaining-tokens': '940',
    });
    const midnight = (Math.floor(Date.now() / 86_400_000) + 1) * 86_400_000;
    const wait = Number(response.headers['retry-after']) * 1000;
    expect(Math.abs(Date.now() + wait - midnight)).toBeLessThan(60_000);
    expect(text).toContain('usd_per_day: the $0.002 of this client for today are used');
    // What only reads is let in.
    expect((await get(ci)).response.statusCode).toBe(200);
    expect(upstream.requests).toHaveLength(3);
    await series(sidecar, 'limit');
    expect(await series(sidecar, 'limit_used_ratio{client="ci",limit="usd_per_day"}')).toBeCloseTo(
      1,
    );
    expect(
      await series(sidecar, 'limit_reached_total{client="ci",limit="usd_per_day",mode="refuse"}'),
    ).toBe(1);
  });

  it('that is raised lets in again, and counts what was used before it was set', async () => {
    const { sidecar } = await stage({ script: sayUsage });
    const { as: ci } = await addClient(sidecar, { name: 'ci' });
    await post(ci);
    await linesOf(sidecar, 1);
    const set = (limits: object | null) =>
      adminCall(sidecar, 'PATCH', '/api/clients/ci', { body: { limits } });
    await set({ tokensPerDay: 30 });
    expect((await post(ci)).response.statusCode).toBe(429);
    await set({ tokensPerDay: 300 });
    expect((await post(ci)).response.statusCode).toBe(200);
    await set({ tokensPerDay: 1 });
    expect((await post(ci)).response.statusCode).toBe(429);
    await set(null);
    expect((await post(ci)).response.statusCode).toBe(200);
  });

  it('never cuts a stream that goes over it', async () => {
    const { sidecar, ci, upstream } = await start({ tokensPerDay: 5 }, null);
    const asked = ask(ci, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.end('{}');
    const peer = await upstream.next();
    peer.head('200 OK', 'Content-Type: text/event-stream', 'Transfer-Encoding: chunked');
    peer.chunk('data: {"choices":[]}\n\n');
    const answer = await asked.answer;
    const usage = { prompt_tokens: 500, completion_tokens: 500 };
    peer.chunk(`data: ${JSON.stringify({ choices: [], usage })}\n\n`);
    peer.chunk('data: [DONE]\n\n');
    peer.write('0\r\n\r\n');
    expect((await bodyOf(answer)).toString()).toContain('[DONE]');
    await linesOf(sidecar, 1);
    expect((await post(ci)).response.statusCode).toBe(429);
  });

  it.each([...['/v1/chat/completions', '/v1/images/generations']])(
    'is held by who leaves %s before the answer',
    async (path) => {
      const { sidecar, ci, upstream } = await start({ usdPerDay: 1 }, null);
      for (let nth = 0; nth < 16; nth += 1) {
        const asked = ask(ci, { method: 'POST', path });
        asked.request.end('{}');
        await upstream.next();
        asked.request.destroy();
        await linesOf(sidecar, nth + 1);
      }
      const { response, text } = await post(ci);
      expect(response.headers['x-should-retry']).toBe('false');
      expect(text).toContain('16 answers did not say it, and count by their size');
    },
  );
});

describe('what does not say what it used', () => {
  const EVENTS = ['content-type: text/event-stream', 'transfer-encoding: chunked'];
  /** As LiteLLM does: a stream that somebody leaves, a picture that takes long, a batch, tokens. */
  const say: Script = async (peer) => {
    const body = (await peer.body).toString();
    if (body.includes('"stream"')) {
      peer.head('200 OK', ...EVENTS);
      peer.chunk('data: {"choices":[{"delta":{"content":"word"}}]}\n\n');
    } else if (/batches|runs|jobs|a2a/.test(peer.target)) {
      peer.answer('200 OK', '{"id":"x","status":"queued"}', 'Content-Type: application/json');
    } else if (!/images/.test(peer.target)) await sayUsage(peer);
  };
  const BODY = JSON.stringify({ stream: true, text: 'a'.repeat(4000) });
  const startAll = async (settings = {}) => {
    const { sidecar } = await stage({ script: say, settings });
    const scopes = ['inference', 'passthrough'];
    const limits = { tokensPerDay: 5000, usdPerDay: 100 };
    const { as: ci } = await addClient(sidecar, { name: 'ci', scopes, limits });
    const use = async () =>
      ((await adminCall(sidecar, 'GET', '/api/clients/ci')).body as ClientView).use;
    /** Asks, and leaves at the first word of the answer. */
    const leave = async (path: string, lines: number) => {
      const asked = ask(ci, { method: 'POST', path });
      asked.request.end(BODY);
      await once(await asked.answer, 'data');
      asked.request.destroy();
      await linesOf(sidecar, lines);
    };
    return { sidecar, ci, use, leave };
  };

  it.each(['/v1/chat/completions', '/anthropic/v1/messages', '/v1/images/generations'])(
    'counts by its size, however small the mean is: a stream of %s that is left',
    async (path) => {
      const { sidecar, ci, use, leave } = await startAll();
      await post(ci);
      for (let nth = 0; nth < 8; nth += 1) await leave(path, nth + 2);
      const refused = (await linesOf(sidecar, 9))?.filter(({ limit }) => limit !== undefined);
      // A thousand tokens and more each: the fifth goes over.
      expect(refused).toHaveLength(3);
      const { reservedTokens = 0, reservedUsd = 0, tokensToday } = (await use()) ?? {};
      expect(reservedTokens).toBeGreaterThanOrEqual(5000);
      expect(reservedUsd).toBeCloseTo((reservedTokens * 0.001) / 30);
      for (let nth = 0; nth < 3; nth += 1) expect((await post(ci)).response.statusCode).toBe(429);
      expect(tokensToday).toBe(30);
    },
  );

  it('counts where LiteLLM had it, and answers too late', async () => {
    const { sidecar, ci, use } = await startAll({ SIDECAR_ANSWER_TIMEOUT: '100ms' });
    await post(ci);
    const { response } = await post(ci, '{}', { path: '/v1/images/generations' });
    expect(response.statusCode).toBe(504);
    await linesOf(sidecar, 2);
    expect((await use())?.reservedTokens).toBe(30);
  });

  it.each([...['/v1/batches', '/v1/fine_tuning/jobs', '/v1/threads/t/runs', '/a2a/agent']])(
    'counts where models work later: %s',
    async (path) => {
      const { sidecar, ci, use } = await startAll();
      await post(ci);
      await post(ci, '{}', { path });
      await linesOf(sidecar, 2);
      expect((await use())?.reservedTokens).toBe(30);
    },
  );

  it('costs nothing where a whole answer of another kind says no usage', async () => {
    const { sidecar, ci, use } = await startAll();
    await post(ci);
    for (const path of ['/v1/files', '/v1/batches/b/cancel', '/v1/threads']) {
      await post(ci, '{}', { path });
    }
    await linesOf(sidecar, 4);
    expect((await use())?.reservedTokens).toBe(0);
  });
});

describe('a WebSocket', () => {
  it('is refused where a budget is spent, and keeps a mean back of it when it is over', async () => {
    const { sidecar, ci, upstream } = await start({ usdPerDay: 0.1 }, null);
    for (let nth = 0; nth < 16; nth += 1) {
      const socket = openWebSocket(ci);
      const server = await accept(await upstream.next());
      await opened(socket);
      server.close();
      await linesOf(sidecar, nth + 1);
    }
    const { response, text } = await refused(openWebSocket(ci));
    expect(response.statusCode).toBe(429);
    expect(response.headers['x-should-retry']).toBe('false');
    expect(text).toContain('usd_per_day: the $0.1');
  });

  it('counts by what went both ways, where that is more', async () => {
    const { sidecar, ci, upstream } = await start({ tokensPerDay: 10_000 }, null);
    const socket = openWebSocket(ci);
    const server = await accept(await upstream.next());
    await opened(socket);
    socket.send('a'.repeat(4000));
    expect(await message(server)).toHaveLength(4000);
    server.send('b'.repeat(8000));
    expect(await message(socket)).toHaveLength(8000);
    server.close();
    await linesOf(sidecar, 1);
    const { use } = (await adminCall(sidecar, 'GET', '/api/clients/ci')).body as ClientView;
    expect(use?.reservedTokens).toBeGreaterThan(3000);
    expect(use?.reservedTokens).toBeLessThan(3050);
  });
});

describe('a client', () => {
  it('that is removed and made anew begins with a full bucket', async () => {
    const { sidecar, ci } = await start({ rpm: 1 });
    await get(ci);
    expect((await get(ci)).response.statusCode).toBe(429);
    const removed = await adminCall(sidecar, 'DELETE', '/api/clients/ci?force=true');
    expect(removed.status).toBe(200);
    // The keyring is looked at by a request.
    await get(sidecar);
    const { as: again } = await addClient(sidecar, { name: 'ci', limits: { rpm: 1 } });
    expect((await get(again)).response.statusCode).toBe(200);
  });

  it('that gets a budget is asked what it used today before this start', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sidecar-limits-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const settings = { SIDECAR_STATE: join(folder, 'state'), SIDECAR_USAGE_KEEP: '400d' };
    const before = await stage({ script: sayUsage, settings });
    const { as: ci } = await addClient(before.sidecar, { name: 'ci' });
    await post(ci);
    await before.sidecar.stop();
    const { sidecar } = await stage({ script: sayUsage, settings });
    const as = { ...sidecar, key: ci.key };
    const used = async () =>
      ((await adminCall(sidecar, 'GET', '/api/clients/ci')).body as ClientView).use?.tokensToday;
    await adminCall(sidecar, 'PATCH', '/api/clients/ci', { body: { limits: { tokensPerDay: 1 } } });
    await get(as);
    while ((await used()) !== 30);
    expect((await post(as)).response.statusCode).toBe(429);
  });
});

describe('the mode record', () => {
  it('refuses nothing, and counts what it would have refused', async () => {
    const { sidecar, ci } = await start({ rpm: 1, usdPerDay: 0.001, mode: 'record' });
    for (let nth = 0; nth < 3; nth += 1) {
      expect((await post(ci)).response.statusCode).toBe(200);
      await linesOf(sidecar, nth + 1);
    }
    const reached = (limit: string) =>
      series(sidecar, `limit_reached_total{client="ci",limit="${limit}",mode="record"}`);
    expect(await reached('usd_per_day')).toBe(2);
  });
});

describe('the SDKs', () => {
  const question = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] };
  /** Both, as they come: they try twice more where they may. */
  const sdks = (ci: Sidecar) => {
    const openai = new OpenAI({ apiKey: ci.key, baseURL: `${ci.url}/v1` });
    const anthropic = new Anthropic({ apiKey: ci.key, baseURL: ci.url });
    return [
      () => openai.chat.completions.create(question),
      () => anthropic.messages.create({ ...question, max_tokens: 9 }),
    ];
  };

  it('do not try again where a budget is spent', async () => {
    const { sidecar, ci } = await start({ usdPerDay: 0.001 });
    await post(ci);
    await linesOf(sidecar, 1);
    for (const create of sdks(ci)) {
      const error = await create().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ status: 429 });
      expect(String(error)).toContain('usd_per_day');
    }
    expect(await linesOf(sidecar, 3)).toHaveLength(3);
  });

  it('try again after the Retry-After of rpm', async () => {
    const { sidecar, ci } = await start({ rpm: 60 });
    for (let nth = 0; nth < 60; nth += 1) await get(ci);
    await Promise.all(sdks(ci).map((create) => create()));
    const lines = (await linesOf(sidecar, 64)).slice(60);
    expect(lines.filter(({ limit }) => limit === 'rpm').length).toBeGreaterThanOrEqual(2);
    expect(lines.filter(({ status }) => status === 200)).toHaveLength(2);
  });
});
