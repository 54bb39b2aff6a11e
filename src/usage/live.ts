import type { Clock } from '../clock.ts';
import { cut, printable, redact } from '../text/safe.ts';
import { type FirstChunkPercentiles, percentilesOf, STEP_ENDS, stepOf } from './first-chunks.ts';
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

/** How long streams took to their first chunk, in milliseconds. */
export interface FirstChunks extends FirstChunkPercentiles {
  /** How many by the end of their step, which add up as percentiles do not: `{"101": 3}`. */
  readonly upTo: Readonly<Record<string, number>>;
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
const MOST_REFUSED = 100;

/** What is counted of each client and each model, by these places. */
const COUNTED = ['requests', 'refusals', 'errors', 'tokensIn', 'tokensOut', 'costUsd'] as const;
const [REQUESTS, REFUSALS, ERRORS, TOKENS_IN, TOKENS_OUT, COST] = [0, 1, 2, 3, 4, 5] as const;

interface Row {
  /** Doubles in a row of their own: in fields of an object each sum would be a new number. */
  readonly counts: Float64Array;
  /** Of a model that streamed: how many there were of each step. */
  firstChunks: Uint32Array | undefined;
}

/** All that ends is counted once by its client, so that these have the sum. */
interface OpenBin {
  readonly from: number;
  readonly refused: Map<string, number>;
  readonly failed: Map<string, number>;
  readonly clients: Map<string, Row>;
  readonly models: Map<string, Row>;
}

/**
 * Counts requests for whoever looks: 15 minutes in bins of 5 seconds all the time, at a tenth of a
 * microsecond a request, and what comes between two looks while somebody does.
 */
export function createLiveRecorder({ now, elapsed }: Clock) {
  const clients = createNames(MOST_CLIENTS);
  const models = createNames(MOST_MODELS);
  let bin = openBin(startOfBin(now()));
  let since: { readonly bin: OpenBin; readonly began: number } | undefined;
  let ended: { readonly from: number; readonly bin: LiveBin }[] = [];
  const refused = createRefused();

  const roll = (at: number): void => {
    if (bin.clients.size > 0) ended.push({ from: bin.from, bin: closedBin(bin, LIVE_BIN_MS) });
    // A clock that was set back leaves bins that are in the future.
    const isHeld = (from: number): boolean => from > at - HISTORY_MS && from <= at;
    ended = ended.filter(({ from }) => isHeld(from));
    for (const each of [clients, models]) each.forget(isHeld);
    bin = openBin(startOfBin(at));
  };
  const isOver = (at: number): boolean => at >= bin.from + LIVE_BIN_MS || at < bin.from;

  return {
    /** Counts a request. One of nobody that was not refused is a health check: it is left out. */
    add(exchange: LiveExchange): void {
      if (exchange.generation === NOBODY && exchange.refusal === undefined) return;
      const at = now();
      if (isOver(at)) roll(at);
      const client = clients.nameOf(exchange.client, bin.from);
      const model = models.nameOf(exchange.model, bin.from);
      count(bin, exchange, client, model);
      if (since !== undefined) count(since.bin, exchange, client, model);
      if (exchange.refusal !== undefined) refused.note(exchange, at);
    },
    /** What ended since the last `take`; after `rest`, nothing yet. */
    take(): LiveBin {
      const began = elapsed();
      // A wall clock that jumps changes no rate.
      const ms = Math.round(began - (since?.began ?? began));
      const taken = closedBin(since?.bin ?? openBin(now()), ms);
      since = { bin: openBin(now()), began };
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
      return bin.clients.size === 0 ? bins : [...bins, closedBin(bin, Math.max(1, at - bin.from))];
    },
    /** The last 100 that were refused, the latest first. */
    refused: refused.list,
  };
}

const startOfBin = (at: number): number => at - (at % LIVE_BIN_MS);

const openRow = (): Row => ({
  counts: new Float64Array(COUNTED.length),
  firstChunks: undefined,
});

const openBin = (from: number): OpenBin => ({
  from,
  ...{ refused: new Map(), failed: new Map(), clients: new Map(), models: new Map() },
});

function count(bin: OpenBin, exchange: LiveExchange, client: string, model: string): void {
  const { status, refusal, firstChunkMs } = exchange;
  // As `usage.db` has it: a refusal for LiteLLM's sake is an error.
  const isRefusal = refusal !== undefined && status < 500;
  const fault = isRefusal ? undefined : faultOf(exchange);
  countIn(rowOf(bin.clients, client).counts, exchange, isRefusal, fault);
  if (refusal === undefined) {
    const row = rowOf(bin.models, model);
    countIn(row.counts, exchange, false, fault);
    if (firstChunkMs >= 0) addFirstChunk(row, firstChunkMs);
  } else if (isRefusal) bin.refused.set(refusal, (bin.refused.get(refusal) ?? 0) + 1);
  if (fault !== undefined) bin.failed.set(fault, (bin.failed.get(fault) ?? 0) + 1);
}

/** Why a request is an error; undefined: it is none, and a client that leaves makes none. */
function faultOf({ status, refusal, outcome }: LiveExchange): string | undefined {
  if (refusal !== undefined) return refusal;
  if (outcome === 'upstream_aborted' || outcome === 'cut') return outcome;
  return status >= 400 ? `http_${status}` : undefined;
}

function countIn(
  counts: Float64Array,
  { usage }: LiveExchange,
  isRefusal: boolean,
  fault: string | undefined,
): void {
  add(counts, REQUESTS, 1);
  if (isRefusal) add(counts, REFUSALS, 1);
  if (fault !== undefined) add(counts, ERRORS, 1);
  if (usage === undefined) return;
  add(counts, TOKENS_IN, usage.tokens.input);
  add(counts, TOKENS_OUT, usage.tokens.output);
  add(counts, COST, usage.costUsd ?? 0);
}

const add = (counts: Float64Array, place: number, much: number): void => {
  counts[place] = (counts[place] as number) + much;
};

function addFirstChunk(row: Row, ms: number): void {
  row.firstChunks ??= new Uint32Array(STEP_ENDS.length);
  const step = stepOf(ms);
  row.firstChunks[step] = (row.firstChunks[step] as number) + 1;
}

function rowOf(rows: Map<string, Row>, name: string): Row {
  const known = rows.get(name);
  if (known !== undefined) return known;
  const row = openRow();
  rows.set(name, row);
  return row;
}

/**
 * Names that may be shown: the first so many that are met, and `other` for the rest. A name is let
 * go once no bin can have it any more.
 */
function createNames(most: number) {
  const known = new Map<string, { readonly shown: string; usedIn: number }>();
  return {
    /** @param from when the bin began that it is for */
    nameOf(name: string, from: number): string {
      if (name === '') return NOBODY;
      const met = known.get(name);
      if (met !== undefined) {
        met.usedIn = from;
        return met.shown;
      }
      if (known.size >= most) return OTHER;
      const short = name.slice(0, 2 * LONGEST_NAME + 2);
      const shown = cut(redact(printable(short)), LONGEST_NAME).trim();
      known.set(name, { shown, usedIn: from });
      return shown;
    },
    forget(isHeld: (from: number) => boolean): void {
      for (const [name, { usedIn }] of known) if (!isHeld(usedIn)) known.delete(name);
    },
  };
}

const countsOf = (rows: Iterable<Row>): LiveCounts => {
  const sums = new Float64Array(COUNTED.length);
  for (const { counts } of rows) for (const [at, much] of counts.entries()) add(sums, at, much);
  return Object.fromEntries(COUNTED.map((name, at) => [name, sums[at]])) as unknown as LiveCounts;
};

function closedBin({ from, refused, failed, clients, models }: OpenBin, ms: number): LiveBin {
  const byName = <T>(rows: Map<string, Row>, view: (row: Row) => T): Readonly<Record<string, T>> =>
    Object.fromEntries(Array.from(rows, ([name, row]) => [name, view(row)]));
  return {
    ...{ at: new Date(from).toISOString(), ms, ...countsOf(clients.values()) },
    firstChunkMs: firstChunksOf([...models.values()]),
    refusalsByReason: Object.fromEntries(refused),
    errorsByReason: Object.fromEntries(failed),
    byClient: byName(clients, (row) => countsOf([row])),
    byModel: byName(models, (row) => ({ ...countsOf([row]), firstChunkMs: firstChunksOf([row]) })),
  };
}

function firstChunksOf(rows: readonly Row[]): FirstChunks | null {
  const streamed = rows.flatMap(({ firstChunks }) => firstChunks ?? []);
  if (streamed.length === 0) return null;
  const steps = STEP_ENDS.map((end, step): [number, number] => [
    end,
    streamed.reduce((sum, counts) => sum + (counts[step] as number), 0),
  ]).filter(([, count]) => count > 0);
  const percentiles = percentilesOf(steps);
  return percentiles && { ...percentiles, upTo: Object.fromEntries(steps) };
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
