import { type Clock, createWatchedClock } from '../clock.ts';
import type { DeclaredPlaces, LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/settings.ts';
import type { ConfigInForce } from '../config/view.ts';
import { MODEL_GROUPS, ROUTE_GROUPS } from '../litellm/routes.ts';
import { createExchanges } from '../proxy/exchanges.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { createLiveRecorder } from '../usage/live.ts';

export interface AppOptions {
  readonly config: Config;
  /** Where the settings came from, and what they would be at a start now. */
  readonly settings: ConfigInForce & { readonly load: () => LoadedConfig };
  readonly log: Log;
  readonly clock: Clock;
  /** The sidecar's own version, and Node's. */
  readonly version: string;
  readonly nodeVersion: string;
  /** Where the client key may be declared, now and later. */
  readonly places: DeclaredPlaces;
  /** Where the key of somebody else's LiteLLM may be set, now and later. */
  readonly upstreamKeyPlaces: DeclaredPlaces;
  /** The built program of the thread that writes `usage.db`. */
  readonly usageProgram: URL;
  /** The built page of the ops port; undefined: there is none. */
  readonly console?: URL;
  /** For tests that move the traffic themselves: the sidecar begins no handover of its own. */
  readonly handover?: 'by-hand';
}

/** What every other part is built on. */
export type Base = ReturnType<typeof buildBase>;

export const buildBase = ({ clock, version, nodeVersion }: AppOptions) => {
  const watched = createWatchedClock(clock.elapsed);
  return {
    /** For limits on time; the exchanges ask it each second. */
    watched,
    /** The requests and WebSockets under way. */
    exchanges: createExchanges(watched),
    /** The counters; what is read at a scrape joins them once everything is built. */
    metrics: createMetrics({
      ...{ version, node: nodeVersion, clock },
      ...{ routeGroups: ROUTE_GROUPS, modelGroups: MODEL_GROUPS },
    }),
    /** The last 15 minutes, for whoever looks. */
    live: createLiveRecorder(clock),
  };
};
