import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { Usage } from '../../src/litellm/usage.ts';
import type { ExchangeRecord } from '../../src/proxy/record.ts';
import { createLabelSet } from '../../src/telemetry/series.ts';
import { createUsageFamilies } from '../../src/telemetry/usage-families.ts';
import { exchange } from './exchange.ts';
import { labelValues } from './exposition.ts';
import { startMetrics } from './start-metrics.ts';

const used = (changes: Partial<Usage['tokens']> = {}): Usage => ({
  tokens: { input: 100, output: 40, cached: 60, cacheWrite: 10, reasoning: 30, ...changes },
  costUsd: 0.25,
});

/** A stream of some chunks, as most are. */
const stream = (changes: Partial<ExchangeRecord> = {}): ExchangeRecord =>
  exchange({ firstChunkMs: 300, lastChunkMs: 1300, chunks: 11, usage: used(), ...changes });

const start = () => {
  const metrics = startMetrics();
  const own = async (name: string) => (await metrics.series()).get(`litellm_sidecar_${name}`);
  const end = (changes: Partial<ExchangeRecord> = {}) =>
    metrics.events.onExchangeEnd(exchange({ model: 'm', ...changes }));
  return { ...metrics, own, end };
};

describe('what is counted of a model', () => {
  it('is its tokens by type and its cost, for each client', async () => {
    const { end, own } = start();
    end({ client: 'ci', usage: used() });
    end({ client: 'ci', usage: { ...used({ reasoning: 0 }), costUsd: undefined } });
    end({ client: 'agent', usage: used() });
    const tokens = (type: string) => own(`tokens_total{client="ci",model="m",type="${type}"}`);
    expect(await tokens('input')).toBe(200);
    expect(await tokens('output')).toBe(80);
    expect(await tokens('cached')).toBe(120);
    expect(await tokens('cache_write')).toBe(20);
    expect(await tokens('reasoning')).toBe(30);
    expect(await own('cost_usd_total{client="ci",model="m"}')).toBe(0.25);
    expect(await own('cost_usd_total{client="agent",model="m"}')).toBe(0.25);
  });

  it.each([
    ['ok', { status: 200 }],
    ['ok', { status: 101, websocket: true, asksModel: false, group: 'realtime' }],
    ['429', { status: 429 }],
    ['4xx', { status: 400 }],
    ['5xx', { status: 503 }],
    ['cut', { outcome: 'client_aborted' }],
    ['cut', { outcome: 'client_aborted', status: 0, firstByteMs: -1 }],
    ['cut', { outcome: 'upstream_aborted' }],
    ['cut', { outcome: 'cut', status: 200 }],
  ] as const)('a request ends as %s: %j', async (outcome, changes) => {
    const { end, series } = start();
    end(changes);
    const rows = [...(await series())].filter(([key]) => key.includes('model_requests_total'));
    expect(rows.filter(([, value]) => value > 0)).toEqual([
      [`litellm_sidecar_model_requests_total{client="master",model="m",outcome="${outcome}"}`, 1],
    ]);
  });

  it.each([
    ['what was never sent on', { overheadMs: -1, status: 401, refusal: 'unknown_key' }],
    ['what asks no model', { asksModel: false }],
    ["a provider's own routes", { group: 'group-1' }],
  ] as const)('leaves out %s', async (_what, changes) => {
    const { end, render } = start();
    end(changes);
    expect(labelValues(await render(), 'litellm_sidecar_model_requests_total', 'client')).toEqual(
      new Set(),
    );
  });

  it('counts usage wherever an answer says it', async () => {
    const { end, own } = start();
    end({ group: 'group-1', asksModel: false, usage: used() });
    expect(await own('tokens_total{client="master",model="m",type="input"}')).toBe(100);
  });

  it('is called - where LiteLLM names no model', async () => {
    const { end, own } = start();
    end({ model: '', status: 500 });
    expect(await own('model_requests_total{client="master",model="-",outcome="5xx"}')).toBe(1);
  });
});

