import { describe, expect, it } from 'vitest';
import type { ClientLimits } from '../../src/keyring/client-limits.ts';
import { durationOf, instantOf } from '../../src/proxy/limit-fields.ts';
import { createLimits, type Lease } from '../../src/proxy/limits.ts';
import { isRefusal, type Refusal } from '../../src/refusal.ts';
import { knownKey } from '../support/policies.ts';

const NOON = Date.UTC(2026, 10, 29, 12);
const TOKENS = { input: 60, output: 40, cached: 0, cacheWrite: 0, reasoning: 0 };

/** Limits, of which a test moves the clocks and counts what is used. */
function setUp(amounts: Partial<ClientLimits>) {
  const time = { now: NOON, elapsed: 0 };
  const spent = new Map<string, { tokens: number; costUsd: number }>();
  const reached: string[] = [];
  const limiter = createLimits({
    now: () => time.now,
    elapsed: () => time.elapsed,
    spentToday: (client) => spent.get(client) ?? { tokens: 0, costUsd: 0 },
    onReached: (...told) => void reached.push(told.join(' ')),
  });
  const none = {
    rpm: undefined,
    parallel: undefined,
    tokensPerDay: undefined,
    usdPerDay: undefined,
  };
  const keyWith = (changed: Partial<ClientLimits>) =>
    knownKey('ci', { limits: { ...none, mode: 'refuse', ...changed } });
  let key = keyWith(amounts);
  const enter = (dialect: 'openai' | 'anthropic' | 'google' = 'openai', spends = true) =>
    limiter.enter(key, dialect, spends);
  return {
    ...{ limiter, time, spent, reached, enter },
    lease(...asked: Parameters<typeof enter>): Lease {
      const entered = enter(...asked);
      if (entered === undefined || isRefusal(entered)) throw new Error('it was not let in');
      return entered;
    },
    refusal(...asked: Parameters<typeof enter>): Refusal {
      const entered = enter(...asked);
      if (entered === undefined || !isRefusal(entered)) throw new Error('it was let in');
      return entered;
    },
    change: (changed: Partial<ClientLimits>) => {
      key = keyWith(changed);
    },
  };
}

const SAID_NOTHING = { usage: undefined, unsaid: false, responseBytes: 0, chunks: 0 };
const UNSAID = { ...SAID_NOTHING, unsaid: true };
const ofFields = (fields: readonly string[] = []): Record<string, string> =>
  Object.fromEntries(
    fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1] ?? '']] : [])),
  );

describe('a refusal', () => {
  it('of rpm names it, its value, and when the next request may come', () => {
    const { lease, refusal, time, reached } = setUp({ rpm: 2 });
    lease();
    lease();
    time.elapsed = 1;
    expect(refusal()).toEqual({
      code: 'rate_limited',
      message: 'rpm: this client may send 2 requests a minute: the next one in 30 s',
      retryAfter: 30,
      limit: 'rpm',
      fields: [
        ...['x-ratelimit-limit-requests', '2', 'x-ratelimit-remaining-requests', '0'],
        ...['x-ratelimit-reset-requests', '1m0s'],
      ],
    });
    expect(reached).toEqual(['ci rpm refuse']);
    time.elapsed = 30_000;
    lease();
  });

  it('of parallel says to try again soon', () => {
    const { lease, refusal } = setUp({ parallel: 1 });
    const first = lease();
    expect(refusal()).toMatchObject({
      message: 'parallel: this client may have 1 request under way: the next one when another ends',
      retryAfter: 1,
      fields: [],
    });
    first.end(SAID_NOTHING, 0);
    lease();
  });

  it('of a spent budget is final, until midnight in UTC', () => {
    const { refusal, spent, time, lease } = setUp({ tokensPerDay: 2_000_000, usdPerDay: 0.5 });
    spent.set('ci', { tokens: 2_000_000, costUsd: 0 });
    expect(refusal()).toMatchObject({
      message:
        'tokens_per_day: the 2,000,000 tokens of this client for today are used: ' +
        'more from 2026-11-30T00:00:00Z on',
      retryAfter: 12 * 3600,
      final: true,
      limit: 'tokens_per_day',
    });
    spent.set('ci', { tokens: 0, costUsd: 0.6 });
    expect(refusal().message).toMatch(
      /^usd_per_day: the \$0\.5 of this client for today are used:/,
    );
    spent.clear();
    time.now = NOON + 86_400_000 / 2;
    lease();
  });

  it('of a budget that is reserved is not final', () => {
    const { lease, refusal } = setUp({ usdPerDay: 1 });
    for (let nth = 0; nth < 16; nth += 1) lease();
    const { message, retryAfter, final, limit } = refusal();
    expect({ retryAfter, final, limit }).toEqual({
      ...{ retryAfter: 1, final: undefined, limit: 'usd_per_day' },
    });
    expect(message).toBe(
      'usd_per_day: what is left of the $1 of this client for today is reserved for its ' +
        'requests under way: the next one when they end',
    );
  });

  it('says how many answers did not say what they used', () => {
    const { lease, refusal } = setUp({ tokensPerDay: 1600 });
    for (let nth = 0; nth < 16; nth += 1) lease().end(UNSAID, 0);
    expect(refusal().message).toMatch(
      /are used \(16 answers did not say it, and count by their size\): /,
    );
  });
});

