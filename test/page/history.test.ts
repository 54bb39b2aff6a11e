import { describe, expect, it } from 'vitest';
import {
  afterEvent,
  BIN_MS,
  columnsOf,
  createEventReader,
  type Figures,
  firstChunkOf,
  HISTORY_MS,
  type History,
  largest,
  perSecond,
  rateNow,
  sumSince,
} from '../../console/history.ts';
import type { LiveEvent } from '../../src/servers/admin/live.ts';
import { createLiveRecorder, type LiveBin } from '../../src/usage/live.ts';
import { exchange } from '../usage/live-exchange.ts';

/** A multiple of five seconds. */
const NOON = Date.parse('2026-11-29T12:00:00Z');
const iso = (at: number): string => new Date(at).toISOString();
const NOTHING = { requests: 0, refusals: 0, errors: 0, tokensIn: 0, tokensOut: 0, costUsd: 0 };

const bin = (at: number, counts: Partial<LiveBin> = {}): LiveBin => ({
  ...NOTHING,
  ...{ at: iso(at), ms: 1000, firstChunkMs: null, refusalsByReason: {}, errorsByReason: {} },
  ...{ byClient: {}, byModel: {}, ...counts },
});

const event = (at: number, second: Partial<LiveBin>, more: Partial<LiveEvent> = {}): LiveEvent => ({
  at: iso(at),
  second: bin(at - 1000, second),
  now: { inFlight: 3, streams: 2, websockets: 1, held: 0 },
  readiness: { ready: true, waitingFor: [] },
  upstream: {
    ...{ mode: 'unmanaged', slots: [], handover: null, waiting: null },
    ...{ verified: true, config: 'none' },
  },
  changes: 0,
  ...more,
});

const told = (...events: readonly LiveEvent[]): History => {
  let history: History | undefined;
  for (const each of events) history = afterEvent(history, each);
  if (history === undefined) throw new Error('no event');
  return history;
};

const requests = ({ requests: count }: { readonly requests: number }): number => count;

