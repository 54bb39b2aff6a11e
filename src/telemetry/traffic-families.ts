import type { Registry } from 'prom-client';
import type {
  ExchangeRecord,
  RetryKind,
  TrafficEvents,
  TrafficGauges,
  UpstreamErrorKind,
} from '../proxy/record.ts';
import { REFUSAL_CODES, type RefusalCode } from '../refusal.ts';
import {
  createCounter,
  createCounters,
  createHistogram,
  createLabelSet,
  Gauge,
  type LabelSet,
  OTHER,
  PREFIX,
  registerFamily,
  type Sample,
} from './series.ts';

/** 5 ms (a mock, a list of models) to 10 min (a reasoning model's long answer), in seconds. */
const EXCHANGE_BOUNDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
];
/** 10 µs to 100 ms: the sidecar's own share is far below what it waits for. */
const OVERHEAD_BOUNDS = [
  0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
  0.1,
];

/**
 * How long exchanges took. Only those that were sent on to LiteLLM: a scanner's refusals, answered
 * in microseconds, would hide a slow model.
 */
export const createDurations = (
  registry: Registry,
  routes: LabelSet,
): { observe(record: ExchangeRecord, route: number): void } => {
  const byRoute = (name: string, help: string) =>
    createHistogram(registry, {
      name,
      help,
      bounds: EXCHANGE_BOUNDS,
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
  const overhead = createHistogram(registry, {
    name: 'overhead_seconds',
    help: "The sidecar's own share of a request before it was sent on.",
    bounds: OVERHEAD_BOUNDS,
    labelsOf: () => ({}),
  });
  overhead.prepare(0);

  return {
    observe: (record, route) => {
      if (record.overheadMs < 0) return;
      duration.observe(route, record.durationMs);
      firstByte.observe(route, record.firstByteMs);
      overhead.observe(0, record.overheadMs);
    },
  };
};

/** Counts what the sidecar itself refused, by its code. */
export const createRefusals = (registry: Registry): { increment(reason: RefusalCode): void } =>
  createCounters(registry, {
    name: 'refusals_total',
    help: 'Requests that the sidecar refused.',
    label: 'reason',
    values: REFUSAL_CODES,
  });

/** What is under way, read at each scrape. */
const registerGauges = (registry: Registry, gauges: TrafficGauges): void => {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge('requests_in_flight', 'Requests under way.', gauges.inFlight);
  gauge('streams_in_flight', 'Event streams under way.', gauges.streams);
  gauge('websockets_in_flight', 'WebSockets open.', gauges.websockets);
  gauge('requests_held', 'Requests that wait for LiteLLM to come back.', gauges.held);
};

/** How much passes through, and how much is under way. */
export const createTraffic = (
  registry: Registry,
  gauges: TrafficGauges,
): { count(record: ExchangeRecord): void } => {
  registerGauges(registry, gauges);
  const counter = (name: string, help: string) => createCounter(registry, { name, help });
  const requestBytes = counter('request_bytes_total', 'Bytes of request bodies.');
  const responseBytes = counter('response_bytes_total', 'Bytes of answer bodies.');
  const aborts = counter('client_aborts_total', 'Clients that left before they had all.');

  return {
    count: (record) => {
      requestBytes.add(record.requestBytes);
      responseBytes.add(record.responseBytes);
      if (record.outcome === 'client_aborted') aborts.add(1);
    },
  };
};

// Records, so that a kind that is added to the union does not compile until it stands here.
const ERROR_KINDS: Record<UpstreamErrorKind, true> = {
  connect: true,
  reset: true,
  timeout: true,
  protocol: true,
  aborted: true,
};
const RETRY_KINDS: Record<RetryKind, true> = {
  reused_connection: true,
  other_key: true,
};

/** LiteLLM as it is seen: `up` gives each slot's name and whether it answers. */
export const createUpstream = (
  registry: Registry,
  up: () => ReadonlyMap<string, boolean>,
): Pick<TrafficEvents, 'onRetry' | 'onUpstreamError'> => {
  new Gauge({
    name: `${PREFIX}upstream_up`,
    help: 'Whether the LiteLLM of a slot answers.',
    labelNames: ['slot'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [slot, isUp] of up()) this.set({ slot }, isUp ? 1 : 0);
    },
  });
  const errors = createCounters(registry, {
    name: 'upstream_errors_total',
    help: 'Times that LiteLLM could not be asked or broke off.',
    label: 'kind',
    values: Object.keys(ERROR_KINDS) as UpstreamErrorKind[],
  });
  const retries = createCounters(registry, {
    name: 'upstream_retries_total',
    help: 'Requests that were sent to LiteLLM again.',
    label: 'kind',
    values: Object.keys(RETRY_KINDS) as RetryKind[],
  });
  return { onRetry: retries.increment, onUpstreamError: errors.increment };
};

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
/** `-` is nobody: a request that was refused before a client was recognised. */
export const NOBODY = '-';
/** Of the 5,000 that all families may have together; common use needs some dozens. */
const MAX_SERIES = 1800;

/**
 * A status as a number below 1024: itself, or one of these. Combinations beyond the limit keep
 * their class, as `5xx`, which a query for `status=~"5.."` still counts.
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

/** Counts finished exchanges in `requests_total`; each label set has at most 63 values. */
export const createRequests = (
  registry: Registry,
  routes: LabelSet,
  clients: LabelSet,
): { count(record: ExchangeRecord, route: number): void } => {
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
    return sample;
  };

  return {
    count: (record, route) => {
      const client = clients.indexOf(record.client);
      const method = methods.indexOf(record.method);
      sampleOf(client, route, method, statusIndex(record.status)).value += 1;
    },
  };
};