describe('a request', () => {
  it('that does not say what it used counts by what went over the wire', () => {
    const { lease, limiter } = setUp({ tokensPerDay: 100_000, usdPerDay: 1 });
    const tiny = { tokens: { ...TOKENS, input: 6, output: 4 }, costUsd: 0.001 };
    lease().end({ ...SAID_NOTHING, usage: tiny }, 40);
    const kept = () => {
      const { reservedTokens, reservedUsd } = limiter.useOf('ci');
      return [reservedTokens, Number(reservedUsd.toFixed(6))];
    };
    // The body's 1000 tokens and 50 events, at the price of a token, a hundredth of a cent.
    lease().end({ ...UNSAID, responseBytes: 9000, chunks: 50 }, 4000);
    expect(kept()).toEqual([1050, 0.105]);
    // Of what has no events the bytes count.
    lease().end({ ...UNSAID, responseBytes: 400 }, 400);
    expect(kept()).toEqual([1250, 0.125]);
    // One so small that the mean is more.
    lease().end({ ...UNSAID }, 4);
    expect(kept()).toEqual([1260, 0.126]);
    // And it stays, however little the next ones use.
    for (let nth = 0; nth < 50; nth += 1) lease().end({ ...SAID_NOTHING, usage: tiny }, 40);
    expect(kept()).toEqual([1260, 0.126]);
  });

  it('of a client without limits is neither counted nor given a lease', () => {
    const { limiter } = setUp({});
    expect(limiter.enter(knownKey('free'), 'openai', true)).toBeUndefined();
    expect(limiter.useOf('free').inFlight).toBe(0);
  });

  it('that only reads is let in whatever is spent, but counts for rpm', () => {
    const { lease, refusal, spent } = setUp({ rpm: 1, usdPerDay: 1 });
    spent.set('ci', { tokens: 0, costUsd: 2 });
    lease('openai', false);
    expect(refusal('openai', false).limit).toBe('rpm');
  });

  it('of the mode record is let in all the same, and told', () => {
    const { lease, reached, limiter } = setUp({ rpm: 1, parallel: 1, mode: 'record' });
    lease();
    lease();
    lease();
    expect(reached).toEqual(['ci parallel record', 'ci parallel record']);
    expect(limiter.useOf('ci')).toMatchObject({ inFlight: 3, requestsLastMinute: 3 });
  });

  it('with a price beside a fault counts by it', () => {
    const { lease, limiter } = setUp({ tokensPerDay: 1000, usdPerDay: 1 });
    lease().end({ ...UNSAID, usage: { tokens: TOKENS, costUsd: 0.1 } }, 0);
    expect(limiter.useOf('ci')).toMatchObject({ reservedUsd: 0, reservedTokens: 62.5 });
  });

  it('without a price is counted as nothing, and nothing is reserved for the next', () => {
    const { lease, limiter } = setUp({ usdPerDay: 1 });
    lease().end({ ...SAID_NOTHING, usage: { tokens: TOKENS, costUsd: undefined } }, 0);
    lease();
    expect(limiter.useOf('ci')).toMatchObject({ inFlight: 1, reservedUsd: 0 });
  });
});

