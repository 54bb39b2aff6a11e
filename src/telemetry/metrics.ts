import { readdir, stat } from 'node:fs/promises';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { MASTER } from '../client-name.ts';
import type { Clock } from '../clock.ts';
import type { TrafficEvents } from '../proxy/record.ts';
import { createExposition } from './exposition.ts';
import { createHandoverFamilies } from './handover-families.ts';
import { createKeyFamilies, type KeyReadings, registerKeyReadings } from './key-families.ts';
import { createLimitFamilies, type LimitReadings } from './limit-families.ts';
import { createLabelSet, registerFamily } from './series.ts';
import {
  createTrafficFamilies,
  registerTrafficReadings,
  type TrafficReadings,
} from './traffic-families.ts';
import {
  createUsageFamilies,
  registerUsageReadings,
  type UsageReadings,
} from './usage-families.ts';

export interface MetricsOptions {
  /** Every route group there is; one that is not named here is counted as `other`. */
  readonly routeGroups: readonly string[];
  /** Those at which a model answers. */
  readonly modelGroups: readonly string[];
  /** The sidecar's own. */
  readonly version: string;
  /** Node's, as `20.19.0`. */
  readonly node: string;
  readonly clock: Clock;
}

/** What feeds the metrics, none of which throws or waits, and what shows them. */
export type Metrics = ReturnType<typeof createMetrics>;

/** Clients that have a name of their own in every family; those who come later are `other`. */
const MAX_CLIENTS = 50;
/** Stands for a client in the record of a request that was refused before one was recognised. */
const NOBODY = '-';

/**
 * All families of the sidecar, in a registry of their own. Label values come from closed sets, and
 * there are at most 5,000 series, whatever is asked for.
 */
export const createMetrics = (options: MetricsOptions) => {
  const registry = new Registry();
  const clients = createLabelSet([NOBODY, MASTER], MAX_CLIENTS - 1);
  const traffic = createTrafficFamilies(registry, clients, options.routeGroups);
  const usage = createUsageFamilies(registry, clients, options.modelGroups);
  const { onLimit, registerReadings: registerLimitReadings } = createLimitFamilies(registry);
  const events: Omit<TrafficEvents, 'onKeyUse' | 'onFirstAnswer'> = {
    ...traffic,
    onLimit,
    onExchangeEnd(record) {
      traffic.onExchangeEnd(record);
      usage.onExchangeEnd(record);
    },
  };
  const { onClient, ...keyEvents } = createKeyFamilies(registry, clients);
  const handoverEvents = createHandoverFamilies(registry);
  registerRuntime(registry, options);
  return {
    ...{ events, keyEvents, handoverEvents },
    /** LiteLLM lists these models. */
    onModels: usage.onModels,
    /**
     * Adds what is read at each scrape; to be called once, when all that is read is there. What it
     * returns answers a scrape with all families, at most a second old.
     */
    expose(readings: TrafficReadings & KeyReadings & UsageReadings & LimitReadings) {
      registerTrafficReadings(registry, readings);
      registerKeyReadings(registry, clients, readings, (client) => {
        onClient(client);
        usage.onClient(client);
      });
      registerLimitReadings(readings);
      registerUsageReadings(registry, readings);
      return createExposition(registry, options.clock);
    },
  };
};

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

/** Node's own families under the names that dashboards know, and which build this is. */
const registerRuntime = (
  registry: Registry,
  { version, node }: Pick<MetricsOptions, 'version' | 'node'>,
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
  const help = 'Always 1; which build this is stands in the labels.';
  const build = { value: 1, sharedLabels: { version, node } };
  registerFamily(registry, { name: 'build_info', help, type: 'gauge' }, () => [build]);
};

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
