import type { ClientLimits } from '../keyring/client-limits.ts';
import type { LimitName } from '../refusal.ts';

/** Of a day's budget, in tokens or in US dollars, what no answer says. */
interface Budget {
  /** Of one request, by the client's own last ones; NaN: none of them said what it used. */
  mean: number;
  /**
   * What requests of `day` are taken to have used that did not say it. An amount, and no number of
   * requests: else a client could make it smaller afterwards, by many small ones.
   */
  unsaid: number;
  /** How many those are. */
  silent: number;
  /** The day (UTC) that `unsaid` is of, in milliseconds since the epoch. */
  day: number;
}

/** What one client has taken of its limits at this process, on the monotonic clock. */
export interface Meter {
  /** When the bucket of `rpm` is full again, in milliseconds. */
  fullAt: number;
  /** Requests and tunnels. */
  inFlight: number;
  /** Of those in flight: those that may use tokens and money. */
  spending: number;
  readonly tokens: Budget;
  readonly usd: Budget;
  /** The same mean of those that said both: dollars by tokens is the price of a token. */
  readonly priced: { tokens: number; usd: number };
  /** Requests that were let in, by minutes that each begin with a request, for those who look. */
  readonly minutes: { startedAt: number; current: number; before: number };
}

/** What a client used of a day (UTC), as answers said. */
export interface SpentToday {
  readonly tokens: number;
  readonly costUsd: number;
}

/** What there is to see of a request that may have used something, and did not say what. */
interface Silent {
  /** Of its body; of a WebSocket what went up. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Events of a stream; 0: none were counted. */
  readonly chunks: number;
}

/** A day (UTC) and what the client used of it. `day` is its begin, in ms since the epoch. */
interface Today {
  readonly day: number;
  readonly used: SpentToday;
}

/** A limit that stands in a request's way. */
export interface Reached {
  readonly limit: LimitName;
  /** Until the next day; until one in flight ends; the same; for `waitMs`. */
  readonly why: 'spent' | 'reserved' | 'busy' | 'empty';
  /** Milliseconds until the bucket has one request; only where it is empty. */
  readonly waitMs: number;
}

const MINUTE_MS = 60_000;
/** Milliseconds that sums of fractions may be off by. */
const ROUNDING_MS = 0.001;
/** What a request counts as of a budget while none has said what it used. */
const UNKNOWN_SHARE = 1 / 16;
/** How much of the mean each request makes: a change shows after about as many. */
const WEIGHT = 1 / 8;

/** Bytes of English text that make a token; of any other text, and of JSON, fewer do. */
const TOKEN_BYTES = 4;

const newBudget = (): Budget => ({ mean: Number.NaN, unsaid: 0, silent: 0, day: 0 });

export const newMeter = (): Meter => ({
  fullAt: Number.NEGATIVE_INFINITY,
  inFlight: 0,
  spending: 0,
  tokens: newBudget(),
  usd: newBudget(),
  priced: { tokens: 0, usd: 0 },
  minutes: { startedAt: Number.NEGATIVE_INFINITY, current: 0, before: 0 },
});

/**
 * Which limit a request has reached; undefined: it may go on. A spent budget is told first: it is
 * the one that no wait of minutes mends.
 *
 * @param at milliseconds of the monotonic clock
 * @param today undefined: the request uses neither tokens nor money, or no budget is set
 */
export function reachedBy(
  meter: Meter,
  { rpm, parallel, tokensPerDay, usdPerDay }: ClientLimits,
  at: number,
  today: Today | undefined,
): Reached | undefined {
  const { spending, inFlight, fullAt } = meter;
  if (today !== undefined) {
    const { day, used } = today;
    const ofUsd = standingOf(meter.usd, usdPerDay, used.costUsd, spending, day);
    const ofTokens = standingOf(meter.tokens, tokensPerDay, used.tokens, spending, day);
    if (ofUsd !== undefined && ofTokens !== 'spent') {
      return { limit: 'usd_per_day', why: ofUsd, waitMs: 0 };
    }
    if (ofTokens !== undefined) return { limit: 'tokens_per_day', why: ofTokens, waitMs: 0 };
  }
  if (parallel !== undefined && inFlight >= parallel) {
    return { limit: 'parallel', why: 'busy', waitMs: 0 };
  }
  if (rpm === undefined) return undefined;
  const waitMs = Math.max(at, fullAt) + MINUTE_MS / rpm - MINUTE_MS - at;
  return waitMs <= ROUNDING_MS ? undefined : { limit: 'rpm', why: 'empty', waitMs };
}

/**
 * How a budget stands. While something is left, one request at a time may go over it: else what is
 * left and smaller than a request could never be used, nor the budget ever be spent.
 */
