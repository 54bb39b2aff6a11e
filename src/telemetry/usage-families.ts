import type { Registry } from 'prom-client';
import { type Tokens, USAGE_FAULTS, type Usage, type UsageFault } from '../litellm/usage.ts';
import type { ExchangeRecord } from '../proxy/record.ts';
import { printable, withoutKeys } from '../text/safe.ts';
import {
  createHistogram,
  createLabelSet,
  type LabelSet,
  registerFamily,
  registerGauge,
  type Sample,
} from './series.ts';

/** Models that have a name of their own: the first that are met. The rest is `other`. */
const MAX_MODELS = 100;
/** Pairs of client and model with counters of their own, 11 series each; the rest is `other`. */
const MAX_PAIRS = 100;
/** Models with histograms of their own, 26 series each, the first that stream; then `other`. */
const MAX_HISTOGRAM_MODELS = 20;
/** Until there are so many pairs, each client that is there has one with each model that is. */
const PREPARED_PAIRS = 25;

/** Stands for the model where LiteLLM names none, as in an answer that failed. */
const UNNAMED = '-';
/** Characters of a model's name; a longer one is nobody's, and counted as `other`. */
const LONGEST_NAME = 200;

/** What is read of the usage database at each scrape. */
export interface UsageReadings {
  /** Undefined: no usage is stored. */
  readonly usageStore?: () => {
    /** A write failed, and none succeeded since. */
    readonly isBehind: boolean;
    /** Rows that are counted and not written yet. */
    readonly pendingRows: number;
  };
}

/** The families of the usage database, where there is one. */
export const registerUsageReadings = (registry: Registry, { usageStore }: UsageReadings): void => {
  if (usageStore === undefined) return;
  const up = { name: 'usage_store_up', help: 'Whether the last write of usage succeeded.' };
  registerGauge(registry, up, () => (usageStore().isBehind ? 0 : 1));
  const pending = { name: 'usage_pending_rows', help: 'Rows of usage that are not written yet.' };
  registerGauge(registry, pending, () => usageStore().pendingRows);
};

/**
 * The families of what models were asked, what they used and how fast they streamed. An exchange
 * that ended costs a tenth of a microsecond here.
 *
 * @param clients at most 63 values
 * @param modelGroups the route groups at which a model answers
 */
export const createUsageFamilies = (
  registry: Registry,
  clients: LabelSet,
  modelGroups: readonly string[],
) => {
  const routes = createLabelSet(modelGroups);
  const models = createLabelSet([UNNAMED], MAX_MODELS, isName);
  const pairs = createPairs(registry, clients, models);
  const countMissing = createMissing(registry, routes);
  const observeStream = createStreamTimes(registry);

  return {
    onExchangeEnd(record: ExchangeRecord): void {
      // Without this LiteLLM never had the request.
      if (record.overheadMs < 0) return;
      const { usage, usageFault, model } = record;
      const route = routes.indexOf(record.group);
      const isAsked = route !== 0 && (record.asksModel || record.websocket);
      if (!isAsked && usage === undefined && usageFault === undefined) return;

      const named = models.indexOf(model === '' ? UNNAMED : model);
      const pair = pairs.of(clients.indexOf(record.client), named);
      const asked = pair.requests[outcomeOf(record)];
      if (asked) asked.value += 1;
      if (usage !== undefined) add(pair, usage);
      countMissing(route, usageFault, record.status);
      if (record.lastChunkMs >= 0) observeStream(record, models.valueAt(named));
    },
    /** LiteLLM lists these models, which nobody may have asked for yet. */
    onModels(listed: readonly string[]): void {
      // With wildcards it lists thousands, of which nobody knows the few that count.
      if (listed.length > PREPARED_PAIRS) return;
      for (const model of listed) pairs.meetModel(models.indexOf(model));
    },
    /** There is a client of this number, who may not have asked for anything yet. */
    onClient: pairs.meetClient,
  };
};

/** No operator gave a name that is long, or holds what nobody sees or what may be a key. */
const isName = (model: string): boolean =>
  model.length <= LONGEST_NAME && withoutKeys(printable(model)) === model;

/** What became of a request to a model. */
const OUTCOMES = ['ok', '4xx', '429', '5xx', 'cut'] as const;

/** A number of `OUTCOMES`. */
const outcomeOf = ({ outcome, status }: ExchangeRecord): number => {
  if (outcome !== 'answered') return 4;
  if (status >= 500) return 3;
  if (status === 429) return 2;
  return status >= 400 ? 1 : 0;
};

/** A kind of tokens as its label names it, and its field. */
const TOKEN_TYPES = [
  ['input', 'input'],
  ['output', 'output'],
  ['cached', 'cached'],
  ['cache_write', 'cacheWrite'],
  ['reasoning', 'reasoning'],
] as const satisfies readonly (readonly [string, keyof Tokens])[];

/** All counters of one client and one model. */
interface Pair {
  /** As `OUTCOMES` has them. */
  readonly requests: readonly Sample[];
  readonly tokens: Readonly<Record<keyof Tokens, Sample>>;
  readonly cost: Sample;
}

const add = ({ tokens, cost }: Pair, { tokens: used, costUsd }: Usage): void => {
  tokens.input.value += used.input;
  tokens.output.value += used.output;
  tokens.cached.value += used.cached;
  tokens.cacheWrite.value += used.cacheWrite;
  tokens.reasoning.value += used.reasoning;
  if (costUsd !== undefined) cost.value += costUsd;
};

