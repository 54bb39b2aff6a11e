import type { Registry } from 'prom-client';
import {
  type ExchangeRecord,
  RETRY_KINDS,
  type TrafficEvents,
  type TrafficGauges,
  UPSTREAM_ERROR_KINDS,
} from '../proxy/record.ts';
import { REFUSAL_CODES } from '../refusal.ts';
import {
  createCounter,
  createHistogram,
  createLabelSet,
  type Family,
  type LabelSet,
  OTHER,
  registerFamily,
  registerGauge,
  type Sample,
} from './series.ts';

/** What is read of the traffic at each scrape. */
export interface TrafficReadings {
  /** What is under way. */
  readonly gauges: TrafficGauges;
  /** Each slot's name and whether its LiteLLM answers. */
  readonly upstreamUp: () => ReadonlyMap<string, boolean>;
  /** Whether LiteLLM takes the sidecar's key; undefined: it has not said. */
  readonly isUpstreamKeyTaken: () => boolean | undefined;
}

const MAX_ROUTE_GROUPS = 50;
/** Groups with histograms of their own, 53 series each: the first that are sent on. */
const MAX_HISTOGRAM_ROUTES = 16;

/**
 * The families of traffic that are counted. An exchange that ended costs a third of a
 * microsecond here.
 *
 * @param clients at most 63 values
 * @param routeGroups every one there is; another one is counted as `other`
 */
export const createTrafficFamilies = (
  registry: Registry,
  clients: LabelSet,
  routeGroups: readonly string[],
): Omit<TrafficEvents, 'onKeyUse' | 'onFirstAnswer' | 'onLimit'> => {
  const routes = createLabelSet(routeGroups.slice(0, MAX_ROUTE_GROUPS));
  const countRequest = createRequestCounters(registry, routes, clients);
  const observeDurations = createDurations(registry);
  const sums = SUMS.map(({ of, ...family }) => {
    const sample: Sample = { value: 0, sharedLabels: {} };
    registerFamily(registry, { ...family, type: 'counter' }, () => [sample]);
    return { of, sample };
  });
  const refusals = createCounter(registry, {
    name: 'refusals_total',
    help: 'Requests that the sidecar refused.',
    labels: { reason: REFUSAL_CODES },
  });
  const errors = createCounter(registry, {
    name: 'upstream_errors_total',
    help: 'Times that LiteLLM could not be asked or broke off.',
    labels: { kind: UPSTREAM_ERROR_KINDS },
  });
  const retries = createCounter(registry, {
    name: 'upstream_retries_total',
    help: 'Requests that were sent to LiteLLM again.',
    labels: { kind: RETRY_KINDS },
  });

  return {
    onExchangeEnd: (record) => {
      const route = routes.indexOf(record.group);
      countRequest(record, route);
      observeDurations(record, routes.valueAt(route));
      for (const { of, sample } of sums) sample.value += of(record);
      if (record.refusal !== undefined) refusals({ reason: record.refusal });
    },
    onUpstreamError: (kind) => errors({ kind }),
    onRetry: (kind) => retries({ kind }),
  };
};

/** Counters without labels, each with what an exchange that ended adds to it. */
const SUMS: readonly (Family & { readonly of: (record: ExchangeRecord) => number })[] = [
  {
    name: 'request_bytes_total',
    help: 'Bytes of request bodies.',
    of: ({ requestBytes }) => requestBytes,
  },
  {
    name: 'response_bytes_total',
    help: 'Bytes of answer bodies.',
    of: ({ responseBytes }) => responseBytes,
  },
  {
    name: 'client_aborts_total',
    help: 'Clients that left before they had all.',
    of: ({ outcome }) => (outcome === 'client_aborted' ? 1 : 0),
  },
];

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
/** Series of `requests_total`, of the 5,000 that all families may have; some dozens are usual. */
const MAX_SERIES = 900;

/** What LiteLLM, or the sidecar for it, answers where something fails. */
const FAILED = [500, 502, 503, 504];

/** Counts exchanges that ended; each label set has at most 63 values. */
const createRequestCounters = (registry: Registry, routes: LabelSet, clients: LabelSet) => {
  const methods = createLabelSet(METHODS);
  const samples = new Map<number, Sample>();
  const family = { name: 'requests_total', help: 'Requests that ended, refused ones included.' };
  registerFamily(registry, { ...family, type: 'counter' }, () => samples.values());

  const sampleOf = (client: number, route: number, method: number, status: number): Sample => {
    // One small integer a combination (6 + 6 + 3 + 10 bits): looked up without making a string.
    const key = (client << 19) | (route << 13) | (method << 10) | status;
    const known = samples.get(key);
    if (known) return known;
    if (samples.size >= MAX_SERIES && key >= 100) return sampleOf(0, 0, 0, classOf(status));
    const sample: Sample = {
      value: 0,
      sharedLabels: {
        client: clients.valueAt(client),
        route: routes.valueAt(route),
        method: methods.valueAt(method),
        status: statusText(status),
      },
    };
    samples.set(key, sample);
    // Where the first failure of a route makes a series, `increase()` does not see that failure.
    if (clients.valueAt(client) !== '-' && samples.size < MAX_SERIES / 2) {
      for (const failed of FAILED) sampleOf(client, route, method, failed);
    }
    return sample;
  };

  return (record: ExchangeRecord, route: number): void => {
    const client = clients.indexOf(record.client);
    const method = methods.indexOf(record.method);
    sampleOf(client, route, method, statusIndex(record.status)).value += 1;
  };
};

