import type { Registry } from 'prom-client';
import type { ExchangeRecord } from '../../proxy/record.ts';
import { createHistogram } from './histogram.ts';
import type { LabelSet } from './label-set.ts';

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