const createPair = (client: string, model: string): Pair => {
  const sample = (more: Readonly<Record<string, string>> = {}): Sample => ({
    value: 0,
    sharedLabels: { client, model, ...more },
  });
  const tokens = TOKEN_TYPES.map(([type, field]) => [field, sample({ type })] as const);
  return {
    requests: OUTCOMES.map((outcome) => sample({ outcome })),
    tokens: Object.fromEntries(tokens) as Record<keyof Tokens, Sample>,
    cost: sample(),
  };
};

/**
 * Keeps the counters of each client and model, and finds them by their numbers. All of a pair's
 * stand at 0 once it is met, so that what comes next is an increase that `rate()` sees. A client
 * that asks has its failures at 0, too, and with few clients and models each pair of them is there.
 */
const createPairs = (registry: Registry, clients: LabelSet, models: LabelSet) => {
  const all: Pair[] = [];
  /** By client, then by model. */
  const rows: (Pair | undefined)[][] = [];
  registerPairs(registry, all);
  const begin = (client: number, model: number): Pair => {
    const pair = createPair(clients.valueAt(client), models.valueAt(model));
    all.push(pair);
    rows[client] ??= [];
    rows[client][model] = pair;
    return pair;
  };
  const unnamed = models.indexOf(UNNAMED);
  const met = { clients: new Set<number>(), models: new Set([unnamed]) };
  const prepare = (): void => {
    for (const client of met.clients) {
      for (const model of met.models) {
        if (all.length >= PREPARED_PAIRS) return;
        if (rows[client]?.[model] === undefined) begin(client, model);
      }
    }
  };
  const meet = (ones: Set<number>, one: number): void => {
    if (one === 0 || ones.has(one)) return;
    ones.add(one);
    prepare();
  };
  const meetClient = (client: number): void => meet(met.clients, client);
  const meetModel = (model: number): void => meet(met.models, model);

  return {
    meetClient,
    meetModel,
    of(client: number, model: number): Pair {
      const known = rows[client]?.[model];
      if (known !== undefined) return known;
      if (all.length >= MAX_PAIRS) return rows[0]?.[0] ?? begin(0, 0);
      const pair = begin(client, model);
      const hasFailures = rows[client]?.[unnamed] !== undefined;
      if (!hasFailures && all.length < MAX_PAIRS / 2) begin(client, unnamed);
      meetClient(client);
      meetModel(model);
      return pair;
    },
  };
};

const registerPairs = (registry: Registry, pairs: readonly Pair[]): void => {
  const counter = (name: string, help: string, of: (pair: Pair) => readonly Sample[]): void =>
    registerFamily(registry, { name, help, type: 'counter' }, () => pairs.flatMap(of));
  counter(
    'model_requests_total',
    'Requests for a model that were sent on, by what became of them.',
    ({ requests }) => requests,
  );
  counter(
    'tokens_total',
    'Tokens that answers say were used; cached and cache_write are part of input, reasoning is ' +
      'part of output.',
    ({ tokens }) => TOKEN_TYPES.map(([, field]) => tokens[field]),
  );
  counter('cost_usd_total', 'What LiteLLM says answers cost, in US dollars.', ({ cost }) => [cost]);
};

/** Counts answers that should say what they used and do not, by why. */
const createMissing = (registry: Registry, routes: LabelSet) => {
  const rows: (Readonly<Record<UsageFault, Sample>> | undefined)[] = [];
  const family = {
    name: 'usage_missing_total',
    help: 'Answers that should say what they used and do not.',
  };
  registerFamily(registry, { ...family, type: 'counter' }, () =>
    rows.flatMap((row) => (row === undefined ? [] : Object.values(row))),
  );
  const begin = (route: number): Readonly<Record<UsageFault, Sample>> => {
    const samples = USAGE_FAULTS.map((reason): [UsageFault, Sample] => [
      reason,
      { value: 0, sharedLabels: { route: routes.valueAt(route), reason } },
    ]);
    const row = Object.fromEntries(samples) as Record<UsageFault, Sample>;
    rows[route] = row;
    return row;
  };
  return (route: number, fault: UsageFault | undefined, status: number): void => {
    // A route that only ever refuses has no answers that should say anything.
    if (fault === undefined && (status >= 400 || rows[route] !== undefined)) return;
    const row = rows[route] ?? begin(route);
    if (fault !== undefined) row[fault].value += 1;
  };
};

/** In seconds: a small model's first words to a long thought before them. */
const FIRST_CHUNK_BOUNDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80];
/** In seconds: 100 chunks a second to less than one. */
const CHUNK_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5];

/** How fast the event streams of a model are. */
const createStreamTimes = (registry: Registry) => {
  const models = createLabelSet([UNNAMED], MAX_HISTOGRAM_MODELS - 1);
  const byModel = (name: string, help: string, bounds: readonly number[]) =>
    createHistogram(registry, {
      ...{ name, help, bounds },
      labelsOf: (row) => ({ model: models.valueAt(row) }),
    });
  const firstChunk = byModel(
    'time_to_first_chunk_seconds',
    'From the head of a request to the first chunk of its event stream.',
    FIRST_CHUNK_BOUNDS,
  );
  const perChunk = byModel(
    'time_per_output_chunk_seconds',
    'Mean time between the chunks of an event stream after its first.',
    CHUNK_BOUNDS,
  );
  return ({ firstChunkMs, lastChunkMs, chunks, status }: ExchangeRecord, model: string): void => {
    if (status >= 400) return;
    const row = models.indexOf(model);
    firstChunk.observe(row, firstChunkMs);
    if (chunks > 1) perChunk.observe(row, (lastChunkMs - firstChunkMs) / (chunks - 1));
  };
};
