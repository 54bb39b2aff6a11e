import { describe, expect, it } from 'vitest';
import type { ClientLimits, LimitMode } from '../../src/keyring/client-limits.ts';
import { startMetrics } from './start-metrics.ts';

const USE = {
  ...{ requestsLastMinute: 3, inFlight: 2, tokensToday: 500, usdToday: 1 },
  ...{ reservedTokens: 100, reservedUsd: 1 },
};
const NONE = { rpm: undefined, parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined };

/** Metrics of one client, whose limits a test changes. */
function setUp(first: Partial<ClientLimits>) {
  const set: { now: ClientLimits | undefined } = { now: { ...NONE, mode: 'refuse', ...first } };
  const metrics = startMetrics({
    limits: () => (set.now === undefined ? [] : [{ client: 'ci', limits: set.now, use: USE }]),
  });
  const read = async (family: string): Promise<Record<string, number>> => {
    const found = new Map<string, number>();
    for (const [name, value] of await metrics.series()) {
      const [, of, labels = ''] = /^litellm_sidecar_(\w+)\{(.*)\}$/.exec(name) ?? [];
      if (of === family) found.set(labels, value);
    }
    return Object.fromEntries(found);
  };
  const reached = (limit: 'rpm' | 'parallel', mode: LimitMode = 'refuse') =>
    metrics.events.onLimit('ci', limit, mode);
  return { set, read, reached };
}

describe('limits', () => {
  it('are shown as shares of what is used or reserved, while they are set', async () => {
    const { set, read } = setUp({ rpm: 4, parallel: 2, tokensPerDay: 1000, usdPerDay: 4 });
    expect(await read('limit_used_ratio')).toEqual({
      'client="ci",limit="rpm"': 0.75,
      'client="ci",limit="parallel"': 1,
      'client="ci",limit="tokens_per_day"': 0.6,
      'client="ci",limit="usd_per_day"': 0.5,
    });
    set.now = { ...NONE, parallel: 8, mode: 'refuse' };
    expect(await read('limit_used_ratio')).toEqual({ 'client="ci",limit="parallel"': 0.25 });
    set.now = undefined;
    expect(await read('limit_used_ratio')).toEqual({});
  });

  it('count from 0, by mode, so that the first is an increase', async () => {
    const { set, read, reached } = setUp({ rpm: 4 });
    expect(await read('limit_reached_total')).toEqual({
      'client="ci",limit="rpm",mode="refuse"': 0,
    });
    reached('rpm');
    set.now = { ...NONE, rpm: 4, mode: 'record' };
    await read('limit_used_ratio');
    reached('rpm', 'record');
    reached('rpm', 'record');
    expect(await read('limit_reached_total')).toEqual({
      'client="ci",limit="rpm",mode="refuse"': 1,
      'client="ci",limit="rpm",mode="record"': 2,
    });
  });
});
