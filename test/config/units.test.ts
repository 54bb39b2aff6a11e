import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  readCount,
  readDuration,
  readSpan,
  readUsd,
  share,
  showDuration,
  showSize,
  size,
  span,
} from '../../src/config/units.ts';

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

describe('a span', () => {
  const DAY = 86_400_000;

  it.each([
    ['0', 0],
    ['25d', 25 * DAY],
    ['3650d', 3650 * DAY],
    ['87600h', 3650 * DAY],
  ])('reads %s', (text, milliseconds) => {
    expect(readSpan(text)).toEqual({ value: milliseconds });
  });

  it.each([
    ['3651d', 'that is more than 3650d'],
    ['365000d', 'that is more than 3650d'],
    ['5', 'did you mean 5s?'],
    ['1y', ''],
  ])('refuses %j', (text, hint) => {
    expect(readSpan(text)).toEqual({ hint });
  });

  it('keeps its bounds, and says its own word on 0', () => {
    const some = span({ least: 1000, zero: 'zero is something else' });
    expect(['999ms', '1s', '0', '0s', '4000d'].map((text) => some.read(text))).toEqual([
      { hint: 'that is less than 1s' },
      { value: 1000 },
      { hint: 'zero is something else' },
      { hint: 'zero is something else' },
      { hint: 'that is more than 3650d' },
    ]);
    const none = span({ least: 1000 });
    expect(['0', '1ms'].map((text) => none.read(text))).toEqual([
      { value: 0 },
      { hint: 'that is less than 1s' },
    ]);
    expect([some.allowed, none.allowed]).toEqual([
      'a duration with its unit, such as 90s, 24h or 30d, from 1s to 3650d',
      'a duration with its unit, such as 90s, 24h or 30d, from 1s to 3650d, or 0',
    ]);
    expect(none.show(30 * DAY)).toBe('30d');
  });
});

describe('a size', () => {
  it.each([
    ['0', 0],
    ['100B', 100],
    ['512KiB', 524_288],
    ['1MiB', 1_048_576],
    ['10MB', 10_000_000],
    ['1kB', 1000],
    ['1KB', 1000],
    ['2GiB', 2_147_483_648],
  ])('reads %s', (text, bytes) => {
    expect(size.read(text)).toEqual({ value: bytes });
  });

  it.each([
    ['1048576', 'did you mean 1MiB?'],
    ['100', 'did you mean 100B?'],
    ['1M', 'did you mean 1MiB?'],
    ['1m', 'did you mean 1MiB?'],
    ['64 kib', 'did you mean 64KiB?'],
    ['1.5MiB', 'whole numbers only: 1536KiB rather than 1.5MiB'],
    ['9007199254740992B', 'that is more than can be counted'],
    ['9007199254740991TiB', 'that is more than can be counted'],
    ['', ''],
    ['-1B', ''],
    ['much', ''],
  ])('refuses %j', (text, hint) => {
    expect(size.read(text)).toEqual({ hint });
  });

  it('is shown as it is read', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(size.read(showSize(bytes))).toEqual({ value: bytes });
      }),
    );
  });

  it('is shown in units of 1024 where they hold it whole, else of 1000', () => {
    expect([1024, 1536, 1_048_576, 10_000_000, 1001].map(showSize)).toEqual([
      ...['1KiB', '1536B', '1MiB', '10MB', '1001B'],
    ]);
  });
});

describe('a share', () => {
  it.each([
    ['0', 0],
    ['0.1', 0.1],
    ['1', 1],
    ['1.0', 1],
    ['10%', 0.1],
    ['12.5%', 0.125],
    ['100%', 1],
    ['0.0001%', 0.000_001],
  ])('reads %s', (text, value) => {
    expect(share.read(text)).toEqual({ value });
  });

  it.each([
    ['10', 'did you mean 10%?'],
    ['101', ''],
    ['101%', ''],
    ['-0.1', ''],
    ['.1', ''],
    ['0,1', ''],
    ['1e-3', ''],
    ['ten', ''],
    ['', ''],
    ['NaN', ''],
  ])('refuses %j', (text, hint) => {
    expect(share.read(text)).toEqual({ hint });
  });

  it('is shown as it is read', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (millionths) => {
        const value = millionths / 1_000_000;
        expect(share.read(share.show(value))).toEqual({ value });
      }),
    );
  });
});

describe('an amount', () => {
  it.each([
    ['1', 1],
    ['60', 60],
    ['060', 60],
    ['1.5k', 1500],
    ['1.5K', 1500],
    ['2M', 2_000_000],
    ['1.1M', 1_100_000],
    ['2.0', 2],
    ['3G', 3_000_000_000],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('counts %s', (text, count) => {
    expect(readCount(text)).toEqual({ value: count });
  });

  it.each([
    ['0', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['0k', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['-5', 'above 0: leave it out for no limit'],
    ['\u22125', 'above 0: leave it out for no limit'],
    ['2m', 'did you mean 2M?'],
    ['2B', 'did you mean 2G?'],
    ['2 M', 'did you mean 2M?'],
    ['60/min', 'did you mean 60?'],
    ['60 rpm', 'did you mean 60?'],
    ['1_000', 'did you mean 1000?'],
    ['1,000,000', 'did you mean 1000000?'],
    ['9007199254740992', 'that is more than can be counted'],
    ['9999999G', 'that is more than can be counted'],
    ['1.5', ''],
    ['1.2345k', ''],
    ['1e3', ''],
    ['0x10', ''],
    ['NaN', ''],
    ['Infinity', ''],
    ['-', ''],
    ['', ''],
    ['.5k', ''],
    ['\u0663', ''],
  ])('refuses to count %j', (text, hint) => {
    expect(readCount(text)).toEqual({ hint });
  });

  it.each([
    ['5', 5],
    ['0.50', 0.5],
    ['0.1', 0.1],
    ['0.000001', 0.000_001],
    ['1.5k', 1500],
    ['1G', 1e9],
  ])('reads %s as dollars', (text, usd) => {
    expect(readUsd(text)).toEqual({ value: usd });
  });

  it.each([
    ['0', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['0.00', '0 lets nobody in: leave it out for no limit, or disable the client'],
    ['-0.5', 'above 0: leave it out for no limit'],
    ['5$', 'did you mean 5?'],
    ['$5', 'did you mean 5?'],
    ['5 USD', 'did you mean 5?'],
    ['5/day', 'did you mean 5?'],
    ['0,50', 'did you mean 0.50?'],
    ['$1,000', 'did you mean 1000?'],
    ['2G', 'that is more than a billion'],
    ['0.0000001', ''],
    ['5\u20ac', ''],
    ['five', ''],
    ['NaN', ''],
    ['1e-3', ''],
    ['', ''],
  ])('refuses %j as dollars', (text, hint) => {
    expect(readUsd(text)).toEqual({ hint });
  });

  it('is read as it is shown', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000_000 }), (count) => {
        expect(readCount(String(count))).toEqual({ value: count });
        expect(readUsd((count / 1_000_000).toFixed(6))).toEqual({ value: count / 1_000_000 });
      }),
    );
  });
});
