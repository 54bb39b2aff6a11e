import { createMetrics, type Metrics, type MetricsOptions } from '../../src/telemetry/metrics.ts';
import { parseSeries } from './exposition.ts';

type Readings = Parameters<Metrics['expose']>[0];

export const GROUPS = Array.from({ length: 40 }, (_, index) => `group-${index}`);

/** Metrics with a clock that only a test moves; `series` scrapes a second later. */
export const startMetrics = (changes: Partial<MetricsOptions & Readings> = {}) => {
  const time = { ms: 0 };
  const metrics = createMetrics({
    version: '1.2.3',
    node: '24.0.0',
    routeGroups: ['chat', ...GROUPS],
    modelGroups: ['chat', 'embeddings', 'realtime'],
    clock: { now: () => 0, elapsed: () => time.ms },
    ...changes,
  });
  const answer = metrics.expose({
    gauges: { inFlight: () => 0, streams: () => 0, websockets: () => 0, held: () => 0 },
    upstreamUp: () => new Map([['a', true]]),
    isUpstreamKeyTaken: () => undefined,
    keys: () => [],
    publishPending: () => 0,
    limits: () => [],
    usageStore: () => ({ isBehind: false, pendingRows: 0 }),
    ...changes,
  });
  const render = async () => (await answer(undefined)).body;
  const series = async () => {
    time.ms += 1000;
    return parseSeries(await render());
  };
  return { ...metrics, answer, render, series, time };
};
