import { describe, expect, it } from 'vitest';
import { csvOf, plotCsv, usageCsv } from '../../console/csv.ts';
import {
  showCost,
  showMs,
  showRate,
  showShare,
  showTokens,
  showUsd,
} from '../../console/numbers.ts';
import {
  monthsOf,
  NO_USAGE,
  stacked,
  sumsAt,
  timesOf,
  without,
} from '../../console/usage-steps.ts';
import { labelOf } from '../../console/words.ts';
import { USAGE_COLUMNS } from '../../src/store/usage-columns.ts';
import type { UsageLine } from '../../src/usage/report.ts';

const line = (name: string | null, requests: number): UsageLine => ({
  ...NO_USAGE,
  ...{
    name,
    active: null,
    budgetUsed: null,
    requests,
    tokens: { ...NO_USAGE.tokens, input: 10 * requests },
  },
});
const at = (iso: string): number => Date.parse(iso) / 1000;

describe('the steps of a plot of usage', () => {
  it('are days of UTC added up by month', () => {
    const days = [line('2026-10-30', 1), line('2026-10-31', 2), line('2026-11-01', 4)];
    expect(monthsOf(days)).toEqual([line('2026-10', 3), line('2026-11', 4)]);
  });

  it('are there where nothing was asked, too', () => {
    const hours = timesOf('hour', at('2026-11-28T14:20:00Z'), at('2026-11-28T17:00:01Z'));
    expect(hours).toEqual([14, 15, 16, 17].map((hour) => at(`2026-11-28T${hour}:00:00Z`)));
    const rows = [line('2026-11-28T15:00:00.000Z', 3)];
    expect(sumsAt(hours, rows).map(({ requests }) => requests)).toEqual([0, 3, 0, 0]);
    const months = timesOf('month', at('2025-11-30T00:00:00Z'), at('2026-02-01T00:00:00Z'));
    expect(months).toEqual(['2025-11', '2025-12', '2026-01', '2026-02'].map((name) => at(name)));
    expect(timesOf('day', at('2026-02-28T23:00:00Z'), at('2026-03-01T01:00:00Z'))).toHaveLength(2);
  });

  it('have what is left of a whole, and nothing that only floats left', () => {
    expect(
      without(
        [10, 0.3],
        [
          [4, 0.1],
          [1, 0.2],
        ],
      ),
    ).toEqual([5, 0]);
    expect(
      stacked([
        [1, 2],
        [null, 3],
      ]),
    ).toEqual([
      [1, 2],
      [1, 5],
    ]);
  });
});

describe('the CSV of the page', () => {
  it('has the columns of `usage.db` in their order', () => {
    const [head, row] = usageCsv({ by: 'client', rows: [line('ci', 2)] }).split('\r\n');
    expect(head).toBe(['client', ...Object.values(USAGE_COLUMNS)].join());
    expect(row).toBe('ci,2,0,0,0,0,0,20,0,0,0,0,0');
    const keys = usageCsv({ by: 'key', rows: [{ ...line('ci-1', 0), active: false }] });
    expect(keys).toMatch(/^key,active,requests[\s\S]+\r\nci-1,false,0,/);
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx'])(
    'takes from %j what a spreadsheet would run',
    (name) => {
      expect(csvOf([[name]])).toMatch(/^"?'/);
    },
  );

  it('quotes what RFC 4180 wants quoted, and leaves numbers as they are', () => {
    expect(csvOf([['a,b', 'say "x"', 'two\nlines', -1, null]])).toBe(
      '"a,b","say ""x""","two\nlines",-1,\r\n',
    );
  });
});

describe('numbers', () => {
  it.each([
    [showTokens(9876), '9,876'],
    [showTokens(12_345), '12.3k'],
    [showTokens(4_560_000), '4.56M'],
    [showUsd(0), '0'],
    [showUsd(0.08123), '0.0812'],
    [showUsd(1234.5), '1,234.50'],
    [showCost({ ...NO_USAGE, metered: 2, unpriced: 2 }), '-'],
    [showCost({ ...NO_USAGE, metered: 2, unpriced: 1 }), '0'],
    [showRate(0.04), '0'],
    [showRate(3.46), '3.5'],
    [showRate(12_345), '12.3k'],
    [showMs(999.6), '1000 ms'],
    [showMs(1234), '1.2 s'],
    [showMs(48_000), '48 s'],
    [showShare(1, 3), '33.3 %'],
    [showShare(1, 100_000), 'less than 0.1 %'],
    [showShare(0, 0), '0 %'],
  ])('%s is %s', (shown, wanted) => {
    expect(shown).toBe(wanted);
  });
});

describe('a plot of models with long names', () => {
  const names = ['20240620-v1:0', '20241022-v2:0'].map(
    (end) => `bedrock/anthropic.claude-3-5-sonnet-${end}`,
  );

  it('has labels by which they can be told apart', () => {
    const labels = names.map(labelOf);
    expect(labels).toEqual([
      'bedrock/anthropic.c…sonnet-20240620-v1:0',
      'bedrock/anthropic.c…sonnet-20241022-v2:0',
    ]);
    expect(labelOf('x'.repeat(40))).toBe('x'.repeat(40));
    expect(labelOf(`${'x'.repeat(200)}\u202e`)).toBe(`${'x'.repeat(19)}…${'x'.repeat(19)}�`);
  });

  it('has their names in full in its CSV', () => {
    const columns = names.map((name, at) => ({ label: labelOf(name), name, values: [at, null] }));
    const all = { label: 'all others', values: [3, 4] };
    expect(plotCsv('Time', [0, 5], [...columns, all])).toBe(
      [
        `time,${names.join()},all others`,
        '1970-01-01T00:00:00.000Z,0,1,3',
        '1970-01-01T00:00:05.000Z,,,4',
        '',
      ].join('\r\n'),
    );
  });
});
