import fc from 'fast-check';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createHistogram, createLabelSet } from '../../src/telemetry/series.ts';
import { parseSeries } from './exposition.ts';

const setUp = (bounds: readonly number[]) => {
  const registry = new Registry();
  const histogram = createHistogram(registry, {
    name: 'wait_seconds',
    help: 'Waits.',
    bounds,
    labelsOf: (row) => ({ row: `r${row}` }),
  });
  return { ...histogram, series: async () => parseSeries(await registry.metrics()) };
};

describe('createHistogram', () => {
  it('counts each observation in every bucket that is not below it', async () => {
    const bounds = [0.005, 0.1, 1, 60];
    const ms = fc.oneof(
      fc.double({ min: 0, max: 100_000, noNaN: true }),
      fc.constantFrom(0, 5, 100, 1000, 60_000),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(ms, { minLength: 1, maxLength: 40 }), async (values) => {
        const { observe, series } = setUp(bounds);
        for (const value of values) observe(3, value);
        const at = await series();
        for (const bound of bounds) {
          const key = `litellm_sidecar_wait_seconds_bucket{le="${bound}",row="r3"}`;
          expect(at.get(key)).toBe(values.filter((value) => value <= bound * 1000).length);
        }
        const name = 'litellm_sidecar_wait_seconds';
        expect(at.get(`${name}_bucket{le="+Inf",row="r3"}`)).toBe(values.length);
        expect(at.get(`${name}_count{row="r3"}`)).toBe(values.length);
        const sum = values.reduce((total, value) => total + value, 0) / 1000;
        expect(at.get(`${name}_sum{row="r3"}`)).toBeCloseTo(sum, 6);
      }),
      { numRuns: 60 },
    );
  });

  it('is the same at a second scrape', async () => {
    const { observe, series } = setUp([1]);
    observe(0, 10);
    expect(await series()).toEqual(await series());
  });

  it('leaves out what is no duration', async () => {
    const { observe, series } = setUp([1]);
    observe(0, Number.NaN);
    observe(0, -1);
    expect((await series()).size).toBe(0);
  });

  it('shows a prepared row at 0, and only rows that were named', async () => {
    const { prepare, series } = setUp([1]);
    prepare(2);
    expect([...(await series())]).toEqual([
      ['litellm_sidecar_wait_seconds_bucket{le="1",row="r2"}', 0],
      ['litellm_sidecar_wait_seconds_bucket{le="+Inf",row="r2"}', 0],
      ['litellm_sidecar_wait_seconds_sum{row="r2"}', 0],
      ['litellm_sidecar_wait_seconds_count{row="r2"}', 0],
    ]);
  });
});

describe('createLabelSet', () => {
  it('never has more values than it was made for, and gives each back', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string(), { maxLength: 5 }),
        fc.nat(5),
        fc.array(fc.string(), { maxLength: 50 }),
        (known, open, met) => {
          const set = createLabelSet(known, open);
          const seen = new Set(met.map((value) => set.indexOf(value)));
          expect(seen.size).toBeLessThanOrEqual(1 + known.length + open);
          for (const value of met) {
            expect([value, 'other']).toContain(set.valueAt(set.indexOf(value)));
          }
          for (const value of known) expect(set.valueAt(set.indexOf(value))).toBe(value);
        },
      ),
    );
  });

  it('takes the first that come, and keeps them', () => {
    const set = createLabelSet(['-'], 2);
    const named = ['a', 'b', 'c', 'a', '-', 'other'].map((v) => set.valueAt(set.indexOf(v)));
    expect(named).toEqual(['a', 'b', 'other', 'a', '-', 'other']);
  });
});