describe('what begins at 0', () => {
  it('is every outcome and type of a client and a model, and the failures of a client', async () => {
    const { end, own } = start();
    end({ usage: used() });
    expect(await own('model_requests_total{client="master",model="m",outcome="429"}')).toBe(0);
    // LiteLLM names no model where it fails.
    expect(await own('model_requests_total{client="master",model="-",outcome="5xx"}')).toBe(0);
  });

  it('is each pair of the first clients and models', async () => {
    const { end, own, series } = start();
    end({ client: 'one', model: 'a' });
    end({ client: 'two', model: 'b' });
    expect(await own('tokens_total{client="one",model="b",type="output"}')).toBe(0);
    expect(await own('cost_usd_total{client="two",model="a"}')).toBe(0);
    for (let index = 0; index < 90; index += 1) end({ client: 'one', model: `m${index}` });
    const pairs = [...(await series()).keys()].filter((key) => key.includes('cost_usd_total'));
    expect(pairs.filter((key) => key.includes('client="two"')).length).toBeLessThan(26);
  });

  it('is each pair of a client and a model that LiteLLM lists, before anybody asks', async () => {
    const dates = {
      createdAt: 1,
      lastUsedAt: undefined,
      deadline: undefined,
      clientEndsAt: undefined,
    };
    const gauges = { client: 'ci', generation: 'ci-1', ...dates };
    const { onModels, series } = startMetrics({ keys: () => [gauges] });
    onModels(['a', 'b', `sk-${'a'.repeat(40)}`]);
    await series();
    const at = await series();
    const costs = [...at.keys()].filter((key) => key.includes('cost_usd_total')).sort();
    expect(costs.map((key) => key.slice('litellm_sidecar_cost_usd_total'.length))).toEqual([
      '{client="ci",model="-"}',
      '{client="ci",model="a"}',
      '{client="ci",model="b"}',
    ]);
  });

  it('is nothing of a list that is long: with wildcards it has every model there is', async () => {
    const { onModels, end, render } = start();
    onModels(Array.from({ length: 26 }, (_, index) => `model-${index}`));
    end();
    expect(labelValues(await render(), 'litellm_sidecar_cost_usd_total', 'model')).toEqual(
      new Set(['m', '-']),
    );
  });

  it('is every reason why an answer may not say its usage, once a route has answered', async () => {
    const { end, own } = start();
    end({ status: 500 });
    expect(await own('usage_missing_total{route="chat",reason="absent"}')).toBe(undefined);
    end({ usage: used() });
    expect(await own('usage_missing_total{route="chat",reason="absent"}')).toBe(0);
    end({ usageFault: 'absent' });
    end({ usageFault: 'encoding', group: 'unheard-of' });
    expect(await own('usage_missing_total{route="chat",reason="absent"}')).toBe(1);
    expect(await own('usage_missing_total{route="chat",reason="invalid"}')).toBe(0);
    expect(await own('usage_missing_total{route="other",reason="encoding"}')).toBe(1);
  });
});

describe('how fast a stream was', () => {
  it('is its first chunk, and the mean time of those behind it', async () => {
    const { events, own } = start();
    events.onExchangeEnd(stream({ model: 'm' }));
    expect(await own('time_to_first_chunk_seconds_bucket{le="0.25",model="m"}')).toBe(0);
    expect(await own('time_to_first_chunk_seconds_bucket{le="0.5",model="m"}')).toBe(1);
    expect(await own('time_to_first_chunk_seconds_sum{model="m"}')).toBeCloseTo(0.3, 9);
    expect(await own('time_per_output_chunk_seconds_bucket{le="0.05",model="m"}')).toBe(0);
    expect(await own('time_per_output_chunk_seconds_bucket{le="0.1",model="m"}')).toBe(1);
    expect(await own('time_per_output_chunk_seconds_sum{model="m"}')).toBeCloseTo(0.1, 9);
  });

  it.each([
    ['an answer that is no stream', { lastChunkMs: -1 }],
    ['a stream of an error', { status: 500 }],
    ['a stream without a chunk', { firstChunkMs: -1, lastChunkMs: -1, chunks: 0 }],
  ])('leaves out %s', async (_what, changes) => {
    const { events, render } = start();
    events.onExchangeEnd(stream(changes));
    expect(await render()).not.toContain('first_chunk_seconds_count');
  });

  it('has no time between the chunks of a stream of one', async () => {
    const { events, render } = start();
    events.onExchangeEnd(stream({ chunks: 1, lastChunkMs: 300 }));
    const text = await render();
    expect(text).toContain('time_to_first_chunk_seconds_count');
    expect(text).not.toContain('time_per_output_chunk_seconds_count');
  });

  it('is less what LiteLLM says its model took, where it says so', async () => {
    const { end, own, render } = start();
    end({ firstByteMs: 120, upstreamMs: -1 });
    expect(await render()).not.toContain('upstream_wait_seconds_count');
    end({ firstByteMs: 120, upstreamMs: 90 });
    // Nobody waits for less than nothing.
    end({ firstByteMs: 120, upstreamMs: 1e9 });
    expect(await own('upstream_wait_seconds_count{route="chat"}')).toBe(1);
    expect(await own('upstream_wait_seconds_sum{route="chat"}')).toBeCloseTo(0.03, 9);
  });
});

