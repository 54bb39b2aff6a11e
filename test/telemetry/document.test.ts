import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exchange } from './exchange.ts';
import { startMetrics } from './start-metrics.ts';

const PAGE = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');

/** The rows of the table below a heading, each a list of its cells. */
const rowsOf = (heading: string): string[][] => {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  return own
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
};
const bare = (cell: string | undefined): string => cell?.replaceAll('`', '') ?? '';

const NO_AMOUNTS = { parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined };
const UNUSED = {
  ...{ inFlight: 0, tokensToday: 0, usdToday: 0, reservedTokens: 0, reservedUsd: 0 },
};

/** All that is shown once each family has a series. */
const render = async (): Promise<string> => {
  const { events, keyEvents, render } = startMetrics({
    isUpstreamKeyTaken: () => true,
    keys: () => [
      {
        ...{ client: 'master', generation: 'master-1', createdAt: 1, lastUsedAt: 2 },
        ...{ deadline: 3, clientEndsAt: 4 },
      },
    ],
    limits: () => [
      {
        client: 'ci',
        limits: { ...NO_AMOUNTS, rpm: 1, mode: 'refuse' },
        use: { ...UNUSED, requestsLastMinute: 1 },
      },
    ],
  });
  events.onExchangeEnd(
    exchange({ usageFault: 'absent', firstChunkMs: 1, lastChunkMs: 2, chunks: 3, upstreamMs: 4 }),
  );
  const known = { client: 'master', state: 'active' } as Parameters<typeof keyEvents.onKeyUse>[0];
  keyEvents.onKeyUse(known);
  keyEvents.onClientsFile({ kind: 'mistaken', path: 'clients.yaml', mistakes: [] });
  return await render();
};

/** What the text says of each family of ours: its type, its labels without `le`, its bounds. */
const familiesIn = (text: string) =>
  [...text.matchAll(/^# TYPE litellm_sidecar_(\w+) (\w+)\n((?:litellm_sidecar_.*\n)*)/gm)].map(
    ([, name = '', type = '', samples = '']) => {
      const found = [...samples.matchAll(/[{,](\w+)="/g)].map(([, label = '']) => label);
      const labels = [...new Set(found)].filter((label) => label !== 'le').sort();
      const bounds = [...samples.matchAll(/[{,]le="([^"+]+)"/g)].map(([, bound]) => Number(bound));
      return { name, type, labels, bounds: [...new Set(bounds)], hasSamples: samples !== '' };
    },
  );

describe('docs/metrics.md', () => {
  it('has each family as it is, with its type and labels', async () => {
    const families = familiesIn(await render());
    expect(families.filter(({ hasSamples }) => !hasSamples)).toEqual([]);
    const told = rowsOf('Families').map(([family, type, , labels = '']) => ({
      ...{ name: bare(family), type: type ?? '' },
      labels: labels === '' ? [] : labels.split(', ').sort(),
    }));
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect(told.sort(byName)).toEqual(
      families.map(({ name, type, labels }) => ({ name, type, labels })).sort(byName),
    );
  });

  it('says of each family in which unit it is, and what it is', () => {
    const UNITS: readonly (readonly [RegExp, string])[] = [
      [/_timestamp_seconds$/, 'Unix time'],
      [/_seconds$/, 'seconds'],
      [/_bytes_total$/, 'bytes'],
      [/_usd_total$/, 'US dollars'],
      [/^tokens_total$/, 'tokens'],
      [/./, ''],
    ];
    for (const [family, , unit = '', , what = ''] of rowsOf('Families')) {
      const [, expected = ''] = UNITS.find(([name]) => name.test(bare(family))) ?? [];
      expect(unit, family).toMatch(expected === '' ? /./ : new RegExp(`^${expected}$`));
      expect(what, family).toMatch(/./);
    }
  });

  it('has the bounds of each histogram', async () => {
    const histograms = familiesIn(await render()).filter(({ type }) => type === 'histogram');
    const told = rowsOf('Buckets').map(([family, bounds = '']) => [
      bare(family),
      bounds.split(' ').map(Number),
    ]);
    expect(Object.fromEntries(told)).toEqual(
      Object.fromEntries(histograms.map(({ name, bounds }) => [name, bounds])),
    );
    expect(told).toHaveLength(histograms.length);
  });

  it('gives the names of OpenTelemetry to families that are there', async () => {
    const names = familiesIn(await render()).map(({ name }) => name);
    const rows = rowsOf('What OpenTelemetry calls it');
    expect(rows.length).toBeGreaterThan(5);
    for (const [family = '', theirs] of rows) {
      expect(names).toContain(/^`(\w+)`/.exec(family)?.[1]);
      expect(bare(theirs)).toMatch(/^gen_ai\.[a-z_.]+$/);
    }
  });
});
