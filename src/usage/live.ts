import { cut, printable, redact } from '../text/safe.ts';
import type { UsageEvent } from './totals.ts';

/** A request that is over, as far as the live view shows it. */
export interface LiveExchange extends UsageEvent {
  readonly id: string;
  readonly method: string;
  readonly template: string;
  readonly address: string;
  readonly userAgent: string;
  /** Milliseconds from the request's head to the first event of a stream; -1: none was seen. */
  readonly firstChunkMs: number;
}

export interface LiveCounts {
  readonly requests: number;
  /** The sidecar's own no. */
  readonly refusals: number;
  /** LiteLLM answered 4xx or 5xx, broke off, or could not be asked. */
  readonly errors: number;
  readonly tokensIn: number;
  readonly tokensOut: number;
  readonly costUsd: number;
}

/** How long streams took to their first chunk, in milliseconds, of the last 500 that began. */
export interface FirstChunks {
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

/** What ended within a short time. */
export interface LiveBin extends LiveCounts {
  /** When it began, ISO 8601. */
  readonly at: string;
  /** How long it is, in milliseconds: rates are what it counts over this. */
  readonly ms: number;
  /** Null: no stream began. */
  readonly firstChunkMs: FirstChunks | null;
  readonly refusalsByReason: Readonly<Record<string, number>>;
  /** By `http_429`, `cut`, `upstream_aborted`, or the code that the sidecar answered with. */
  readonly errorsByReason: Readonly<Record<string, number>>;
  /** `-`: nobody was recognised; `other`: one of more than 50. */
  readonly byClient: Readonly<Record<string, LiveCounts>>;
  /** What reached LiteLLM. `-`: it named no model; `other`: one of more than 100. */
  readonly byModel: Readonly<
    Record<string, LiveCounts & { readonly firstChunkMs: FirstChunks | null }>
  >;
}

/** A request that the sidecar refused; of its agent and path nothing that may be a key. */
export interface RefusedView {
  readonly at: string;
  readonly requestId: string;
  readonly reason: string;
  readonly status: number;
  /** Null: nobody was recognised. */
  readonly client: string | null;
  /** Whose key it was, `ci-2`. */
  readonly generation: string | null;
  readonly method: string;
  /** The route, without what a path names: `/v1/chat/completions`. */
  readonly route: string;
  readonly address: string;
  readonly userAgent: string;
}

export const LIVE_BIN_MS = 5000;
const HISTORY_MS = 15 * 60_000;
const MOST_CLIENTS = 50;
const MOST_MODELS = 100;
const LONGEST_NAME = 200;
const OTHER = 'other';
const NOBODY = '-';
const MOST_SAMPLES = 500;
const MOST_REFUSED = 100;

type Mutable<T> = { -readonly [Field in keyof T]: T[Field] };
interface Row extends Mutable<LiveCounts> {
  readonly firstChunks: number[];
  streams: number;
}
interface OpenBin extends Row {
  readonly from: number;
  readonly refused: Map<string, number>;
  readonly failed: Map<string, number>;
  readonly clients: Map<string, Row>;
  readonly models: Map<string, Row>;
}

export type LiveRecorder = ReturnType<typeof createLiveRecorder>;

/**
 * Counts requests for whoever looks: 15 minutes in bins of 5 seconds all the time, at a tenth of a
 * microsecond a request, and what comes between two looks while somebody does.
 *
 * @param now milliseconds since the epoch
 */
export function createLiveRecorder(now: () => number) {
  const clientOf = createNames(MOST_CLIENTS);
  const modelOf = createNames(MOST_MODELS);
  let bin = openBin(startOfBin(now()));
  let since: OpenBin | undefined;
  let ended: { readonly from: number; readonly bin: LiveBin }[] = [];
  const refused = createRefused();

  const roll = (at: number): void => {
    if (bin.requests > 0) ended.push({ from: bin.from, bin: closedBin(bin, LIVE_BIN_MS) });
    // A clock that was set back leaves bins that are in the future.
    ended = ended.filter(({ from }) => from > at - HISTORY_MS && from <= at);
    bin = openBin(startOfBin(at));
  };
  const isOver = (at: number): boolean => at >= bin.from + LIVE_BIN_MS || at < bin.from;

  return {
    /** Counts a request. One of nobody that was not refused is a health check: it is left out. */
    add(exchange: LiveExchange): void {
      if (exchange.generation === NOBODY && exchange.refusal === undefined) return;
      const at = now();
      if (isOver(at)) roll(at);
      const client = clientOf(exchange.client);
      const model = modelOf(exchange.model);
      count(bin, exchange, client, model);
      if (since !== undefined) count(since, exchange, client, model);
      if (exchange.refusal !== undefined) refused.note(exchange, at);
    },
    /** What ended since the last `take`; after `rest`, nothing yet. */
    take(): LiveBin {
      const at = now();
      const taken = closedBin(since ?? openBin(at), Math.max(0, at - (since?.from ?? at)));
      since = openBin(at);
      return taken;
    },
    /** Nobody looks any more. */
    rest(): void {
      since = undefined;
    },
    /** The last 15 minutes, the oldest first, without bins in which nothing ended. */
    history(): readonly LiveBin[] {
      const at = now();
      if (isOver(at)) roll(at);
      const bins = ended.map((each) => each.bin);
      return bin.requests === 0 ? bins : [...bins, closedBin(bin, Math.max(1, at - bin.from))];
    },
    /** The last 100 that were refused, the latest first. */
    refused: refused.list,
  };
}

const startOfBin = (at: number): number => at - (at % LIVE_BIN_MS);

const openRow = (): Row => ({
  // Named one by one: rows of one shape are counted faster.
  ...{ requests: 0, refusals: 0, errors: 0, tokensIn: 0, tokensOut: 0, costUsd: 0 },
  ...{ firstChunks: [], streams: 0 },
});

const openBin = (from: number): OpenBin => ({
  ...openRow(),
  from,
  ...{ refused: new Map(), failed: new Map(), clients: new Map(), models: new Map() },
});

function count(bin: OpenBin, exchange: LiveExchange, client: string, model: string): void {
  const { status, refusal } = exchange;
  // As `usage.db` has it: a refusal for LiteLLM's sake is an error.
  const isRefusal = refusal !== undefined && status < 500;
  const fault = isRefusal ? undefined : faultOf(exchange);
  countIn(bin, exchange, isRefusal, fault);
  countIn(rowOf(bin.clients, client), exchange, isRefusal, fault);
  if (refusal === undefined) countIn(rowOf(bin.models, model), exchange, false, fault);
  else if (isRefusal) bin.refused.set(refusal, (bin.refused.get(refusal) ?? 0) + 1);
  if (fault !== undefined) bin.failed.set(fault, (bin.failed.get(fault) ?? 0) + 1);
}

/** Why a request is an error; undefined: it is none, and a client that leaves makes none. */
function faultOf({ status, refusal, outcome }: LiveExchange): string | undefined {
  if (refusal !== undefined) return refusal;
  if (outcome === 'upstream_aborted' || outcome === 'cut') return outcome;
  return status >= 400 ? `http_${status}` : undefined;
}

function countIn(
  row: Row,
  { usage, firstChunkMs }: LiveExchange,
  isRefusal: boolean,
  fault: string | undefined,
): void {
  row.requests += 1;
  if (isRefusal) row.refusals += 1;
  if (fault !== undefined) row.errors += 1;
  if (firstChunkMs >= 0) {
    row.firstChunks[row.streams % MOST_SAMPLES] = firstChunkMs;
    row.streams += 1;
  }
  if (usage === undefined) return;
  row.tokensIn += usage.tokens.input;
  row.tokensOut += usage.tokens.output;
  row.costUsd += usage.costUsd ?? 0;
}

function rowOf(rows: Map<string, Row>, name: string): Row {
  const known = rows.get(name);
  if (known !== undefined) return known;
  const row = openRow();
  rows.set(name, row);
  return row;
}

/** Names that may be shown: the first so many that are met, and `other` for the rest. */
function createNames(most: number) {
  const known = new Map([['', NOBODY]]);
  return (name: string): string => {
    const shown = known.get(name);
    if (shown !== undefined) return shown;
    if (known.size > most) return OTHER;
    const safe = cut(redact(printable(name.slice(0, 2 * LONGEST_NAME + 2))), LONGEST_NAME).trim();
    known.set(name, safe);
    return safe;
  };
}

const countsOf = (row: Row): LiveCounts => ({
  requests: row.requests,
  refusals: row.refusals,
  errors: row.errors,
  tokensIn: row.tokensIn,
  tokensOut: row.tokensOut,
  costUsd: row.costUsd,
});

const closedBin = (bin: OpenBin, ms: number): LiveBin => ({
  at: new Date(bin.from).toISOString(),
  ms,
  ...countsOf(bin),
  firstChunkMs: firstChunksOf(bin),
  refusalsByReason: Object.fromEntries(bin.refused),
  errorsByReason: Object.fromEntries(bin.failed),
  byClient: Object.fromEntries(Array.from(bin.clients, ([name, row]) => [name, countsOf(row)])),
  byModel: Object.fromEntries(
    Array.from(bin.models, ([name, row]) => [
      name,
      { ...countsOf(row), firstChunkMs: firstChunksOf(row) },
    ]),
  ),
});

function firstChunksOf({ firstChunks, streams }: Row): FirstChunks | null {
  if (streams === 0) return null;
  const sorted = Float64Array.from(firstChunks).sort();
  const at = (share: number): number => Math.round(sorted[Math.floor(share * sorted.length)] ?? 0);
  return { p50: at(0.5), p95: at(0.95), count: streams };
}

/** Keeps the last that were refused; one more costs two writes. */
function createRefused() {
  const last: { readonly exchange: LiveExchange; readonly at: number }[] = [];
  let next = 0;
  return {
    note(exchange: LiveExchange, at: number): void {
      last[next] = { exchange, at };
      next = (next + 1) % MOST_REFUSED;
    },
    list: (): readonly RefusedView[] =>
      [...last.slice(next), ...last.slice(0, next)].reverse().map(refusedView),
  };
}

const refusedView = (each: { exchange: LiveExchange; at: number }): RefusedView => {
  const { exchange, at } = each;
  return {
    at: new Date(at).toISOString(),
    requestId: exchange.id,
    reason: exchange.refusal ?? '',
    status: exchange.status,
    client: exchange.client === NOBODY ? null : exchange.client,
    generation: exchange.generation === NOBODY ? null : exchange.generation,
    method: exchange.method,
    route: exchange.template,
    address: exchange.address,
    userAgent: redact(exchange.userAgent),
  };
};
