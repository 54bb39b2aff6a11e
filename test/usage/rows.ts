import type { UsageRow } from '../../src/store/usage-database.ts';
import type { UsageEvent } from '../../src/usage/totals.ts';

/** 2026-11-29 14:00 UTC, in seconds. */
export const HOUR = Date.UTC(2026, 10, 29, 14) / 1000;

/** A row of `usage.db`: one request of ci, of 10 tokens in and 20 out, for a tenth of a cent. */
export const usageRow = (over: Partial<UsageRow> = {}): UsageRow => ({
  ...{ hour: HOUR, client: 'ci', model: 'gpt-4o', key: 'ci-1', active: true },
  ...{ requests: 1, refusals: 0, errors: 0, metered: 1, unmetered: 0, unpriced: 0 },
  ...{ input: 10, output: 20, cached: 0, cacheWrite: 0, reasoning: 0, costUsd: 0.001 },
  ...over,
});

/** The request that `usageRow` is the row of. */
export const usageEvent = (over: Partial<UsageEvent> = {}): UsageEvent => ({
  ...{ client: 'ci', generation: 'ci-1', model: 'gpt-4o', status: 200, refusal: undefined },
  ...{ outcome: 'answered', usageFault: undefined },
  usage: {
    tokens: { input: 10, output: 20, cached: 0, cacheWrite: 0, reasoning: 0 },
    costUsd: 0.001,
  },
  ...over,
});
