import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  changedLimits,
  LIMITED,
  limitShares,
  limitsNothing,
  NO_USE,
  percentOf,
  sameLimits,
} from '../../src/keyring/client-limits.ts';

const USED = { ...NO_USE, requestsLastMinute: 30, inFlight: 4, tokensToday: 100, usdToday: 6 };
const NONE = { rpm: null, parallel: null, tokensPerDay: null, usdPerDay: null };

describe('the share of a limit', () => {
  it('is that of what the limit counts', () => {
    const use = { ...USED, reservedTokens: 25, reservedUsd: 0.5 };
    const limits = { rpm: 60, parallel: 4, tokensPerDay: 1000, usdPerDay: 5 };
    expect(limitShares(limits, use)).toEqual({
      ...{ rpm: 0.5, parallel: 1, tokensPerDay: 0.125, usdPerDay: 1.3 },
    });
    expect(limitShares({ ...NONE, usdPerDay: 5 }, use)).toEqual({ usdPerDay: 1.3 });
    expect(limitShares(NONE, use)).toEqual({});
  });

  it.each([
    [0, 0],
    [0.055 / 0.1, 55],
    [0.7 / 0.1 / 10, 70],
    [0.9999, 99],
    [1, 100],
    [2.5, 250],
  ])('%d is %i %%', (share, percent) => expect(percentOf(share)).toBe(percent));
});

describe('changes of limits', () => {
  const amount = fc.option(fc.constantFrom(1, 60, 2_000_000, 0.5), { nil: undefined });
  const amounts = { rpm: amount, parallel: amount, tokensPerDay: amount, usdPerDay: amount };
  const mode = fc.constantFrom('refuse' as const, 'record' as const);
  const changes = fc.record({ ...amounts, mode }, { requiredKeys: [] });

  it('leave what they do not name, and nothing where nothing is limited any more', () => {
    fc.assert(
      fc.property(changes, changes, (first, second) => {
        const before = changedLimits(undefined, { rpm: 1, ...first, mode: first.mode ?? 'record' });
        const after = changedLimits(before, second);
        for (const name of LIMITED) {
          expect(after?.[name]).toBe(name in second ? second[name] : before?.[name]);
        }
        const kept = after && (second.mode ?? before?.mode);
        expect(after?.mode ?? second.mode).toBe(kept);
        // Only a mode keeps limits of nothing, for the keyring to refuse.
        if (after && limitsNothing(after)) expect(second.mode).toBeDefined();
        const again = changedLimits(after, second);
        expect(sameLimits(after, again)).toBe(true);
      }),
    );
  });

  it('that are undefined take all of them off', () => {
    const limits = changedLimits(undefined, { rpm: 60 });
    expect(limits).toMatchObject({ rpm: 60, mode: 'refuse' });
    expect(changedLimits(limits, undefined)).toBeUndefined();
    expect(changedLimits(limits, { rpm: undefined })).toBeUndefined();
    expect(changedLimits(undefined, {})).toBeUndefined();
    expect(sameLimits(limits, { ...limits, rpm: 61 } as typeof limits)).toBe(false);
    expect(sameLimits(undefined, limits)).toBe(false);
  });
});