/**
 * A status as a number below 1024: itself, or one of these. Combinations beyond `MAX_SERIES` keep
 * the class of their status alone, as `5xx`, which a query for `status=~"5.."` still counts.
 */
const NONE = 0;
const UNKNOWN = 1;
const FIRST_CLASS = 2;

const statusIndex = (status: number): number => {
  if (status >= 100 && status <= 599 && Number.isInteger(status)) return status;
  return status === 0 ? NONE : UNKNOWN;
};
const classOf = (index: number): number =>
  index < 100 ? index : FIRST_CLASS + Math.trunc(index / 100) - 1;

const statusText = (index: number): string => {
  if (index >= 100) return String(index);
  if (index >= FIRST_CLASS) return `${index - FIRST_CLASS + 1}xx`;
  return index === NONE ? 'none' : OTHER;
};

/** 5 ms (a mock, a list of models) to 10 min (a reasoning model's long answer), in seconds. */
const EXCHANGE_BOUNDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
/** 1 ms (LiteLLM has nothing else to do) to 10 s (it stands still), in seconds. */
const WAIT_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
/** 10 µs to 100 ms: the sidecar's own share is far below what it waits for. */
const OVERHEAD_BOUNDS = [
  0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
  0.1,
];

/**
 * How long exchanges took. Only those that were sent on to LiteLLM: a scanner's refusals, answered
 * in microseconds, would hide a slow model.
 */
const createDurations = (registry: Registry) => {
  const routes = createLabelSet([], MAX_HISTOGRAM_ROUTES);
  const byRoute = (name: string, help: string, bounds: readonly number[] = EXCHANGE_BOUNDS) =>
    createHistogram(registry, {
      ...{ name, help, bounds },
      labelsOf: (row) => ({ route: routes.valueAt(row) }),
    });
  const duration = byRoute(
    'request_duration_seconds',
    'From the head of a request to the end of its answer, of requests that were sent on.',
  );
  const firstByte = byRoute(
    'time_to_first_byte_seconds',
    'From the head of a request to the head of its answer, of requests that were sent on.',
  );
  const wait = byRoute(
    'upstream_wait_seconds',
    'To the head of an answer, without the time that LiteLLM says its model took.',
    WAIT_BOUNDS,
  );
  const overhead = createHistogram(registry, {
    name: 'overhead_seconds',
    help: "The sidecar's own share of a request before it was sent on.",
    bounds: OVERHEAD_BOUNDS,
    labelsOf: () => ({}),
  });
  overhead.prepare(0);

  return (record: ExchangeRecord, group: string): void => {
    if (record.overheadMs < 0) return;
    const { firstByteMs, upstreamMs } = record;
    const route = routes.indexOf(group);
    duration.observe(route, record.durationMs);
    firstByte.observe(route, firstByteMs);
    if (upstreamMs >= 0) wait.observe(route, firstByteMs - upstreamMs);
    overhead.observe(0, record.overheadMs);
  };
};

/** What is read at each scrape: what is under way, and which LiteLLM answers. */
export const registerTrafficReadings = (
  registry: Registry,
  { gauges, upstreamUp, isUpstreamKeyTaken }: TrafficReadings,
): void => {
  const gauge = (name: string, help: string, read: () => number): void =>
    registerGauge(registry, { name, help }, read);
  gauge('requests_in_flight', 'Requests under way.', gauges.inFlight);
  gauge('streams_in_flight', 'Event streams under way.', gauges.streams);
  gauge('websockets_in_flight', 'WebSockets open.', gauges.websockets);
  gauge('requests_held', 'Requests that wait for LiteLLM to come back.', gauges.held);
  const taken = "Whether LiteLLM took the sidecar's key when it was asked last.";
  registerFamily(registry, { name: 'upstream_key_accepted', help: taken, type: 'gauge' }, () => {
    const isTaken = isUpstreamKeyTaken();
    return isTaken === undefined ? [] : [{ value: isTaken ? 1 : 0, sharedLabels: {} }];
  });
  const help = 'Whether the LiteLLM of a slot answers.';
  registerFamily(registry, { name: 'upstream_up', help, type: 'gauge' }, () =>
    [...upstreamUp()].map(([slot, isUp]) => ({ value: isUp ? 1 : 0, sharedLabels: { slot } })),
  );
};
