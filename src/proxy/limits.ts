import {
  type ClientLimits,
  type LimitMode,
  type LimitUse,
  NO_USE,
} from '../keyring/client-limits.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import type { Dialect } from '../litellm/routes-table.ts';
import { type LimitName, type Refusal, refusal } from '../refusal.ts';
import {
  type CountedThing,
  instantOf,
  LIMIT_FIELDS,
  pushLimitFields,
  removeLimitFields,
} from './limit-fields.ts';
import {
  bucketOf,
  type Meter,
  newMeter,
  noteBegin,
  noteEnd,
  noteSaid,
  noteUnsaid,
  type Reached,
  reachedBy,
  requestsLastMinute,
  reservedOf,
  type SpentToday,
  silentOf,
} from './limit-meter.ts';
import type { ExchangeEnd } from './record.ts';

interface LimitsOptions {
  /** Milliseconds since the epoch, on the clock by which usage is counted. */
  readonly now: () => number;
  /** The monotonic clock, milliseconds. */
  readonly elapsed: () => number;
  /** What a client used today (UTC), as answers said; a request's part before its lease ends. */
  readonly spentToday: (client: string) => SpentToday;
  /** A request reached a limit: it was refused, or only recorded. */
  readonly onReached: (client: string, limit: LimitName, mode: LimitMode) => void;
}

/** What a request that was let in holds of its client's limits until it ends. */
export interface Lease {
  /**
   * Puts what is left of the limits into the fields of an answer: name, value, name, value.
   *
   * @param reader the origin of a page that may read them
   */
  stamp(fields: string[], dialect: Dialect, reader: string | undefined): void;
  /** To be called once, after what was used is counted. */
  end(ended: EndedRequest, requestBytes: number): void;
}

/** What a lease has to know of its request, which is over. */
interface EndedRequest extends Pick<ExchangeEnd, 'usage' | 'responseBytes' | 'chunks'> {
  /** It may have used something that nobody said. */
  readonly unsaid: boolean;
}

/** The limits of all clients, each with a meter of its own. */
export type Limiter = ReturnType<typeof createLimits>;

/**
 * Lets requests of clients with limits in. The clock and the totals are asked once a request; the
 * rest is arithmetic on the client's meter (limit-meter.ts).
 */
export function createLimits(options: LimitsOptions) {
  const { now, elapsed, spentToday, onReached } = options;
  const clients = new Map<string, LimitedClient>();

  const clientOf = (name: string, limits: ClientLimits): LimitedClient => {
    const known = clients.get(name);
    // They are the same object until they change; what was used before counts on.
    if (known?.limits === limits) return known;
    const limited = new LimitedClient(name, limits, known?.meter ?? newMeter(), options);
    clients.set(name, limited);
    return limited;
  };
  return {
    /**
     * Lets a request in, before its body is read.
     *
     * @param spends whether it may use tokens and money
     * @returns undefined: its client has no limits, and nothing is counted
     */
    enter(key: KnownKey, dialect: Dialect, spends: boolean): Lease | Refusal | undefined {
      const { limits, client } = key;
      if (limits === undefined) return undefined;
      const limited = clientOf(client, limits);
      const reached = limited.reached(spends);
      if (reached !== undefined) {
        onReached(client, reached.limit, limits.mode);
        if (limits.mode === 'refuse') return limited.refuse(reached, dialect);
      }
      return limited.begin(spends);
    },
    /** Also of a client without limits: then of today's totals alone. */
    useOf(client: string): LimitUse {
      const { tokens: tokensToday, costUsd: usdToday } = spentToday(client);
      const limited = clients.get(client);
      if (limited === undefined) return { ...NO_USE, tokensToday, usdToday };
      const { meter, limits } = limited;
      const { inFlight, spending } = meter;
      const day = dayOf(now());
      return {
        ...{ requestsLastMinute: requestsLastMinute(meter, elapsed()), inFlight },
        ...{ tokensToday, usdToday },
        reservedTokens: reservedOf(meter.tokens, limits.tokensPerDay, spending, day),
        reservedUsd: reservedOf(meter.usd, limits.usdPerDay, spending, day),
      };
    },
    /** Forgets the meters of clients that are gone. */
    keep(isThere: (client: string) => boolean): void {
      for (const client of clients.keys()) if (!isThere(client)) clients.delete(client);
    },
  };
}

const DAY_MS = 86_400_000;

/** When the day (UTC) of an instant began. */
const dayOf = (ms: number): number => Math.floor(ms / DAY_MS) * DAY_MS;

/** As the limits are told. */
const shown = (count: number): string => count.toLocaleString('en-US', MOST_DIGITS);
const MOST_DIGITS = { maximumFractionDigits: 6 };

const several = (count: number, what: string): string =>
  `${shown(count)} ${what}${count === 1 ? '' : 's'}`;

/** Seconds: until something in flight may have ended. */
const SOON = 1;

/** A client, its limits as they are, and its meter, which outlives a change of them. */
class LimitedClient {
  readonly limits: ClientLimits;
  readonly meter: Meter;
  readonly #name: string;
  readonly #options: LimitsOptions;
  /** What its answers tell of. */
  readonly #things: ReadonlySet<CountedThing>;
  readonly #hasBudget: boolean;
  readonly #rpmShown: string;
  readonly #tokensShown: string;
  /** All that a lease knows of its own is which of the two it is, so none is made for a request. */
  readonly #spending: Lease;
  readonly #reading: Lease;

