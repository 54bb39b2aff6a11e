import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { renderColumns } from '../../src/cli/table.ts';
import { capturedTerminal } from './captured-terminal.ts';
import {
  ago,
  ahead,
  client,
  DAY,
  generation,
  HOUR,
  retiring,
  runAgainst,
  statusView,
} from './fake-admin.ts';
import { fault, handoverView, rolledBack, upstreamView } from './upstream-views.ts';

const widest = (text: string): number =>
  Math.max(
    ...stripVTControlCharacters(text)
      .split('\n')
      .map((line) => line.length),
  );

const CLIENTS = [
  client({ generations: [generation(), retiring()] }),
  client({
    ...{ name: 'staging-of-the-second-team', state: 'expired', expiresAt: ago(3 * HOUR) },
    ...{ scopes: ['inference', 'passthrough'], allowFrom: ['10.0.0.0/8', '2001:db8:abcd::/48'] },
    generations: [generation({ id: 'staging-of-the-second-team-12', lastUsedAt: ago(DAY) })],
  }),
  client({ name: 'ci', state: 'disabled', generations: [], expiresAt: ahead(90 * DAY) }),
];
const HANDOVERS = [
  handoverView({ id: 'handover-112', by: 'cli:alice', startedAt: ago(400 * DAY) }),
  rolledBack({ by: 'api:10.11.12.13', fault: { ...fault(), message: 'word '.repeat(40) } }),
];

test.each([
  [
    'clients list',
    { clients: CLIENTS },
    3,
    ['staging-of-the-second-team-12', '2001:db8:abcd::/48'],
  ],
  ['upstream history', { handovers: HANDOVERS }, 2, ['handover-112', 'api:10.11.12.13']],
])('%s fits into 80 columns, with every word whole', async (line, answer, rows, words) => {
  const looked = { isTTY: true, columns: 80 } as const;
  for (const env of [{}, { NO_COLOR: '1' }]) {
    const { code, stdout } = await runAgainst([200, answer], line, { looked, env });
    expect(code).toBe(0);
    expect(widest(stdout)).toBeLessThanOrEqual(80);
    for (const word of words) expect(stdout).toContain(word);
  }
  // A pipe has no width: a row is a line there.
  const piped = await runAgainst([200, answer], line);
  expect(piped.stdout.trimEnd().split('\n')).toHaveLength(1 + rows);
});

test('status fits into 80 columns where its words do', async () => {
  const looked = { isTTY: true, columns: 80 } as const;
  const { stdout } = await runAgainst(
    ({ what }) => [
      200,
      what.includes('upstream') ? upstreamView() : statusView({ clients: CLIENTS }),
    ],
    'status',
    { looked },
  );
  const table = stdout.split('\n\n')[1] ?? '';
  expect(widest(table)).toBeLessThanOrEqual(80);
});

test('a table is as wide as its terminal, or as its longest words', async () => {
  const word = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', 'b', 'ü') });
  const cell = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(' '));
  const table = fc.integer({ min: 1, max: 6 }).chain((columns) =>
    fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), {
      minLength: 1,
      maxLength: 4,
    }),
  );
  await fc.assert(
    fc.asyncProperty(table, fc.integer({ min: 10, max: 120 }), async ([head, ...rows], columns) => {
      if (head === undefined) return;
      const { terminal } = capturedTerminal({ NO_COLOR: '1' }, '.', { isTTY: true, columns });
      const text = await renderColumns(terminal, terminal.stdout, head, rows);
      const longest = Math.max(...[head, ...rows].flat().map((each) => each.length));
      expect(widest(text)).toBeLessThanOrEqual(Math.max(columns, longest * 2 + 4));
      if (columns < 90) return;
      const letters = (all: string): number => all.replaceAll(/\s/g, '').length;
      expect(letters(text)).toBe(letters([head, ...rows].flat().join('')));
    }),
  );
});