describe('a client whose limits change', () => {
  it('goes on with what it has used', () => {
    const { lease, refusal, change } = setUp({ rpm: 4, parallel: 9 });
    const leases = [lease(), lease(), lease()];
    change({ parallel: 3 });
    expect(refusal().limit).toBe('parallel');
    change({ rpm: 4 });
    lease();
    expect(refusal().limit).toBe('rpm');
    change({ parallel: 4 });
    expect(refusal().limit).toBe('parallel');
    // What was let in before the change is over for the same meter.
    for (const each of leases) each.end(SAID_NOTHING, 0);
    lease();
  });

  it('that is gone loses its meter, and its requests under way end in peace', () => {
    const { lease, limiter } = setUp({ parallel: 1 });
    const first = lease();
    limiter.keep((client) => client === 'ci');
    expect(limiter.useOf('ci').inFlight).toBe(1);
    limiter.keep(() => false);
    expect(limiter.useOf('ci').inFlight).toBe(0);
    const second = lease();
    first.end(SAID_NOTHING, 0);
    expect(limiter.useOf('ci').inFlight).toBe(1);
    second.end(SAID_NOTHING, 0);
  });
});

describe('the fields of an answer', () => {
  it('say in the form of OpenAI what is left', () => {
    const { lease, spent, time } = setUp({ rpm: 60, tokensPerDay: 2_000_000 });
    const before = lease('openai');
    spent.set('ci', { tokens: 100, costUsd: 0 });
    before.end({ ...SAID_NOTHING, usage: { tokens: TOKENS, costUsd: undefined } }, 0);
    time.now += 1;
    const fields: string[] = [];
    lease('openai').stamp(fields, 'openai', undefined);
    expect(ofFields(fields)).toEqual({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '58',
      'x-ratelimit-reset-requests': '2s',
      'x-ratelimit-limit-tokens': '2000000',
      'x-ratelimit-remaining-tokens': '1999800',
      'x-ratelimit-reset-tokens': '12h0m0s',
    });
  });

  it('say it in the form of Anthropic on its routes', () => {
    const { lease } = setUp({ rpm: 60, tokensPerDay: 16 });
    const fields: string[] = [];
    lease().stamp(fields, 'anthropic', undefined);
    expect(ofFields(fields)).toEqual({
      'anthropic-ratelimit-requests-limit': '60',
      'anthropic-ratelimit-requests-remaining': '59',
      'anthropic-ratelimit-requests-reset': '2026-11-29T12:00:01Z',
      'anthropic-ratelimit-tokens-limit': '16',
      'anthropic-ratelimit-tokens-remaining': '15',
      'anthropic-ratelimit-tokens-reset': '2026-11-30T00:00:00Z',
    });
  });

  it('replace those of LiteLLM about the same, and leave the others', () => {
    const { lease } = setUp({ rpm: 60 });
    const fields = [
      ...['X-RateLimit-Remaining-Requests', '1', 'x-ratelimit-remaining-tokens', '7'],
      ...['anthropic-ratelimit-requests-limit', '2', 'x-request-id', 'r'],
      ...['x-ratelimit-limit-requests', '3', 'ant', 'a'],
    ];
    lease().stamp(fields, 'openai', 'https://page.example');
    const { 'access-control-expose-headers': exposed, ...rest } = ofFields(fields);
    expect(rest).toEqual({
      ...{ 'x-ratelimit-remaining-tokens': '7', 'x-request-id': 'r', ant: 'a' },
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
    });
    expect(exposed?.split(', ')).toHaveLength(12);
  });

  it('are none where neither requests nor tokens are limited', () => {
    const { lease } = setUp({ parallel: 2, usdPerDay: 1 });
    const fields = ['x-ratelimit-limit-requests', '3'];
    lease().stamp(fields, 'openai', 'https://page.example');
    expect(fields).toEqual(['x-ratelimit-limit-requests', '3']);
  });

  it.each([
    [0, '0s'],
    [1, '1s'],
    [59_001, '1m0s'],
    [360_000, '6m0s'],
    [86_400_000, '24h0m0s'],
    [18_180_000, '5h3m0s'],
  ])('%d ms are %s', (ms, text) => {
    expect(durationOf(ms)).toBe(text);
  });

  it('name instants in whole seconds, up', () => {
    for (const ms of [NOON, NOON + 1, NOON + 999, NOON + 1001, NOON + 5000, NOON + 9000, NOON]) {
      const up = new Date(Math.ceil(ms / 1000) * 1000).toISOString().replace('.000', '');
      expect(instantOf(ms)).toBe(up);
    }
  });
});
