import type { Registry } from 'prom-client';
import { type Family, type Labels, PREFIX, registerFamily, type Sample } from './family.ts';

/** Fed in milliseconds, shown in seconds (Prometheus' base unit). */
export interface Histogram {
  /** `row` is a number of the label set; what is no duration (negative, NaN) is left out. */
  observe(row: number, ms: number): void;
  /** Shows a row at 0 before its first observation. */
  prepare(row: number): void;
}

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

/**
 * A histogram with one row of buckets to each label value that was observed.
 * @param family `bounds` are upper bounds in seconds, ascending; `labelsOf` names a row.
 */
export const createHistogram = (
  registry: Registry,
  family: Family & {
    readonly bounds: readonly number[];
    readonly labelsOf: (row: number) => Labels;
  },
): Histogram => {
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
    prepare: rowAt,
    observe: (index, ms) => {
      if (!(ms >= 0)) return;
      const row = rowAt(index);
      let bucket = 0;
      while (bucket < boundsMs.length && ms > (boundsMs[bucket] as number)) bucket += 1;
      row.counts[bucket] = (row.counts[bucket] as number) + 1;
      row.sumMs += ms;
    },
  };
};