describe("a model's name", () => {
  it.each([
    ['of 10 KB', 'm'.repeat(10_240)],
    ['with a newline', 'm\nlitellm_sidecar_forged 1'],
    ['with a control character', 'm\u0007'],
    ['with an escape sequence', '\u001b[31mm'],
    ['that turns a line around', 'm\u202e'],
    ['that may be a key', `sk-${'a'.repeat(40)}`],
  ])('%s is other', async (_what, model) => {
    const { end, render } = start();
    end({ model, usage: used() });
    const text = await render();
    expect(labelValues(text, 'litellm_sidecar_cost_usd_total', 'model')).toEqual(
      new Set(['other', '-']),
    );
    expect(text).not.toContain('forged');
  });

  it('with quotes, backslashes and letters of any script is shown as it is', async () => {
    const { end, own } = start();
    end({ model: 'a "model" \\ 模型', usage: used() });
    expect(await own('cost_usd_total{client="master",model="a \\"model\\" \\\\ 模型"}')).toBe(0.25);
  });

  it('that is new with every request fills its places, and no count is lost', async () => {
    const { events, series } = start();
    for (let index = 0; index < 3000; index += 1) {
      events.onExchangeEnd(stream({ client: `c${index % 7}`, model: `model-${index}` }));
    }
    const all = await series();
    const of = (name: string) =>
      [...all].filter(([key]) => key.startsWith(`litellm_sidecar_${name}`));
    const sum = (rows: readonly (readonly [string, number])[]) =>
      rows.reduce((total, [, value]) => total + value, 0);
    expect(of('cost_usd_total')).toHaveLength(101);
    expect(sum(of('cost_usd_total'))).toBeCloseTo(750, 6);
    expect(of('model_requests_total')).toHaveLength(505);
    expect(sum(of('model_requests_total'))).toBe(3000);
    expect(of('tokens_total')).toHaveLength(505);
    expect(of('time_to_first_chunk_seconds_count')).toHaveLength(20);
    expect(sum(of('time_to_first_chunk_seconds_count'))).toBe(3000);
  });

  it('is safe in the text, whatever it is', async () => {
    const line = /^(?:# |\w+\{(?:\w+="(?:[^"\\\n\p{Cc}]|\\["\\n])*",?)*\} \S+$)/u;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), { maxLength: 20 }),
        async (names) => {
          const registry = new Registry();
          const { onExchangeEnd } = createUsageFamilies(registry, createLabelSet([]), ['chat']);
          for (const model of names) onExchangeEnd(stream({ model }));
          const lines = (await registry.metrics()).split('\n').filter((it) => it !== '');
          expect(lines.filter((it) => !line.test(it))).toEqual([]);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('the usage database', () => {
  it('is shown where there is one', async () => {
    const none = startMetrics({ usageStore: undefined as never });
    expect(
      [...(await none.series()).keys()].filter((key) => /usage_(?:store|pend)/.test(key)),
    ).toEqual([]);
    let isBehind = false;
    const { series } = startMetrics({ usageStore: () => ({ isBehind, pendingRows: 7 }) });
    expect((await series()).get('litellm_sidecar_usage_store_up')).toBe(1);
    isBehind = true;
    const at = await series();
    expect(at.get('litellm_sidecar_usage_store_up')).toBe(0);
    expect(at.get('litellm_sidecar_usage_pending_rows')).toBe(7);
  });
});
