import { describe, expect, it } from 'vitest';
import { groupRows, readSince, reportOf, secondsOf } from '../../src/usage/report.ts';
import { HOUR, usageRow } from './rows.ts';

const NOW = HOUR * 1000 + 61_000;
const STORE = { up: true, error: null, lastWrittenAt: null, pendingRows: 0 };

describe('since', () => {
  it.each([
    ['1h', HOUR - 3600],
    ['30m', HOUR - 3600],
    ['7d', HOUR - 7 * 86_400],
    ['2026-11-29', HOUR - 14 * 3600],
    ['2026-11-01', HOUR - 14 * 3600 - 28 * 86_400],
  ])('%s begins with a whole hour', (text, from) => {
    const reading = readSince(text);
    expect('value' in reading && secondsOf(reading.value, NOW)).toBe(from);
  });

  it.each([
    '0',
    '0d',
    '',
    '7',
    'yesterday',
    '2026-13-01',
    '2026-02-29',
    '9999d',
    '2026-11-01T00:00',
  ])('%j is none', (text) => expect(readSince(text)).toHaveProperty('hint'));
});

describe('a report', () => {
  it('adds up what is in the file and what is not, by name', () => {
    const query = { by: 'client', from: HOUR } as const;
    const groups = [{ ...usageRow({ requests: 5 }), name: 'ci', active: undefined }];
    const rows = [usageRow(), usageRow({ hour: HOUR - 3600 }), usageRow({ client: 'master' })];
    const { rows: lines, total } = reportOf(query, [...groups, ...groupRows(rows, query)], {
      ...{ now: NOW, store: STORE },
    });
    expect(lines.map(({ name, requests }) => [name, requests])).toEqual([
      ['ci', 6],
      ['master', 1],
    ]);
    expect(total).toMatchObject({ requests: 7, tokens: { input: 30, output: 60 } });
    expect(total.costUsd).toBeCloseTo(0.003, 12);
  });

  it.each([
    ['client', ['dear', 'long', 'busy', null]],
    ['day', ['2026-11-28', '2026-11-29']],
  ] as const)('by %s is in its order', (by, names) => {
    const rows = [
      usageRow({ client: '', costUsd: 0, input: 0, output: 0 }),
      usageRow({ client: 'busy', costUsd: 0, input: 0, output: 0, requests: 9 }),
      usageRow({ client: 'long', costUsd: 0, hour: HOUR - 86_400 }),
      usageRow({ client: 'dear', costUsd: 1e-7, input: 0, output: 0 }),
    ];
    const query = { by, from: 0 };
    const { rows: lines } = reportOf(query, groupRows(rows, query), { now: NOW, store: STORE });
    expect(lines.map(({ name }) => name)).toEqual(names);
  });

  it('is of one client and one model where that is asked', () => {
    const rows = [usageRow(), usageRow({ client: 'master' }), usageRow({ model: 'mock' })];
    const query = { by: 'hour', from: 0, client: 'ci', model: 'mock' } as const;
    const report = reportOf(query, groupRows(rows, query), { now: NOW, store: STORE });
    expect(report.total.requests).toBe(1);
    expect(report).toMatchObject({
      client: 'ci',
      model: 'mock',
      since: '1970-01-01T00:00:00.000Z',
    });
  });
});
