import { readdir, stat } from 'node:fs/promises';
import type { Registry as PromRegistry, Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import { MASTER } from '../keyring/keyring.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import type { TrafficEvents, TrafficGauges } from '../proxy/record.ts';
import {
  createHandoverEvents,
  createKeyRequests,
  createRotationEvents,
  type HandoverEvents,
  type KeyGauges,
  type RotationEvents,
  registerKeyGauges,
} from './key-families.ts';
import { collectDefaultMetrics, createLabelSet, Gauge, MetricRegistry, PREFIX } from './series.ts';
import {
  createDurations,
  createRefusals,
  createRequests,
  createTraffic,
  createUpstream,
  NOBODY,
} from './traffic-families.ts';

/**
 * Defaults of prom-client that are left out. Those in `_total` are gauges, which `promtool check
 * metrics` objects to; all of them walk every open socket at each scrape: 40 ms of a blocked event
 * loop at 9,000 streams.
 */
const LEFT_OUT = ['handles', 'requests', 'resources'].flatMap((what) => [
  `nodejs_active_${what}`,
  `nodejs_active_${what}_total`,
]);

const OPEN_FDS = 'process_open_fds';
const FD_FOLDER = '/proc/self/fd';

/**
 * How many files are open; undefined where the system does not tell (not Linux). Since Linux 6.2
 * the folder's size is their number (its filesystems/proc.rst), which costs microseconds; listing
 * 18,000 costs 25 ms.
 */
const countOpenFiles = async (): Promise<number | undefined> => {
  try {
    const { size } = await stat(FD_FOLDER);
    return size > 0 ? size : (await readdir(FD_FOLDER)).length;
  } catch {
    return undefined;
  }
};

/** Node's own families under the names that dashboards know, and which build this is. */
export const registerRuntime = (
  registry: Registry,
  build: { readonly version: string; readonly node: string },
): void => {
  collectDefaultMetrics({ register: registry });
  for (const name of [...LEFT_OUT, OPEN_FDS]) registry.removeSingleMetric(name);

  new Gauge({
    name: OPEN_FDS,
    help: 'Number of open file descriptors.',
    registers: [registry],
    async collect() {
      const count = await countOpenFiles();
      if (count === undefined) this.remove();
      else this.set(count);
    },
  });
  new Gauge({
    name: `${PREFIX}build_info`,
    help: 'Always 1; which build this is stands in the labels.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: build.version, node: build.node }, 1);
};

export interface MetricsOptions {
  readonly gauges: TrafficGauges;
  /** Each slot's name and whether its LiteLLM answers. */
  readonly upstreamUp: () => ReadonlyMap<string, boolean>;
  /** Read at each scrape, three times; of each client the first two are shown. */
  readonly keys: () => Iterable<KeyGauges>;
  /** Publish targets that lack the newest key. */
  readonly publishPending: () => number;
  /** The sidecar's own. */
  readonly version: string;
  /** Node's, as `20.19.0`. */
  readonly node: string;
  /** Every route group there is; one that is not named here is counted as `other`. */
  readonly routeGroups: readonly string[];
  readonly clock: Clock;
}

export interface KeyMetricEvents extends RotationEvents {
  /** For the traffic path, as `TrafficEvents` has it. */
  onKeyUse(key: KnownKey): void;
}

export interface Metrics {
  /** Made for the traffic path: about a third of a microsecond a request, never throws. */
  readonly events: Omit<TrafficEvents, 'onKeyUse' | 'onFirstAnswer'>;
  readonly keyEvents: KeyMetricEvents;
  readonly handoverEvents: HandoverEvents;
  /** The text of all families, at most a second old. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** Two histograms of 19 series to a group: with these, at most 1,938 of the 5,000 in all. */
const MAX_ROUTE_GROUPS = 50;
/** Clients that have a name of their own in every family; `other` are all who come later. */
const MAX_CLIENTS = 50;
/** Several scrapers, or somebody who reloads a page, cost one rendering a second. */
const CACHE_MS = 1000;

/** Renders at most once in `CACHE_MS`; who asks meanwhile shares it. A failure is not kept. */
const createCachedRender = (registry: PromRegistry, clock: Clock): (() => Promise<string>) => {
  let current: { readonly since: number; readonly text: Promise<string> } | undefined;
  return () => {
    const now = clock.elapsed();
    if (current && now - current.since < CACHE_MS) return current.text;
    const fresh = { since: now, text: registry.metrics() };
    current = fresh;
    fresh.text.catch(() => {
      if (current === fresh) current = undefined;
    });
    return fresh.text;
  };
};

/**
 * All families of the sidecar, in a registry of their own. Label values come from closed sets, and
 * there are at most 5,000 series, whatever is asked for.
 */
export const createMetrics = (options: MetricsOptions): Metrics => {
  const registry = new MetricRegistry();
  const routes = createLabelSet(options.routeGroups.slice(0, MAX_ROUTE_GROUPS));
  const clients = createLabelSet([NOBODY, MASTER], MAX_CLIENTS - 1);
  const requests = createRequests(registry, routes, clients);
  const durations = createDurations(registry, routes);
  const traffic = createTraffic(registry, options.gauges);
  const refusals = createRefusals(registry);
  const upstream = createUpstream(registry, options.upstreamUp);
  const keyRequests = createKeyRequests(registry, clients);
  registerKeyGauges(registry, clients, options.keys);
  const rotations = createRotationEvents(registry, options.publishPending);
  const handoverEvents = createHandoverEvents(registry);
  registerRuntime(registry, options);

  return {
    events: {
      ...upstream,
      onExchangeEnd: (record) => {
        const route = routes.indexOf(record.group);
        requests.count(record, route);
        durations.observe(record, route);
        traffic.count(record);
        if (record.refusal !== undefined) refusals.increment(record.refusal);
      },
    },
    keyEvents: { ...rotations, onKeyUse: keyRequests.count },
    handoverEvents,
    render: createCachedRender(registry, options.clock),
    contentType: registry.contentType,
  };
};