  constructor(name: string, limits: ClientLimits, meter: Meter, options: LimitsOptions) {
    const { rpm, tokensPerDay, usdPerDay } = limits;
    this.limits = limits;
    this.meter = meter;
    this.#name = name;
    this.#options = options;
    this.#hasBudget = tokensPerDay !== undefined || usdPerDay !== undefined;
    this.#rpmShown = String(rpm);
    this.#tokensShown = String(tokensPerDay);
    this.#things = new Set([
      ...(rpm === undefined ? [] : (['requests'] as const)),
      ...(tokensPerDay === undefined ? [] : (['tokens'] as const)),
    ]);
    this.#spending = this.#leaseOf(true);
    this.#reading = this.#leaseOf(false);
  }

  #leaseOf(spends: boolean): Lease {
    return {
      stamp: (fields, dialect, reader) => this.#stamp(fields, dialect, reader),
      end: (ended, requestBytes) => this.#end(spends, ended, requestBytes),
    };
  }

  reached(spends: boolean): Reached | undefined {
    const { now, elapsed, spentToday } = this.#options;
    const at = elapsed();
    if (!(spends && this.#hasBudget)) return reachedBy(this.meter, this.limits, at, undefined);
    const budget = { day: dayOf(now()), used: spentToday(this.#name) };
    return reachedBy(this.meter, this.limits, at, budget);
  }

  begin(spends: boolean): Lease {
    noteBegin(this.meter, this.limits.rpm, this.#options.elapsed(), spends);
    return spends ? this.#spending : this.#reading;
  }

  #end(spends: boolean, ended: EndedRequest, requestBytes: number): void {
    noteEnd(this.meter, spends);
    if (!spends) return;
    const { usage, unsaid, responseBytes, chunks } = ended;
    if (unsaid) {
      const seen = { requestBytes, responseBytes, chunks };
      const day = dayOf(this.#options.now());
      noteUnsaid(this.meter, this.limits, seen, usage?.costUsd, day);
    } else if (usage !== undefined) {
      const { input, output } = usage.tokens;
      noteSaid(this.meter, input + output, usage.costUsd);
    }
  }

  #stamp(fields: string[], dialect: Dialect, reader: string | undefined): void {
    if (this.#things.size === 0) return;
    removeLimitFields(fields, this.#things);
    this.#push(fields, dialect);
    if (reader !== undefined) fields.push('access-control-expose-headers', LIMIT_FIELDS);
  }

  #push(fields: string[], dialect: Dialect): void {
    const { rpm, tokensPerDay } = this.limits;
    const { now, elapsed, spentToday } = this.#options;
    const time = now();
    if (rpm !== undefined) {
      const { left: remaining, fullIn } = bucketOf(this.meter, rpm, elapsed());
      const limit = this.#rpmShown;
      pushLimitFields(fields, dialect, 'requests', {
        ...{ limit, remaining, fullIn, fullAt: time + fullIn },
      });
    }
    if (tokensPerDay !== undefined) {
      const day = dayOf(time);
      const reserved = reservedOf(this.meter.tokens, tokensPerDay, this.meter.spending, day);
      const left = Math.floor(tokensPerDay - spentToday(this.#name).tokens - reserved);
      const [limit, remaining, fullAt] = [this.#tokensShown, Math.max(0, left), day + DAY_MS];
      pushLimitFields(fields, dialect, 'tokens', {
        limit,
        remaining,
        fullIn: fullAt - time,
        fullAt,
      });
    }
  }

  refuse(reached: Reached, dialect: Dialect): Refusal {
    const fields: string[] = [];
    this.#push(fields, dialect);
    const { message, retryAfter, final } = this.#say(reached);
    const { limit } = reached;
    const extra = { retryAfter, limit, fields, ...(final && { final }) };
    return refusal('rate_limited', `${limit}: ${message}`, extra);
  }

  #say({ limit, why, waitMs }: Reached): Pick<Refusal, 'message' | 'final'> & {
    readonly retryAfter: number;
  } {
    const { rpm = 0, parallel = 0, tokensPerDay = 0, usdPerDay = 0 } = this.limits;
    if (why === 'empty') {
      const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
      const message = `this client may send ${several(rpm, 'request')} a minute`;
      return { message: `${message}: the next one in ${retryAfter} s`, retryAfter };
    }
    if (why === 'busy') {
      const message = `this client may have ${several(parallel, 'request')} under way`;
      return { message: `${message}: the next one when another ends`, retryAfter: SOON };
    }
    const isTokens = limit === 'tokens_per_day';
    const whole = isTokens ? several(tokensPerDay, 'token') : `$${shown(usdPerDay)}`;
    if (why === 'reserved') {
      const message = `what is left of the ${whole} of this client for today is reserved`;
      return {
        message: `${message} for its requests under way: the next one when they end`,
        retryAfter: SOON,
      };
    }
    const time = this.#options.now();
    const end = dayOf(time) + DAY_MS;
    const silent = silentOf(isTokens ? this.meter.tokens : this.meter.usd, dayOf(time));
    const counted =
      silent === 0 ? '' : ` (${several(silent, 'answer')} did not say it, and count by their size)`;
    const message = `the ${whole} of this client for today are used${counted}`;
    return {
      message: `${message}: more from ${instantOf(end)} on`,
      retryAfter: Math.max(1, Math.ceil((end - time) / 1000)),
      final: true,
    };
  }
}
