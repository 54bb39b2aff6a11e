/**
 * What do a client's limits cost a request? Letting it in, the fields of its answer, and its end,
 * with all four limits set, by the clocks and the totals that the sidecar has; in nanoseconds.
 * `node --expose-gc scripts/run-ts.js bench/limits.ts`.
 */
import { systemClock } from '../src/clock.ts';
import type { KnownKey } from '../src/keyring/snapshot.ts';
import type { Dialect } from '../src/litellm/routes-table.ts';
import { createLimits } from '../src/proxy/limits.ts';
import { isRefusal } from '../src/refusal.ts';
import { createUsageTotals, type UsageEvent } from '../src/usage/totals.ts';
import { least, median } from './harness/report.ts';

const [ROUNDS, REQUESTS, CLIENTS] = [300, 2000, 1000];

const totals = createUsageTotals({ now: Date.now, isActive: () => true });
const limiter = createLimits({
  ...{ now: systemClock.now, elapsed: systemClock.elapsed, spentToday: totals.today },
  onReached: () => undefined,
});
const amounts = { rpm: 100_000, parallel: 100, tokensPerDay: 2e6, usdPerDay: 5 };
const limits = { ...amounts, mode: 'refuse' } as const;
const keys = Array.from({ length: CLIENTS }, (_, nth) => ({ client: `client-${nth}`, limits }));
const ended = {
  usage: {
    tokens: { input: 900, output: 120, cached: 0, cacheWrite: 0, reasoning: 0 },
    costUsd: 0.0021,
  },
  ...{ usageFault: undefined, unsaid: false, responseBytes: 4000, chunks: 0 },
};
for (const { client } of keys) {
  totals.addToday({ client, ...ended } as unknown as UsageEvent);
}

/** As many fields as LiteLLM's answers have, by names of its lengths. */
const FIELDS = Array.from({ length: 40 }, (_, nth) => [`x-litellm-${'a'.repeat(nth)}`, 'v']).flat();

/** Nanoseconds of one request, of many in a row. */
function measure(dialect: Dialect, stamps: boolean): number {
  const heads = Array.from({ length: REQUESTS }, () => (stamps ? [...FIELDS] : []));
  const from = process.hrtime.bigint();
  for (let at = 0; at < REQUESTS; at += 1) {
    const lease = limiter.enter(keys[at % CLIENTS] as unknown as KnownKey, dialect, true);
    if (lease === undefined || isRefusal(lease)) throw new Error('it was refused');
    if (stamps) lease.stamp(heads[at] ?? [], dialect, undefined);
    lease.end(ended, 3000);
  }
  return Number(process.hrtime.bigint() - from) / REQUESTS;
}

const line = (what: string, dialect: Dialect, stamps: boolean): void => {
  const rounds = Array.from({ length: ROUNDS }, () => measure(dialect, stamps));
  const figures = `least ${least(rounds).toFixed(0)} ns, median ${median(rounds).toFixed(0)} ns`;
  process.stdout.write(`${what.padEnd(40)} ${figures}\n`);
};
line('let in and ended', 'openai', false);
line('let in, six fields (OpenAI), ended', 'openai', true);
line('let in, six fields (Anthropic), ended', 'anthropic', true);

const many = Array.from({ length: 10_000 }, (_, nth) => ({ client: `more-${nth}`, limits }));
globalThis.gc?.();
const before = process.memoryUsage().heapUsed;
for (const key of many) {
  const lease = limiter.enter(key as unknown as KnownKey, 'openai', true);
  if (lease !== undefined && !isRefusal(lease)) lease.end(ended, 3000);
}
globalThis.gc?.();
const bytes = (process.memoryUsage().heapUsed - before) / many.length;
process.stdout.write(`${'a client, its meter'.padEnd(40)} ${bytes.toFixed(0)} bytes\n`);
