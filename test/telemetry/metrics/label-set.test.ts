import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLabelSet } from '../../../src/telemetry/series.ts';

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
