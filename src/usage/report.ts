import { type Reading, readSpan } from '../config/units.ts';
import type { UsageCounts } from '../store/usage-columns.ts';
import {
  hourOf,
  type UsageGroup,
  type UsageQuery,
  type UsageRow,
} from '../store/usage-database.ts';
import { sumOf } from './totals.ts';

/** How far back a report goes: so many milliseconds, or to an instant. */
export type UsageSince = { readonly ms: number } | { readonly at: number };

export const SINCE_WANTS = 'a span with its unit, such as 24h or 7d, or a day such as 2026-11-01';

/** `7d`, or `2026-11-01`: from the first second of that day in UTC. */
export function readSince(text: string): Reading<UsageSince> {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) {
    const at = Date.parse(text);
    const isDay = !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
    return isDay ? { value: { at } } : { hint: 'there is no such day' };
  }
  const span = readSpan(text);
  if ('hint' in span) return span;
  return span.value === 0 ? { hint: 'that is now' } : { value: { ms: span.value } };
}

/** In seconds since the epoch; the hour that it is in counts whole. */
export const secondsOf = (since: UsageSince, now: number): number =>
  hourOf(('at' in since ? since.at : now - since.ms) / 1000);

/** Sums as the admin API answers them, and `sidecar usage --json` prints. */
export interface UsageSums {
  readonly requests: number;
  readonly refusals: number;
  readonly errors: number;
  /** Requests whose answer said its usage, should have and did not, and said no price. */
  readonly metered: number;
  readonly unmetered: number;
  readonly unpriced: number;
  readonly tokens: {
    readonly input: number;
    readonly output: number;
    readonly cached: number;
    readonly cacheWrite: number;
    readonly reasoning: number;
  };
  readonly costUsd: number;
}

export interface UsageLine extends UsageSums {
  /** A client, model or key, null where there was none; or an hour, or a day. */
  readonly name: string | null;
  /** Of a key: whether it was its client's active one then; else null. */
  readonly active: boolean | null;
  /**
   * Of a client with a budget: the share of today's that is used, whatever the report's time is; of
   * a budget in tokens and one in dollars the greater share. Else null.
   */
  readonly budgetUsed: number | null;
}

/** How it is with `usage.db`. */
export interface UsageStoreView {
  /** Whether all that is older than a minute or two is in the file. */
  readonly up: boolean;
  /** Why it is not; null: it is. */
  readonly error: string | null;
  readonly lastWrittenAt: string | null;
  /** Rows in memory that are not in the file. */
  readonly pendingRows: number;
}

/** The answer of `GET /api/usage`. */
export interface UsageReport {
  readonly by: UsageQuery['by'];
  readonly client: string | null;
  readonly model: string | null;
  readonly since: string;
  readonly until: string;
  /** By hour and by day in their order; else what cost most comes first. */
  readonly rows: readonly UsageLine[];
  readonly total: UsageSums;
  readonly store: UsageStoreView;
}

/** What `rows` would be if they stood in the file already. */
export function groupRows(rows: readonly UsageRow[], query: UsageQuery): readonly UsageGroup[] {
  const { by, from, client, model } = query;
  return rows
    .filter((row) => row.hour >= hourOf(from))
    .filter((row) => client === undefined || row.client === client)
    .filter((row) => model === undefined || row.model === model)
    .map((row) => ({
      ...row,
      name: by === 'day' ? row.hour - (row.hour % 86_400) : row[by],
      active: by === 'key' ? row.active : undefined,
    }));
}

/** A report of groups, of which several may be of one name. */
export function reportOf(
  query: UsageQuery,
  groups: readonly UsageGroup[],
  { now, store }: { readonly now: number; readonly store: UsageStoreView },
): UsageReport {
  const { by, from, client = null, model = null } = query;
  const together = new Map<string | number, [UsageGroup, ...UsageGroup[]]>();
  for (const group of groups) {
    const name = group.active === false ? `${group.name} (older)` : group.name;
    const known = together.get(name);
    if (known === undefined) together.set(name, [group]);
    else known.push(group);
  }
  const lines = Array.from(together.values(), (same) => lineOf(same, by));
  const isTime = by === 'hour' || by === 'day';
  lines.sort(isTime ? inTime : (one, other) => weightOf(other) - weightOf(one));
  return {
    ...{ by, client, model },
    since: new Date(hourOf(from) * 1000).toISOString(),
    until: new Date(now).toISOString(),
    rows: lines,
    total: sumsOf(sumOf(groups)),
    store,
  };
}

function lineOf(same: readonly [UsageGroup, ...UsageGroup[]], by: UsageQuery['by']): UsageLine {
  const [only] = same;
  // Nearly all are alone, and 400 days have 9,600 hours: each costs the serving thread something.
  const sums = sumsOf(same.length === 1 ? only : sumOf(same));
  return { name: nameOf(only.name, by), active: only.active ?? null, budgetUsed: null, ...sums };
}

/** ISO 8601 in UTC sorts as text. */
const inTime = ({ name: one }: UsageLine, { name: other }: UsageLine): number =>
  (one ?? '') < (other ?? '') ? -1 : 1;

/** `2026-11-29T14:00:00.000Z`, `2026-11-29`, `ci`. */
function nameOf(name: string | number, by: UsageQuery['by']): string | null {
  if (typeof name === 'string') return name === '' ? null : name;
  const iso = new Date(name * 1000).toISOString();
  return by === 'day' ? iso.slice(0, 10) : iso;
}

/** A dollar weighs more than any number of tokens, a token more than any number of requests. */
const weightOf = ({ costUsd, tokens, requests }: UsageSums): number =>
  costUsd * 1e12 + (tokens.input + tokens.output) + requests / 1e9;

const sumsOf = (counts: UsageCounts): UsageSums => ({
  requests: counts.requests,
  refusals: counts.refusals,
  errors: counts.errors,
  metered: counts.metered,
  unmetered: counts.unmetered,
  unpriced: counts.unpriced,
  tokens: {
    input: counts.input,
    output: counts.output,
    cached: counts.cached,
    cacheWrite: counts.cacheWrite,
    reasoning: counts.reasoning,
  },
  costUsd: counts.costUsd,
});
