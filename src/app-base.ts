import type { Clock } from './clock.ts';
import type { DeclaredPlaces } from './config/declared.ts';
import type { Config } from './config.ts';
import { createExchanges, type Exchanges } from './proxy/exchanges.ts';
import { createHold } from './proxy/hold.ts';
import type { Keys } from './rotation/keys.ts';
import type { FaultPoint } from './store/durable-file.ts';
import type { Log } from './telemetry/log.ts';
import { keyGauges } from './telemetry/metrics/key-gauges.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { createProbe } from './upstream/probe.ts';
import { canConnect } from './upstream/reach.ts';
import { ROUTE_GROUPS } from './upstream/routes.ts';

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  /** The sidecar's own version, and Node's. */
  readonly version: string;
  readonly nodeVersion: string;
  /** Where the client key may be declared, now and later. */
  readonly places: DeclaredPlaces;
  /** For tests that end the process in the middle of a change. */
  readonly fault?: FaultPoint;
}

/** Milliseconds: what a check of the connection may take while requests wait for it. */
const RECONNECT_TIMEOUT_MS = 1000;

/** What is known of LiteLLM, and what waits for it. */
function watchUpstream({ config, log, clock }: AppOptions) {
  const [upstream] = config.upstreams;
  const probe = createProbe({
    origin: upstream,
    rootPath: config.rootPath,
    onChange: (up) => log[up ? 'info' : 'warn']({}, up ? 'LiteLLM answers' : 'LiteLLM is away'),
  });
  const hold = createHold({
    holdMs: config.holdMs,
    most: config.holdMax,
    elapsed: clock.elapsed,
    canConnect: () => canConnect(upstream, RECONNECT_TIMEOUT_MS),
    onChange: () => probe.wake(),
  });
  return { probe, hold, isUp: () => probe.up() && !hold.away() };
}

export type Watch = ReturnType<typeof watchUpstream>;

/** What keys and traffic both need; `keys` is there before the first request and scrape. */
export function buildBase(options: AppOptions) {
  const exchanges = createExchanges(options.clock);
  const watch = watchUpstream(options);
  const base: { keys: Keys | undefined } = { keys: undefined };
  const metrics = buildMetrics(options, exchanges, watch, () => base.keys);
  const close = (): void => {
    watch.probe.stop();
    watch.hold.close();
    exchanges.close();
  };
  return Object.assign(base, { exchanges, watch, metrics, count: metrics.keyEvents, close });
}

export type Base = ReturnType<typeof buildBase>;

function buildMetrics(
  options: AppOptions,
  exchanges: Exchanges,
  { hold, isUp }: Watch,
  keys: () => Keys | undefined,
) {
  return createMetrics({
    gauges: {
      inFlight: () => exchanges.count('all'),
      streams: () => exchanges.count('streams'),
      websockets: () => exchanges.count('websockets'),
      held: hold.size,
    },
    upstreamUp: () => new Map([['a', isUp()]]),
    version: options.version,
    node: options.nodeVersion,
    routeGroups: ROUTE_GROUPS,
    keys: () => {
      const all = keys();
      return all === undefined ? [] : keyGauges(all.keyring(), all.lastUsedAt);
    },
    publishPending: () => keys()?.publishPending() ?? 0,
    clock: options.clock,
  });
}
