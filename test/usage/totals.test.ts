import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageRow } from '../../src/store/usage-database.ts';
import { createUsageTotals, sumOf, type UsageEvent } from '../../src/usage/totals.ts';
import { HOUR, usageEvent, usageRow } from './rows.ts';

const NOBODY = { client: '-', generation: '-', model: '', usage: undefined } as const;

function start(at = HOUR) {
  const clock = { seconds: at };
  const active = new Set(['ci-1', 'master-2']);
  const now = (): number => clock.seconds * 1000;
  const totals = createUsageTotals({ now, isActive: (id) => active.has(id) });
  const rowsOf = (...events: readonly Partial<UsageEvent>[]): readonly UsageRow[] => {
    for (const event of events) totals.add(usageEvent(event));
    return totals.take();
  };
  return { clock, active, totals, rowsOf };
}

describe('a request is counted', () => {
  const NONE = { usage: undefined, metered: 0, input: 0, output: 0, costUsd: 0 } as const;
  const { usage, ...uncounted } = NONE;
  it.each<[string, Partial<UsageEvent>, Partial<UsageRow>]>([
    ['with its usage', {}, {}],
    ['refused', { usage, refusal: 'scope_denied', status: 403 }, { ...uncounted, refusals: 1 }],
    [
      'as an error where LiteLLM was away, and not as refused',
      { usage, refusal: 'upstream_unavailable', status: 503 },
      { ...uncounted, errors: 1 },
    ],
    ['as an error of LiteLLM', { usage, status: 429 }, { ...uncounted, errors: 1 }],
    [
      'as an error where its answer broke off',
      { usage, usageFault: 'cut', outcome: 'upstream_aborted' },
      { ...uncounted, errors: 1, unmetered: 1 },
    ],
    [
      'as cut',
      { usage, usageFault: 'cut', outcome: 'cut' },
      { ...uncounted, errors: 1, unmetered: 1 },
    ],
    [
      'as nobody’s error where its client left',
      { usage, usageFault: 'cut', outcome: 'client_aborted' },
      { ...uncounted, unmetered: 1 },
    ],
    ['without usage where it needs none', { usage, model: '' }, { ...uncounted, model: '' }],
    ['without usage', { usage, usageFault: 'absent' }, { ...uncounted, unmetered: 1 }],
    [
      'without tokens, and with a price all the same',
      {
        usage: {
          tokens: { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 },
          costUsd: 0.25,
        },
        usageFault: 'absent',
      },
      { ...uncounted, unmetered: 1, costUsd: 0.25 },
    ],
    [
      'without a price',
      {
        usage: {
          tokens: { input: 7, output: 5, cached: 3, cacheWrite: 2, reasoning: 1 },
          costUsd: undefined,
        },
      },
      { input: 7, output: 5, cached: 3, cacheWrite: 2, reasoning: 1, costUsd: 0, unpriced: 1 },
    ],
    ['with an older key', { generation: 'ci-0' }, { key: 'ci-0', active: false }],
    [
      'of nobody, refused',
      { ...NOBODY, refusal: 'missing_key', status: 401 },
      { ...uncounted, client: '', key: '', model: '', active: false, refusals: 1 },
    ],
  ])('%s', (_, event, row) => {
    expect(start().rowsOf(event)).toEqual([usageRow(row)]);
  });

  it('not at all where nobody asked for health', () => {
    expect(start().rowsOf(NOBODY)).toEqual([]);
  });

  it('by client, key, model, and whether its key is the active one at that moment', () => {
    const { active, totals } = start();
    const [one, other] = [usageEvent(), usageEvent({ model: 'mock' })];
    for (const event of [one, other, one]) totals.add(event);
    active.delete('ci-1');
    totals.add(one);
    totals.add(usageEvent({ client: 'master', generation: 'master-2' }));
    const twice = { requests: 2, metered: 2, input: 20, output: 40, costUsd: 0.002 };
    expect(totals.take()).toEqual([
      usageRow(twice),
      usageRow({ model: 'mock' }),
      usageRow({ active: false }),
      usageRow({ client: 'master', key: 'master-2' }),
    ]);
  });
});

describe('hours', () => {
  it.each([
    ['the next', HOUR + 3600],
    ['one before, as the clock was set back', HOUR - 3600],
    ['one years ahead', HOUR + 20_000 * 3600],
    ['one before 1970', -7200],
  ])('are told apart: %s', (_, later) => {
    const { clock, totals } = start(HOUR + 3599.9);
    totals.add(usageEvent());
    clock.seconds = later + 0.1;
    totals.add(usageEvent());
    expect(totals.take()).toEqual([usageRow(), usageRow({ hour: later })]);
  });

  it.each([true, false])(
    'begin anew after they were taken, with a key that is active: %j',
    (is) => {
      const { active, totals, rowsOf } = start();
      if (!is) active.clear();
      expect(rowsOf({})).toEqual([usageRow({ active: is })]);
      expect(totals.pending()).toEqual([]);
      expect(rowsOf({})).toEqual([usageRow({ active: is })]);
    },
  );
});

