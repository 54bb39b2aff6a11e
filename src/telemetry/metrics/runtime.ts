import { readdir, stat } from 'node:fs/promises';
import type { Registry } from 'prom-client';
import { PREFIX } from './family.ts';
import { collectDefaultMetrics, Gauge } from './prom-client.ts';

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
