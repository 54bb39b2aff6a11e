import type { Usage, UsageFault } from '../litellm/usage.ts';
import { USAGE_FIELDS, type UsageCounts } from '../store/usage-columns.ts';
import { hourOf, type UsageRow } from '../store/usage-database.ts';
import { cut, printable, redact } from '../text/safe.ts';

/** A request that is over, as far as it is counted; the traffic path has more of it. */
export interface UsageEvent {
  /** `-` where nobody was recognised. */
  readonly client: string;
  /** `master-3`; `-` where nobody was recognised. */
  readonly generation: string;
  readonly model: string;
  /** 0: nothing was answered. */
  readonly status: number;
  /** Set where the sidecar answered itself. */
  readonly refusal: string | undefined;
  readonly outcome: 'answered' | 'client_aborted' | 'upstream_aborted' | 'cut';
  readonly usage: Usage | undefined;
  readonly usageFault: UsageFault | undefined;
}

/** What a client used of one day (UTC), in all. */
export interface DayUse {
  /** Read and written. */
  readonly tokens: number;
  readonly costUsd: number;
}

type Mutable<T> = { -readonly [Field in keyof T]: T[Field] };
type OpenRow = Mutable<UsageRow>;

/** Models told apart within an hour; those that come later are `OTHER`. */
const MOST_MODELS = 100;
/** Rows that wait for the disk, some 300 bytes each: beyond it new ones are `OTHER`'s. */
const MOST_ROWS = 10_000;
const OTHER = 'other';
/** Characters of a model's name. */
const LONGEST_NAME = 200;
const NOBODY = '-';
const DAY = 86_400;

export type UsageTotals = ReturnType<typeof createUsageTotals>;

interface UsageTotalsOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Whether a generation is its client's active one. */
  readonly isActive: (generation: string) => boolean;
}

/**
 * Adds requests up by hour, client, key and model, until somebody takes the sums. It is called with
 * every request, so it finds its row by two look-ups, and makes nothing where that is there.
 */
export function createUsageTotals({ now, isActive }: UsageTotalsOptions) {
  let rows: OpenRow[] = [];
  let hour = beginHour(Number.NaN);
  const days = createDays();

  const newRow = (event: UsageEvent, active: boolean, ofKey: Map<string, OpenRow>): OpenRow => {
    const { generation, model: named } = event;
    const safe = safeModel(named);
    const isToldApart = hour.models.has(safe) || hour.models.size < MOST_MODELS;
    const model = isToldApart && rows.length < MOST_ROWS ? safe : OTHER;
    const known = ofKey.get(model);
    if (known !== undefined) return known;
    hour.models.add(model);
    const [client, key] = generation === NOBODY ? ['', ''] : [event.client, generation];
    const row = { hour: hour.start, client, model, key, active, ...nothingUsed() };
    rows.push(row);
    ofKey.set(model, row);
    return row;
  };
  return {
    /** Counts a request. One of nobody that was not refused is a health check: it is left out. */
    add(event: UsageEvent): void {
      if (event.generation === NOBODY && event.refusal === undefined) return;
      const seconds = now() / 1000;
      if (!isWithin(hour, seconds)) hour = beginHour(hourOf(seconds));
      const active = isActive(event.generation);
      const byKey = active ? hour.active : hour.older;
      let ofKey = byKey.get(event.generation);
      if (ofKey === undefined) {
        ofKey = new Map();
        byKey.set(event.generation, ofKey);
      }
      count(ofKey.get(event.model) ?? newRow(event, active, ofKey), event);
      if (event.usage !== undefined) days.add(dayOf(hour.start), event.client, event.usage);
    },
    /** Counts what a request used for `today` alone: for where nothing is kept. */
    addToday({ client, usage }: UsageEvent): void {
      if (usage !== undefined) days.add(dayOf(now() / 1000), client, usage);
    },
    /** What was added up since the last `take`. */
    pending: (): readonly UsageRow[] => rows,
    /** The same, to be written: what comes afterwards is not in it. */
    take(): readonly UsageRow[] {
      const taken = rows;
      rows = [];
      hour.active.clear();
      hour.older.clear();
      return taken;
    },
    /** What a client used today since the start of this process. */
    today: (client: string): DayUse => days.of(dayOf(now() / 1000), client),
  };
}

/** The rows of an hour that were not taken yet. */
interface Hour {
  /** Seconds since the epoch. */
  readonly start: number;
  /** Those that were told apart, also in rows that were taken. */
  readonly models: Set<string>;
  /** By generation, and then by the model as LiteLLM named it. */
  readonly active: Map<string, Map<string, OpenRow>>;
  readonly older: Map<string, Map<string, OpenRow>>;
}

const beginHour = (start: number): Hour => ({
  start,
  models: new Set(),
  active: new Map(),
  older: new Map(),
});

const isWithin = ({ start }: Hour, seconds: number): boolean =>
  seconds >= start && seconds < start + 3600;

/** The first second of the day (UTC) that a second is in. */
export const dayOf = (seconds: number): number => Math.floor(seconds / DAY) * DAY;

const nothingUsed = (): Mutable<UsageCounts> => ({
  // Named one by one: rows of one shape are found and counted faster.
  ...{ requests: 0, refusals: 0, errors: 0, metered: 0, unmetered: 0, unpriced: 0 },
  ...{ input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0, costUsd: 0 },
});

function count(row: OpenRow, event: UsageEvent): void {
  const { status, outcome, refusal, usage } = event;
  row.requests += 1;
  if (refusal !== undefined && status < 500) row.refusals += 1;
  else if (isError(status, outcome)) row.errors += 1;
  // Beside a fault a usage is a price without tokens.
  if (event.usageFault !== undefined) row.unmetered += 1;
  else if (usage !== undefined) row.metered += 1;
  if (usage === undefined) return;
  const { input, output, cached, cacheWrite, reasoning } = usage.tokens;
  row.input += input;
  row.output += output;
  row.cached += cached;
  row.cacheWrite += cacheWrite;
  row.reasoning += reasoning;
  if (usage.costUsd === undefined) row.unpriced += 1;
  else row.costUsd += usage.costUsd;
}

/** A client that leaves is no error of anybody's. */
const isError = (status: number, outcome: UsageEvent['outcome']): boolean =>
  status >= 400 || outcome === 'upstream_aborted' || outcome === 'cut';

/** A name that goes to a file, a terminal and a spreadsheet; it comes from LiteLLM's answer. */
const safeModel = (named: string): string =>
  cut(redact(printable(named.slice(0, 2 * LONGEST_NAME + 2))), LONGEST_NAME).trim();

/** What each client used on the day that is. */
function createDays() {
  let today = Number.NaN;
  let used = new Map<string, Mutable<DayUse>>();
  return {
    add(day: number, client: string, { tokens, costUsd = 0 }: Usage): void {
      if (day !== today) {
        today = day;
        used = new Map();
      }
      const use = used.get(client);
      const sum = tokens.input + tokens.output;
      if (use === undefined) used.set(client, { tokens: sum, costUsd });
      else {
        use.tokens += sum;
        use.costUsd += costUsd;
      }
    },
    of(day: number, client: string): DayUse {
      const use = day === today ? used.get(client) : undefined;
      return { tokens: use?.tokens ?? 0, costUsd: use?.costUsd ?? 0 };
    },
  };
}

/** The sum of all of these. */
export function sumOf(all: Iterable<UsageCounts>): UsageCounts {
  const sum = nothingUsed();
  for (const each of all) for (const field of USAGE_FIELDS) sum[field] += each[field];
  return sum;
}
