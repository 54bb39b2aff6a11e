import type { Registry } from 'prom-client';
import { type Family, registerFamily, type Sample } from './family.ts';

/** A counter without labels. */
export const createCounter = (
  registry: Registry,
  family: Family,
): { add(amount: number): void } => {
  const sample: Sample = { value: 0, sharedLabels: {} };
  registerFamily(registry, { ...family, type: 'counter' }, () => [sample]);
  return {
    add: (amount) => {
      sample.value += amount;
    },
  };
};

/**
 * A counter with one label of a closed union. Every value stands at 0 from the start, so that the
 * first event is an increase that `rate()` sees.
 */
export const createCounters = <T extends string>(
  registry: Registry,
  family: Family & { readonly label: string; readonly values: readonly T[] },
): { increment(value: T): void } => {
  const { label, values, ...rest } = family;
  const samples = new Map<T, Sample>(
    values.map((value) => [value, { value: 0, sharedLabels: { [label]: value } }]),
  );
  registerFamily(registry, { ...rest, type: 'counter' }, () => samples.values());
  return {
    increment: (value) => {
      const sample = samples.get(value);
      if (sample) sample.value += 1;
    },
  };
};
