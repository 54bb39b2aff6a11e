import { describe, expect, it } from 'vitest';
import { createLiveRecorder } from '../../src/usage/live.ts';
import { exchange } from './live-exchange.ts';

const BEGIN = Date.parse('2026-11-29T12:00:00.000Z');
const start = () => {
  const clock = { now: BEGIN, elapsed: 0 };
  const recorder = createLiveRecorder({ now: () => clock.now, elapsed: () => clock.elapsed });
  return { clock, ...recorder };
};
const tokens = { input: 100, output: 20, cached: 0, cacheWrite: 0, reasoning: 0 };
const REFUSED = {
  ...{ client: '-', generation: '-', model: '', status: 401, refusal: 'unknown_key' },
};

describe('the live recorder', () => {
  it('counts what ends by client and model, with what was used', () => {
    const { add, history } = start();
    add(exchange({ usage: { tokens, costUsd: 0.25 }, firstChunkMs: 120 }));
    add(exchange({ client: 'ci', generation: 'ci-1', usage: { tokens, costUsd: undefined } }));
    const [bin] = history();
    const used = { requests: 1, refusals: 0, errors: 0, tokensIn: 100, tokensOut: 20 };
    expect(bin).toMatchObject({
      ...{ at: '2026-11-29T12:00:00.000Z', requests: 2, tokensIn: 200, tokensOut: 40 },
      costUsd: 0.25,
      byClient: { master: { ...used, costUsd: 0.25 }, ci: { ...used, costUsd: 0 } },
      byModel: { 'gpt-4o': { requests: 2, firstChunkMs: { count: 1, upTo: { '136': 1 } } } },
    });
  });

  it('tells a refusal from an error, each by its reason, as usage.db does', () => {
    const { add, history } = start();
    add(exchange(REFUSED));
    add(exchange({ status: 429, refusal: 'rate_limited', model: '' }));
    add(exchange({ status: 503, refusal: 'upstream_unavailable', model: '' }));
    add(exchange({ status: 429 }));
    add(exchange({ outcome: 'upstream_aborted' }));
    add(exchange({ outcome: 'cut' }));
    add(exchange({ outcome: 'client_aborted' }));
    add(exchange({ status: 500, model: '' }));
    expect(history()[0]).toMatchObject({
      ...{ requests: 8, refusals: 2, errors: 5 },
      refusalsByReason: { unknown_key: 1, rate_limited: 1 },
      errorsByReason: {
        ...{ upstream_unavailable: 1, http_429: 1, upstream_aborted: 1, cut: 1, http_500: 1 },
      },
      byClient: { '-': { requests: 1, refusals: 1 }, master: { requests: 7, errors: 5 } },
      // What was refused never had a model; what failed at LiteLLM may have named none.
      byModel: { 'gpt-4o': { requests: 4, errors: 3 }, '-': { requests: 1, errors: 1 } },
    });
    expect(Object.keys(history()[0]?.byModel ?? {})).toHaveLength(2);
  });

  it('leaves health checks out', () => {
    const { add, history } = start();
    add(exchange({ client: '-', generation: '-' }));
    expect(history()).toEqual([]);
  });

  it('remembers 15 minutes in bins of 5 s, without the empty ones', () => {
    const { clock, add, history } = start();
    for (const seconds of [0, 4.999, 5, 20, 899]) {
      clock.now = BEGIN + seconds * 1000;
      add(exchange({}));
    }
    const seen = () => history().map(({ at, ms, requests }) => [at.slice(14, 19), ms, requests]);
    expect(seen()).toEqual([
      ['00:00', 5000, 2],
      ['00:05', 5000, 1],
      ['00:20', 5000, 1],
      ['14:55', 4000, 1],
    ]);
    clock.now = BEGIN + 906_000;
    expect(seen()).toEqual([
      ['00:20', 5000, 1],
      ['14:55', 5000, 1],
    ]);
    clock.now = BEGIN + 3_600_000;
    expect(seen()).toEqual([]);
  });

  it('forgets what a clock that was set back makes the future', () => {
    const { clock, add, history } = start();
    add(exchange({}));
    clock.now -= 3_600_000;
    add(exchange({ client: 'ci' }));
    expect(history().map(({ byClient }) => Object.keys(byClient))).toEqual([['ci']]);
  });

  it('takes what came between two looks, once', () => {
    const { clock, add, take, rest } = start();
    const pass = (ms: number): void => {
      clock.now += ms;
      clock.elapsed += ms;
    };
    add(exchange({}));
    expect(take()).toMatchObject({ requests: 0, ms: 0 });
    pass(1003);
    add(exchange({}));
    expect(take()).toMatchObject({ requests: 1, ms: 1003, at: '2026-11-29T12:00:00.000Z' });
    pass(1000);
    expect(take()).toMatchObject({ requests: 0, ms: 1000, firstChunkMs: null });
    rest();
    add(exchange({}));
    pass(1000);
    expect(take()).toMatchObject({ requests: 0, ms: 0 });
  });

  it('knows how long it looked, whatever became of the clock meanwhile', () => {
    const { clock, add, take } = start();
    take();
    clock.now -= 3_600_000;
    clock.elapsed += 1000.4;
    add(exchange({}));
    expect(take()).toMatchObject({ requests: 1, ms: 1000 });
  });

  it('knows the median and the 95th of a hundred of first chunks', () => {
    const { add, take } = start();
    take();
    // Not in their order.
    for (let at = 0; at < 100; at++) add(exchange({ firstChunkMs: ((at * 37) % 100) + 1 }));
    expect(take().firstChunkMs).toMatchObject({ p50: 50, p95: 96, count: 100 });
    for (const ms of [0, 5, 5.1, 90_000, 120_000, 600_000]) {
      add(exchange({ firstChunkMs: ms, model: `m${ms}` }));
    }
    const { firstChunkMs, byModel } = take();
    expect(firstChunkMs).toEqual({
      ...{ p50: 7, p95: 116_999, count: 6 },
      upTo: { '5': 2, '7': 1, '99996': 1, '120000': 2 },
    });
    expect(byModel['m5.1']?.firstChunkMs).toEqual({ p50: 6, p95: 7, count: 1, upTo: { '7': 1 } });
  });

  it('lets a name go once none of the 15 minutes has it', () => {
    const { clock, add, history } = start();
    for (let at = 0; at < 100; at++) add(exchange({ client: `c${at}`, model: `m${at}` }));
    const namesNow = (seconds: number) => {
      clock.now = BEGIN + seconds * 1000;
      add(exchange({ client: 'new', model: 'newer' }));
      const { byClient = {}, byModel = {} } = history().at(-1) ?? {};
      return [byClient, byModel].map((names) => Object.keys(names).join());
    };
    // One that is still asked for keeps its name.
    clock.now = BEGIN + 600_000;
    add(exchange({ client: 'c0', model: 'm0' }));
    expect(namesNow(899)).toEqual(['other', 'other']);
    expect(namesNow(900)).toEqual(['new', 'newer']);
    clock.now = BEGIN + 905_000;
    for (let at = 60; at < 160; at++) add(exchange({ client: `c${at}`, model: `m${at}` }));
    add(exchange({ client: 'c0', model: 'm0' }));
    const { byClient = {}, byModel = {} } = history().at(-1) ?? {};
    expect([byClient, byModel].map((names) => Object.keys(names).length)).toEqual([50, 100]);
    expect([byClient['c0']?.requests, byModel['m0']?.requests]).toEqual([1, 1]);
  });

  it('shows 50 clients and 100 models by name, and makes no name up of a bad one', () => {
    const { add, history } = start();
    const evil = `${'\u001b[31m'}<script>${'\u202e'}sk-${'a'.repeat(48)}`;
    add(exchange({ model: evil }));
    add(exchange({ model: '__proto__' }));
    for (let at = 0; at < 200; at++) add(exchange({ client: `c${at}`, model: `m${at}` }));
    const bin = JSON.parse(JSON.stringify(history()[0]));
    expect(Object.keys(bin.byClient)).toHaveLength(51);
    expect(Object.keys(bin.byModel)).toHaveLength(101);
    expect(bin.byModel.other.requests).toBe(102);
    expect(bin.byClient.other.requests).toBe(151);
    expect(Object.keys(bin.byModel).slice(0, 2)).toEqual(['<script>[redacted]', '__proto__']);
  });

  it('has the last hundred that were refused, the latest first, and no key of theirs', () => {
    const { clock, add, refused } = start();
    expect(refused()).toEqual([]);
    for (let at = 0; at < 130; at++) {
      clock.now = BEGIN + at;
      add(exchange({ ...REFUSED, id: `request-${at}`, userAgent: `sk-${'b'.repeat(48)} curl` }));
    }
    add(exchange({}));
    const list = refused();
    expect(list.map(({ requestId }) => requestId)).toEqual(
      Array.from({ length: 100 }, (_, at) => `request-${129 - at}`),
    );
    expect(list[0]).toEqual({
      ...{ at: '2026-11-29T12:00:00.129Z', requestId: 'request-129', reason: 'unknown_key' },
      ...{ status: 401, client: null, generation: null, method: 'POST' },
      ...{ route: '/v1/chat/completions', address: '10.0.0.7', userAgent: '[redacted] curl' },
    });
  });
});
