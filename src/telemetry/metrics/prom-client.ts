import { createRequire } from 'node:module';

/**
 * The parts of prom-client that are used. Its index loads a push gateway's client, a cluster's and
 * quantiles beside them, which is 50 ms of each start; the version is fixed, so the paths are too.
 */
const require = createRequire(import.meta.url);

type PromClient = typeof import('prom-client');

export const Registry: PromClient['Registry'] = require('prom-client/lib/registry.js');
export const Gauge: PromClient['Gauge'] = require('prom-client/lib/gauge.js');
export const collectDefaultMetrics: PromClient['collectDefaultMetrics'] =
  require('prom-client/lib/defaultMetrics.js');
