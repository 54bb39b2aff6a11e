import type { Metric, Registry } from 'prom-client';

/** Before each family of the sidecar's own. */
export const PREFIX = 'litellm_sidecar_';

export type Labels = Readonly<Record<string, string>>;

/**
 * One series. The object lives as long as its family and only `value` changes: prom-client keeps
 * the text of `sharedLabels` by identity, which makes a scrape four times as fast.
 */
export interface Sample {
  value: number;
  readonly sharedLabels: Labels;
  /** Where it is not the family's own: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string;
}

export interface Family {
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
}

/**
 * Registers a family whose numbers are kept outside prom-client and handed over at a scrape. Its
 * own `inc` and `observe` hash the labels at each call, which a request cannot afford.
 */
export const registerFamily = (
  registry: Registry,
  family: Family & { readonly type: 'counter' | 'gauge' | 'histogram' },
  collect: () => Iterable<Sample>,
): void => {
  const metric = {
    ...family,
    name: PREFIX + family.name,
    aggregator: 'sum',
    get: async () => ({ ...metric, values: collect() }),
  };
  // A registry calls `get` and reads `name` of what it holds; the declared type asks for its
  // classes.
  registry.registerMetric(metric as unknown as Metric);
};
