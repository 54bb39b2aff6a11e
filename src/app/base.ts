import type { Clock } from '../clock.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import { ROUTE_GROUPS } from '../litellm/routes.ts';
import { createExchanges, type Exchanges } from '../proxy/exchanges.ts';
import type { Upstreams } from '../proxy/upstreams.ts';
import type { Keys } from '../rotation/keys.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import { keyGauges } from '../telemetry/key-families.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  /** The sidecar's own version, and Node's. */
  readonly version: string;
  readonly nodeVersion: string;
  /** Where the client key may be declared, now and later. */
  readonly places: DeclaredPlaces;
  /** Where the key of somebody else's LiteLLM may be set, now and later. */
  readonly upstreamKeyPlaces: DeclaredPlaces;
  /** For tests that move the traffic themselves: nothing is handed over, nor looked at for that. */
  readonly handover?: 'by-hand';
  /** For tests that end the process in the middle of a change. */
  readonly fault?: FaultPoint;
}

/** What comes later than the metrics, and is there before the first request and scrape. */
interface Later {
  keys: Keys | undefined;
  upstreams: Upstreams | undefined;
}

/** What keys and traffic both need. */
export function buildBase(options: AppOptions) {
  const exchanges = createExchanges(options.clock);
  const later: Later = { keys: undefined, upstreams: undefined };
  const metrics = buildMetrics(options, exchanges, later);
  const close = (): void => {
    later.upstreams?.close();
    exchanges.close();
  };
  return Object.assign(later, { exchanges, metrics, count: metrics.keyEvents, close });
}

export type Base = ReturnType<typeof buildBase>;

function buildMetrics(options: AppOptions, exchanges: Exchanges, later: Later) {
  return createMetrics({
    gauges: {
      inFlight: () => exchanges.count('all'),
      streams: () => exchanges.count('streams'),
      websockets: () => exchanges.count('websockets'),
      held: () => later.upstreams?.held() ?? 0,
    },
    upstreamUp: () =>
      new Map((later.upstreams?.all() ?? []).map(({ name, isUp }) => [name, isUp()])),
    version: options.version,
    node: options.nodeVersion,
    routeGroups: ROUTE_GROUPS,
    keys: () => {
      const { keys } = later;
      return keys === undefined ? [] : keyGauges(keys.keyring(), keys.lastUsedAt);
    },
    publishPending: () => later.keys?.publishPending() ?? 0,
    clock: options.clock,
  });
}
