import { Counter, Gauge, type Metric, type Registry } from 'prom-client';

/** Stands before the name of each family of the sidecar's own. */
export const PREFIX = 'litellm_sidecar_';

type Labels = Readonly<Record<string, string>>;

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
 * Registers a family whose numbers are kept outside prom-client and handed over at a scrape:
 * prom-client's `inc` and `observe` hash the labels at each call, which a request cannot afford.
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
  // A registry reads `name` and calls `get` of what it holds; its type asks for its own classes.
  registry.registerMetric(metric as unknown as Metric);
};

/** A gauge without labels, read at each scrape. */
export const registerGauge = (registry: Registry, family: Family, read: () => number): void => {
  new Gauge({
    ...{ ...family, name: PREFIX + family.name, registers: [registry] },
    collect() {
      this.set(read());
    },
  });
};

/**
 * A counter with labels of closed sets, for what is rare: each count costs 0.3 µs. Every
 * combination stands at 0 from the start, so that the first event is an increase that `rate()`
 * sees. Returns what counts one event.
 */
export const createCounter = <T extends Labels>(
  registry: Registry,
  family: Family & { readonly labels: { readonly [Name in keyof T]: readonly T[Name][] } },
) => {
  const { labels, name, help } = family;
  const labelNames = Object.keys(labels);
  const counter = new Counter({ name: PREFIX + name, help, labelNames, registers: [registry] });
  let combinations: Labels[] = [{}];
  for (const [label, values] of Object.entries<readonly string[]>(labels)) {
    combinations = combinations.flatMap((of) => values.map((value) => ({ ...of, [label]: value })));
  }
  for (const of of combinations) counter.inc(of, 0);
  return (of: T): void => counter.inc(of);
};

/**
 * A histogram with one row of buckets to each label value that was observed. It is fed in
 * milliseconds and shown in seconds, Prometheus' base unit.
 *
 * @param family `bounds` are upper bounds in seconds, ascending; `labelsOf` names a row.
 */
export const createHistogram = (
  registry: Registry,
  family: Family & {
    readonly bounds: readonly number[];
    readonly labelsOf: (row: number) => Labels;
  },
) => {
  const { bounds, labelsOf, ...rest } = family;
  const boundsMs = Float64Array.from(bounds, (bound) => bound * 1000);
  const rows: (Row | undefined)[] = [];

  registerFamily(registry, { ...rest, type: 'histogram' }, () =>
    rows.flatMap((row) => (row ? settle(row) : [])),
  );

  const rowAt = (index: number): Row => {
    rows[index] ??= createRow(family.name, bounds, labelsOf(index));
    return rows[index];
  };

  return {
    /** Shows a row at 0 before its first observation. */
    prepare: rowAt,
    /** `index` is a number of the label set; what is no duration (negative, NaN) is left out. */
    observe: (index: number, ms: number): void => {
      if (!(ms >= 0)) return;
      const row = rowAt(index);
      let bucket = 0;
      while (bucket < boundsMs.length && ms > (boundsMs[bucket] as number)) bucket += 1;
      row.counts[bucket] = (row.counts[bucket] as number) + 1;
      row.sumMs += ms;
    },
  };
};

interface Row {
  /** By bucket, not cumulated; the last is above all bounds. Doubles: whole up to 2^53. */
  readonly counts: Float64Array;
  sumMs: number;
  readonly buckets: readonly Sample[];
  readonly sum: Sample;
  readonly count: Sample;
}

const createRow = (name: string, bounds: readonly number[], labels: Labels): Row => {
  const bucket = (le: string): Sample => ({
    value: 0,
    metricName: `${PREFIX}${name}_bucket`,
    sharedLabels: { le, ...labels },
  });
  return {
    counts: new Float64Array(bounds.length + 1),
    sumMs: 0,
    buckets: [...bounds.map((bound) => bucket(String(bound))), bucket('+Inf')],
    sum: { value: 0, metricName: `${PREFIX}${name}_sum`, sharedLabels: labels },
    count: { value: 0, metricName: `${PREFIX}${name}_count`, sharedLabels: labels },
  };
};

/** Brings a row's samples up to its counts. */
const settle = (row: Row): Sample[] => {
  let total = 0;
  for (const [index, sample] of row.buckets.entries()) {
    total += row.counts[index] ?? 0;
    sample.value = total;
  }
  row.sum.value = row.sumMs / 1000;
  row.count.value = total;
  return [...row.buckets, row.sum, row.count];
};

/** Stands for every label value that has no place of its own in its set. */
export const OTHER = 'other';

/** The values a label may take, numbered; 0 is `other`. */
export type LabelSet = ReturnType<typeof createLabelSet>;

/**
 * A closed set of label values, so that nobody outside can add a series: those of `known`, and the
 * first `open` others that are met.
 *
 * @param isValue whether one that is met may be a value; asked as long as there is a place
 */
export const createLabelSet = (
  known: readonly string[],
  open = 0,
  isValue: (value: string) => boolean = () => true,
) => {
  const values = [...new Set([OTHER, ...known])];
  const indices = new Map(values.map((value, index) => [value, index]));
  const limit = values.length + open;

  return {
    /** The number of a value; 0 where it has none. */
    indexOf: (value: string): number => {
      const index = indices.get(value);
      if (index !== undefined) return index;
      if (values.length >= limit || !isValue(value)) return 0;
      indices.set(value, values.length);
      return values.push(value) - 1;
    },
    /** The value of a number that `indexOf` gave. */
    valueAt: (index: number): string => values[index] ?? OTHER,
  };
};
