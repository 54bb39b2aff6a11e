import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDuration, showDuration } from '../../src/config/duration.ts';

describe('a duration', () => {
  it.each([
    ['0', 0],
    ['0s', 0],
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['2147483647ms', 2_147_483_647],
  ])('reads %s', (text, milliseconds) => {
    expect(readDuration(text)).toEqual({ value: milliseconds });
  });

  it.each([
    ['5', 'did you mean 5s?'],
    ['600', 'did you mean 600s?'],
    ['30 s', 'did you mean 30s?'],
    ['30S', 'did you mean 30s?'],
    ['5min', 'did you mean 5m?'],
    ['5minutes', 'did you mean 5m?'],
    ['1.5s', 'whole numbers only: 1500ms rather than 1.5s'],
    ['25d', 'that is more than 24d'],
    ['2147483648ms', 'that is more than 24d'],
    ['', ''],
    ['-5s', ''],
    ['1h30m', ''],
    ['forever', ''],
    ['٣s', ''],
  ])('refuses %j', (text, hint) => {
    expect(readDuration(text)).toEqual({ hint });
  });

  it('is shown as it is read', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (milliseconds) => {
        expect(readDuration(showDuration(milliseconds))).toEqual({ value: milliseconds });
      }),
    );
  });

  it('is shown in the largest unit that holds it whole', () => {
    expect([1, 1500, 60_000, 90_000, 7_200_000, 172_800_000].map(showDuration)).toEqual([
      ...['1ms', '1500ms', '1m', '90s', '2h', '2d'],
    ]);
  });

  it('takes no longer than a timer of Node can hold', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 10 ** 9 }),
        fc.constantFrom('ms', 's', 'm', 'h', 'd'),
        (n, unit) => {
          const result = readDuration(`${n}${unit}`);
          if ('value' in result) expect(result.value).toBeLessThan(2 ** 31);
          else expect(result.hint).toBe('that is more than 24d');
        },
      ),
    );
  });
});