describe("a model's name", () => {
  it.each([
    ['without what a terminal obeys', 'gpt\u001b[31m-4\u0000\n\u202eo', 'gpt-4o'],
    ['of 10 KB cut', 'x'.repeat(10_000), `${'x'.repeat(199)}…`],
    ['without a key', 'sk-0123456789abcdef', '[redacted]'],
    ['with quotes as it is', `a"b'c,d`, `a"b'c,d`],
  ])('is kept %s', (_, named, kept) => {
    const { rowsOf } = start();
    const rows = rowsOf({ model: named }, { model: named });
    expect(rows.map(({ model, requests }) => [model, requests])).toEqual([[kept, 2]]);
  });

  it('that is new with every request is other, from the hundredth on', () => {
    const { clock, totals } = start();
    const ask = (): void => {
      for (let nth = 0; nth < 1000; nth += 1) totals.add(usageEvent({ model: `new-${nth}` }));
    };
    ask();
    totals.take();
    ask();
    const rows = totals.take();
    expect(rows).toHaveLength(101);
    expect(rows.find(({ model }) => model === 'other')?.requests).toBe(900);
    clock.seconds += 3600;
    totals.add(usageEvent({ model: 'new-999' }));
    expect(totals.take().map(({ model }) => model)).toEqual(['new-999']);
  });

  it('is other where thousands of rows wait for a disk', () => {
    const { totals } = start();
    for (let key = 0; key < 300; key += 1) {
      for (let nth = 0; nth < 90; nth += 1) {
        totals.add(usageEvent({ generation: `ci-${key}`, model: `model-${nth}` }));
      }
    }
    totals.add(usageEvent({ generation: 'ci-7', model: 'not-met-before' }));
    expect(totals.pending().length).toBeLessThanOrEqual(10_000 + 300);
    expect(totals.pending().filter(({ model }) => model === 'not-met-before')).toEqual([]);
    expect(sumOf(totals.pending()).requests).toBe(300 * 90 + 1);
  });
});

it('today is what a client used since midnight', () => {
  const { clock, totals } = start(HOUR);
  totals.add(usageEvent());
  totals.take();
  totals.add(usageEvent());
  expect(totals.today('ci')).toEqual({ tokens: 60, costUsd: 0.002 });
  expect(totals.today('master')).toEqual({ tokens: 0, costUsd: 0 });
  clock.seconds += 10 * 3600;
  expect(totals.today('ci')).toEqual({ tokens: 0, costUsd: 0 });
  totals.add(usageEvent());
  expect(totals.today('ci')).toEqual({ tokens: 30, costUsd: 0.001 });
});

it('however requests, clocks and rotations come, nothing is lost and nothing counted twice', () => {
  const tokens = fc.record({
    ...{ input: fc.nat(1e6), output: fc.nat(1e6), cached: fc.nat(1e3) },
    ...{ cacheWrite: fc.nat(1e3), reasoning: fc.nat(1e3) },
  });
  const usage = fc.record({ tokens, costUsd: fc.option(fc.constant(0.25), { nil: undefined }) });
  const request = fc.record({
    kind: fc.constant('request' as const),
    generation: fc.constantFrom('ci-1', 'ci-2', 'master-2'),
    model: fc.oneof(fc.constantFrom('', 'a', 'b'), fc.constantFrom('c\u0000', '\ud800')),
    usage: fc.option(usage, { nil: undefined }),
  });
  const other = fc.record({
    kind: fc.constantFrom('take' as const, 'rotate' as const),
    seconds: fc.integer({ min: -8000, max: 8000 }),
  });
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 3, arbitrary: request }, other), { maxLength: 40 }),
      (steps) => {
        const { clock, active, totals } = start();
        const taken: UsageRow[] = [];
        const wanted: UsageEvent[] = [];
        for (const step of steps) {
          if (step.kind === 'request') {
            wanted.push(usageEvent({ ...step, client: step.generation.replace(/-\d$/, '') }));
            totals.add(wanted.at(-1) as UsageEvent);
          } else if (step.kind === 'take') taken.push(...structuredClone(totals.take()));
          else {
            clock.seconds += step.seconds;
            if (!active.delete('ci-1')) active.add('ci-1');
          }
        }
        const sum = sumOf([...taken, ...totals.take()]);
        const used = wanted.flatMap((event) => event.usage ?? []);
        const of = (field: 'input' | 'output' | 'cached' | 'cacheWrite' | 'reasoning') =>
          used.reduce((all, each) => all + each.tokens[field], 0);
        expect(sum).toMatchObject({
          ...{ requests: wanted.length, metered: used.length, input: of('input') },
          ...{ output: of('output'), cached: of('cached'), cacheWrite: of('cacheWrite') },
          reasoning: of('reasoning'),
          costUsd: used.reduce((all, { costUsd = 0 }) => all + costUsd, 0),
        });
      },
    ),
    { numRuns: 50 },
  );
});