function standingOf(
  budget: Budget,
  cap: number | undefined,
  used: number,
  spending: number,
  day: number,
): 'spent' | 'reserved' | undefined {
  if (cap === undefined) return undefined;
  const each = estimateOf(budget, cap);
  const gone = used + unsaidOf(budget, day);
  if (gone >= cap) return 'spent';
  return spending > 0 && gone + (spending + 1) * each > cap ? 'reserved' : undefined;
}

/** Of one request; where there is no budget, there is nothing of which it could be a share. */
const estimateOf = ({ mean }: Budget, cap = 0): number =>
  Number.isNaN(mean) ? cap * UNKNOWN_SHARE : mean;

/** That of a day: what was unsaid yesterday counts no more. */
const unsaidOf = (budget: Budget, day: number): number => (budget.day === day ? budget.unsaid : 0);

/** Requests of a day that did not say what they used. */
export const silentOf = (budget: Budget, day: number): number =>
  budget.day === day ? budget.silent : 0;

/** What is kept back of a budget: for requests in flight, and for those that did not say. */
export const reservedOf = (
  budget: Budget,
  cap: number | undefined,
  spending: number,
  day: number,
): number => spending * estimateOf(budget, cap) + unsaidOf(budget, day);

/** Counts a request that was let in. One beyond the bucket, which is only recorded, empties it. */
export function noteBegin(
  meter: Meter,
  rpm: number | undefined,
  at: number,
  spends: boolean,
): void {
  meter.inFlight += 1;
  if (spends) meter.spending += 1;
  const { minutes } = meter;
  const age = at - minutes.startedAt;
  if (age >= MINUTE_MS) {
    minutes.before = age < 2 * MINUTE_MS ? minutes.current : 0;
    minutes.current = 0;
    minutes.startedAt = age < 2 * MINUTE_MS ? minutes.startedAt + MINUTE_MS : at;
  }
  minutes.current += 1;
  if (rpm === undefined) return;
  meter.fullAt = Math.min(Math.max(at, meter.fullAt) + MINUTE_MS / rpm, at + MINUTE_MS);
}

/** Counts its end. */
export function noteEnd(meter: Meter, spends: boolean): void {
  meter.inFlight -= 1;
  if (spends) meter.spending -= 1;
}

const meanWith = (mean: number, latest: number): number => mean + (latest - mean) * WEIGHT;

const learn = (budget: Budget, used: number): void => {
  budget.mean = Number.isNaN(budget.mean) ? used : meanWith(budget.mean, used);
};

/** Learns what one request used; what has no price counts as none. */
export function noteSaid(meter: Meter, tokens: number, costUsd: number | undefined): void {
  learn(meter.tokens, tokens);
  learn(meter.usd, costUsd ?? 0);
  if (tokens === 0 || costUsd === undefined) return;
  const { priced } = meter;
  const isFirst = priced.tokens === 0;
  priced.tokens = isFirst ? tokens : meanWith(priced.tokens, tokens);
  priced.usd = isFirst ? costUsd : meanWith(priced.usd, costUsd);
}

/**
 * Counts a request that may have used something and did not say how much: as what went over the
 * wire would make it, and at least as a mean one.
 *
 * @param costUsd its price, where that alone is known
 */
export function noteUnsaid(
  meter: Meter,
  { tokensPerDay, usdPerDay }: Pick<ClientLimits, 'tokensPerDay' | 'usdPerDay'>,
  { requestBytes, responseBytes, chunks }: Silent,
  costUsd: number | undefined,
  day: number,
): void {
  const { tokens, usd, priced } = meter;
  const read = requestBytes / TOKEN_BYTES;
  const seen = read + (chunks > 0 ? chunks : responseBytes / TOKEN_BYTES);
  const used = Math.max(estimateOf(tokens, tokensPerDay), seen);
  keepBack(tokens, used, day);
  if (costUsd !== undefined) learn(usd, costUsd);
  else {
    const price = priced.tokens === 0 ? 0 : priced.usd / priced.tokens;
    keepBack(usd, Math.max(estimateOf(usd, usdPerDay), used * price), day);
  }
}

function keepBack(budget: Budget, amount: number, day: number): void {
  budget.unsaid = unsaidOf(budget, day) + amount;
  budget.silent = silentOf(budget, day) + 1;
  budget.day = day;
}

/** Requests that the bucket has left, and milliseconds until it is full. */
export function bucketOf({ fullAt }: Meter, rpm: number, at: number) {
  const fullIn = Math.max(0, fullAt - at);
  return { left: Math.floor(((MINUTE_MS - fullIn + ROUNDING_MS) / MINUTE_MS) * rpm), fullIn };
}

/** Requests of the last 60 seconds: what came in the minute before is taken as spread evenly. */
export function requestsLastMinute({ minutes }: Meter, at: number): number {
  const age = at - minutes.startedAt;
  if (age >= 2 * MINUTE_MS) return 0;
  if (age >= MINUTE_MS) return Math.round(minutes.current * (2 - age / MINUTE_MS));
  return Math.round(minutes.current + minutes.before * (1 - age / MINUTE_MS));
}
