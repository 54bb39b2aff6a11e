import type { UsageLine, UsageSums } from '../src/usage/report.ts';

// What the view of usage draws, out of the reports of the API. Pure.

/** How long each bar of a plot is. The sidecar counts by hours and days of UTC; months are ours. */
export type Step = 'hour' | 'day' | 'month';

const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;

export const NO_USAGE: UsageSums = {
  ...{ requests: 0, refusals: 0, errors: 0, metered: 0, unmetered: 0, unpriced: 0 },
  tokens: { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 },
  costUsd: 0,
};

const plus = (one: UsageSums, other: UsageSums): UsageSums => ({
  requests: one.requests + other.requests,
  refusals: one.refusals + other.refusals,
  errors: one.errors + other.errors,
  metered: one.metered + other.metered,
  unmetered: one.unmetered + other.unmetered,
  unpriced: one.unpriced + other.unpriced,
  tokens: {
    input: one.tokens.input + other.tokens.input,
    output: one.tokens.output + other.tokens.output,
    cached: one.tokens.cached + other.tokens.cached,
    cacheWrite: one.tokens.cacheWrite + other.tokens.cacheWrite,
    reasoning: one.tokens.reasoning + other.tokens.reasoning,
  },
  costUsd: one.costUsd + other.costUsd,
});

/** Days, `2026-11-29`, added up by month: `2026-11`. */
export function monthsOf(days: readonly UsageLine[]): readonly UsageLine[] {
  const months = new Map<string, UsageLine>();
  for (const day of days) {
    const name = day.name?.slice(0, 7) ?? '';
    const known = months.get(name);
    months.set(name, {
      ...(known === undefined ? day : plus(known, day)),
      name,
      active: null,
      budgetUsed: null,
    });
  }
  return [...months.values()];
}

/** When a row of a report by time begins: `2026-11-29T14:00:00.000Z`, `2026-11-29`, `2026-11`. */
export const beginOf = ({ name }: Pick<UsageLine, 'name'>): number => Date.parse(name ?? '') / 1000;

/**
 * Every step from the first second to the last, in seconds since the epoch: those in which nothing
 * was asked too, which no report has.
 */
export function timesOf(step: Step, since: number, until: number): readonly number[] {
  if (step === 'month') return monthsBetween(since, until);
  const size = step === 'hour' ? HOUR_S : DAY_S;
  const first = since - (since % size);
  const count = Math.floor((until - first) / size) + 1;
  return Array.from({ length: count }, (_, nth) => first + nth * size);
}

function monthsBetween(since: number, until: number): readonly number[] {
  const first = new Date(since * 1000);
  const times: number[] = [];
  for (let nth = 0; ; nth += 1) {
    const at = Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + nth) / 1000;
    if (at > until) return times;
    times.push(at);
  }
}

/** The sums of each step; nothing where a report has no row of it. */
export function sumsAt(times: readonly number[], rows: readonly UsageLine[]): readonly UsageSums[] {
  const known = new Map(rows.map((row) => [beginOf(row), row]));
  return times.map((time) => known.get(time) ?? NO_USAGE);
}

/** What is left of a whole without these parts; never below nothing, whatever floats do. */
export const without = (
  whole: readonly number[],
  parts: readonly (readonly number[])[],
): readonly number[] =>
  whole.map((all, at) => {
    const left = parts.reduce((rest, part) => rest - (part[at] ?? 0), all);
    return left < all * 1e-9 ? 0 : left;
  });

/** Sums of each layer and those before it. */
export function stacked(layers: readonly (readonly (number | null)[])[]): number[][] {
  const below: number[] = [];
  return layers.map((values) =>
    values.map((value, at) => {
      below[at] = (below[at] ?? 0) + (value ?? 0);
      return below[at];
    }),
  );
}
