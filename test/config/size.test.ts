import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSize, showSize } from '../../src/config/units.ts';

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
    expect(readSize(text)).toEqual({ value: bytes });
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
    expect(readSize(text)).toEqual({ hint });
  });

  it('is shown as it is read', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        expect(readSize(showSize(bytes))).toEqual({ value: bytes });
      }),
    );
  });

  it('is shown in units of 1024 where they hold it whole, else of 1000', () => {
    expect([1024, 1536, 1_048_576, 10_000_000, 1001].map(showSize)).toEqual([
      ...['1KiB', '1536B', '1MiB', '10MB', '1001B'],
    ]);
  });
});
