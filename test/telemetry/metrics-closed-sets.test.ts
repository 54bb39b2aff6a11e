import { describe, expect, it } from 'vitest';
import { knownKey } from '../support/policies.ts';
import { exchange } from './exchange.ts';
import { labelValues, parseSeries } from './exposition.ts';
import { startMetrics } from './start-metrics.ts';

const ALL_USED = {
  ...{ requestsLastMinute: 1, inFlight: 1, tokensToday: 1, usdToday: 1 },
  ...{ reservedTokens: 0, reservedUsd: 0 },
};

describe('closed sets', () => {
  it('a scanner of 100,000 paths, methods and statuses adds no series beyond them', async () => {
    const { events, render } = startMetrics();
    for (let index = 0; index < 100_000; index += 1) {
      const refused = { refusal: 'unknown_key', overheadMs: -1, client: '-' } as const;
      events.onExchangeEnd(
        exchange({
          ...refused,
          group: `/scan/${index}`,
          template: `/scan/${index}`,
          method: `M${index}`,
          status: index % 1000,
        }),
      );
    }
    const text = await render();
    const family = 'litellm_sidecar_requests_total';
    expect(labelValues(text, family, 'route')).toEqual(new Set(['other']));
    expect(labelValues(text, family, 'method')).toEqual(new Set(['other']));
    const statuses = Array.from({ length: 500 }, (_, index) => String(100 + index));
    expect(labelValues(text, family, 'status')).toEqual(new Set([...statuses, 'none', 'other']));
    const requests = [...parseSeries(text)].filter(([key]) => key.startsWith(family));
    expect(requests).toHaveLength(502);
    expect(requests.reduce((sum, [, value]) => sum + value, 0)).toBe(100_000);
  });

  it('names 50 clients and counts the rest as other', async () => {
    const { events, series, render } = startMetrics();
    for (let index = 0; index < 60; index += 1) {
      events.onExchangeEnd(exchange({ client: `client-${index}` }));
    }
    events.onExchangeEnd(exchange({ client: '-' }));
    const at = await series();
    const clients = labelValues(await render(), 'litellm_sidecar_requests_total', 'client');
    // master has a name though it was not met; `other` and `-` are the last two.
    expect(clients.size).toBe(51);
    expect(clients).toContain('client-48');
    expect(clients).not.toContain('client-49');
    expect(
      at.get(
        'litellm_sidecar_requests_total{client="other",route="chat",method="POST",status="200"}',
      ),
    ).toBe(11);
  });

  it('stays under 5,000 series in all, loses no count, and keeps the class of a status', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `c${index}`);
    const metrics = startMetrics({
      keys: () =>
        names.flatMap((client) =>
          [3, 2, 1].map((number) => ({
            client,
            generation: `${client}-${number}`,
            ...{ createdAt: 1, lastUsedAt: 2, deadline: 3, clientEndsAt: 4 },
          })),
        ),
      limits: () =>
        names.map((client) => {
          const limits = {
            rpm: 1,
            parallel: 1,
            tokensPerDay: 1,
            usdPerDay: 1,
            mode: 'refuse',
          } as const;
          return { client, limits, use: { ...ALL_USED, usdToday: Number(client.slice(1)) } };
        }),
      routeGroups: Array.from({ length: 90 }, (_, index) => `g${index}`),
      // More than there are, so that whoever adds some is warned by the test of those.
      modelGroups: Array.from({ length: 20 }, (_, index) => `g${index}`),
    });
    const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND'];
    let count = 0;
    for (const client of names) metrics.keyEvents.onKeyUse(knownKey(client));
    for (let client = 0; client < 60; client += 1) {
      for (let group = 0; group < 90; group += 1) {
        for (const status of [0, 101, 200, 302, 404, 503, 599, 777]) {
          const method = methods[count % methods.length] as string;
          metrics.events.onExchangeEnd(
            exchange({
              ...{ client: `c${client}`, group: `g${group}`, method, status },
              ...{ model: `m${count}`, usageFault: 'absent', websocket: true },
              ...{ firstChunkMs: 1, lastChunkMs: 9, chunks: 3, upstreamMs: 1 },
            }),
          );
          count += 1;
        }
      }
    }
    const at = await metrics.series();
    expect(at.size).toBeLessThan(5000);
    expect(at.size).toBeGreaterThan(4000);
    const gauges = [...at.keys()].filter((key) => key.includes('key_created_timestamp'));
    expect(gauges.filter((key) => key.includes('-1"'))).toEqual([]);
    // All but master, which these keys are none of.
    expect(gauges).toHaveLength(2 * 49);
    const keyRequests = [...at].filter(([key]) => key.includes('key_requests_total'));
    expect(keyRequests).toHaveLength(4 * 50);
    expect(keyRequests.reduce((sum, [, value]) => sum + value, 0)).toBe(1000);
    const used = [...at.keys()].filter((key) => key.includes('limit_used_ratio'));
    expect(used).toHaveLength(190 + 4);
    // Of those that share a series, it shows the one that has used most.
    expect(at.get('litellm_sidecar_limit_used_ratio{client="other",limit="usd_per_day"}')).toBe(
      999,
    );
    const requests = [...at].filter(([key]) => key.startsWith('litellm_sidecar_requests_total'));
    expect(requests.reduce((sum, [, value]) => sum + value, 0)).toBe(count);
    const folded = (status: string) =>
      at.get(
        `litellm_sidecar_requests_total{client="other",route="other",method="other",status="${status}"}`,
      );
    for (const status of ['1xx', '2xx', '3xx', '4xx', '5xx', 'none', 'other']) {
      expect(folded(status)).toBeGreaterThan(0);
    }
  });
});