describe('the history of a live stream', () => {
  it('adds seconds to the bin that they are in, and what came before them to its own', () => {
    const before = bin(NOON - BIN_MS, { requests: 5, ms: BIN_MS });
    const history = told(
      event(NOON + 1000, {}, { history: [before, bin(NOON, { requests: 2, ms: 500 })] }),
      event(NOON + 2000, { requests: 3 }),
      event(NOON + 6000, { requests: 7 }),
    );
    expect(history.bins.map(({ at, requests: count }) => [at - NOON, count])).toEqual([
      [-BIN_MS, 5],
      [0, 5],
      [BIN_MS, 7],
    ]);
    expect(sumSince(history, NOON).requests).toBe(12);
    expect(rateNow(history, requests)).toBe(5);
    const first = told(event(NOON + 1000, {}, { history: [bin(NOON - 2000, { requests: 12 })] }));
    expect(rateNow(first, requests)).toBe(2);
  });

  it('adds up names and reasons, whatever they are called', () => {
    const name = JSON.parse('{"__proto__": 1, "constructor": 2}') as Record<string, number>;
    const counts = { ...NOTHING, requests: 1, tokensIn: 10 };
    const byClient = Object.fromEntries([['__proto__', counts]]) as LiveBin['byClient'];
    const history = told(
      event(NOON, { byClient, refusalsByReason: name }),
      event(NOON + 6000, { byClient, refusalsByReason: name }),
    );
    const sum = sumSince(history, NOON - HISTORY_MS);
    expect([...sum.refusalsByReason]).toEqual([
      ['__proto__', 2],
      ['constructor', 4],
    ]);
    expect(sum.byClient.get('__proto__')).toMatchObject({ requests: 2, tokensIn: 20 });
    expect(largest(sum.byClient, requests, 5)).toEqual(['__proto__']);
  });

  it('does not change what it was made of', () => {
    const first = told(event(NOON + 1000, { requests: 1 }));
    const second = afterEvent(first, event(NOON + 2000, { requests: 1 }));
    expect(first.bins.at(-1)?.requests).toBe(1);
    expect(second.bins.at(-1)?.requests).toBe(2);
  });

  it('reads percentiles of a quarter of an hour from its streams, not from those of its bins', () => {
    const clock = { now: NOON - HISTORY_MS };
    const { add, history, take } = createLiveRecorder({
      ...{ now: () => clock.now, elapsed: () => clock.now },
    });
    // A bin in ten has one stream that is slow, and each other one six that are fast.
    for (let nth = 0; nth < 180; nth++, clock.now += BIN_MS) {
      const times = nth % 10 === 7 ? [20_000] : Array<number>(6).fill(100);
      for (const firstChunkMs of times) add(exchange({ firstChunkMs }));
    }
    const first = { ...event(NOON, {}, { history: history() }), second: take() };
    const live = told(first, event(NOON + 1000, { firstChunkMs: null }));
    const sum = sumSince(live, NOON - HISTORY_MS);
    const read = firstChunkOf(sum);
    expect(read?.count).toBe(984);
    for (const each of [read?.p50 ?? 0, read?.p95 ?? 0])
      expect(Math.abs(each - 87)).toBeLessThan(15);
    expect(firstChunkOf(sum.byModel.get('gpt-4o') as Figures)).toEqual(read);
    expect(firstChunkOf(sum.byClient.get('master') as Figures)).toBe(null);
  });

  it('adds up first chunks of one second and the next', () => {
    const [fast, slow] = [{ '101': 3 }, { '101': 1, '1361': 4 }].map((upTo) => ({
      ...{ p50: 0, p95: 0, count: 0, upTo },
    }));
    const one = told(event(NOON + 1000, { firstChunkMs: fast ?? null }));
    const both = afterEvent(one, event(NOON + 2000, { firstChunkMs: slow ?? null }));
    expect([one, both].map(({ bins }) => [...(bins.at(-1)?.firstChunks ?? [])])).toEqual([
      [[101, 3]],
      [
        [101, 4],
        [1361, 4],
      ],
    ]);
  });

  it('forgets what is older than 15 minutes, and begins anew with a new stream', () => {
    const long = told(event(NOON, { requests: 1 }), event(NOON + HISTORY_MS + 20_000, {}));
    expect(long.bins).toHaveLength(1);
    const again = afterEvent(long, event(NOON + 1000, {}, { history: [] }));
    expect(again.bins.map(requests)).toEqual([0]);
    expect(again.recent).toEqual([]);
  });

  it('goes on with a clock that was set back', () => {
    const history = told(event(NOON + 60_000, { requests: 1 }), event(NOON, { requests: 2 }));
    expect(history.bins.map(requests)).toEqual([2]);
    expect(history.at).toBe(NOON);
  });
});

describe('the columns of a plot', () => {
  const history = told(
    event(NOON + 2000, { requests: 4, ms: 2000 }, { history: [bin(NOON - 60_000)] }),
  );

  it('have a place for each five seconds, and none before the sidecar ran', () => {
    const started = NOON - 30_000;
    const { times, values } = columnsOf(history, started, [perSecond(requests)]);
    expect(times).toHaveLength(HISTORY_MS / BIN_MS + 1);
    expect(times.at(-1)).toBe(NOON / 1000);
    const [column = []] = values;
    expect(column.at(-1)).toBe(2);
    expect(column.at(-2)).toBe(0);
    expect(column.slice(-7).filter((each) => each !== null)).toHaveLength(7);
    expect(column[0]).toBe(null);
  });

  it('leave out a bin that has just begun', () => {
    const begun = afterEvent(
      history,
      event(NOON + 5100, { requests: 1, ms: 100, at: iso(NOON + 5000) }),
    );
    const { times } = columnsOf(begun, 0, [perSecond(requests)]);
    expect(times.at(-1)).toBe(NOON / 1000);
  });
});

describe('an event stream', () => {
  it.each([1, 3, 1000])('is read in pieces of %i characters', (size) => {
    const text = 'data: {"one":1}\n\n: a word\n\nevent: x\r\ndata: a\r\ndata: b\r\n\r\ndata: cut';
    const read = createEventReader();
    const found: string[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...read(text.slice(at, at + size)));
    expect(found).toEqual(['{"one":1}', 'a\nb']);
  });
});
