import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTombstoneUses, type TombstoneUse } from '../../src/rotation/use.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

const start = () => {
  vi.setSystemTime(0);
  const first: TombstoneUse[] = [];
  const hours: TombstoneUse[] = [];
  const uses = createTombstoneUses({
    now: () => Date.now(),
    onFirst: (use) => first.push(use),
    onHour: (use) => hours.push(use),
  });
  return { ...uses, first, hours };
};

const use = (generation: string, address: string, count: number, since = 0): TombstoneUse => ({
  generation,
  address,
  count,
  since,
});

describe('a key that ended and comes back', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is told at once, and the rest when the hour is over', () => {
    const { note, first, hours } = start();
    note('ci-1', '192.0.2.1');
    expect(first).toEqual([use('ci-1', '192.0.2.1', 1)]);
    for (let more = 0; more < 5; more += 1) note('ci-1', '192.0.2.1');
    vi.advanceTimersByTime(HOUR - 1);
    expect([first.length, hours.length]).toEqual([1, 0]);
    vi.advanceTimersByTime(MINUTE);
    expect(hours).toEqual([use('ci-1', '192.0.2.1', 5)]);
    note('ci-1', '192.0.2.1');
    expect(first).toHaveLength(2);
  });

  it('is told by generation and by address', () => {
    const { note, first, close, hours } = start();
    note('ci-1', '192.0.2.1');
    note('ci-2', '192.0.2.1');
    note('ci-1', '192.0.2.2');
    note('ci-1', '192.0.2.2');
    expect(first).toEqual([
      use('ci-1', '192.0.2.1', 1),
      use('ci-2', '192.0.2.1', 1),
      use('ci-1', '192.0.2.2', 1),
    ]);
    close();
    expect(hours).toEqual([use('ci-1', '192.0.2.2', 1)]);
  });

  it('once within an hour is told once', () => {
    const { note, hours, close } = start();
    note('ci-1', '192.0.2.1');
    vi.advanceTimersByTime(2 * HOUR);
    close();
    expect(hours).toEqual([]);
  });

  it('just as the hour ends is the first of the next, before any timer has run', () => {
    const { note, first, hours } = start();
    note('ci-1', '192.0.2.1');
    note('ci-1', '192.0.2.1');
    vi.setSystemTime(HOUR);
    note('ci-1', '192.0.2.1');
    expect(hours).toEqual([use('ci-1', '192.0.2.1', 1)]);
    expect(first[1]).toEqual(use('ci-1', '192.0.2.1', 1, HOUR));
  });

  it('after the clock went back is told anew, and not when it has caught up', () => {
    const { note, first } = start();
    vi.setSystemTime(24 * HOUR);
    note('ci-1', '192.0.2.1');
    vi.setSystemTime(0);
    note('ci-1', '192.0.2.1');
    expect(first.map(({ since }) => since)).toEqual([24 * HOUR, 0]);
  });

  it('from a thousand addresses is told of each, from more as of others', () => {
    const { note, first, hours, close } = start();
    for (let at = 0; at < 3000; at += 1) note('ci-1', `2001:db8::${at.toString(16)}`);
    for (let at = 0; at < 3000; at += 1) note('ci-2', `2001:db8::${at.toString(16)}`);
    expect(first).toHaveLength(1002);
    expect(first.slice(-2).map(({ generation, address }) => [generation, address])).toEqual([
      ['ci-1', 'others'],
      ['ci-2', 'others'],
    ]);
    // Who is known already goes on by its own address.
    note('ci-1', '2001:db8::0');
    close();
    expect(hours).toEqual([
      use('ci-1', '2001:db8::0', 1),
      use('ci-1', 'others', 1999),
      use('ci-2', 'others', 2999),
    ]);
  });

  it('leaves room again once its hour is over', () => {
    const { note, first } = start();
    for (let at = 0; at < 1001; at += 1) note('ci-1', `a${at}`);
    vi.advanceTimersByTime(HOUR + MINUTE);
    for (let at = 0; at < 1001; at += 1) note('ci-1', `b${at}`);
    expect(first.filter(({ address }) => address === 'others')).toHaveLength(2);
    expect(first).toHaveLength(2002);
  });

  it('is not told of after the end', () => {
    const { note, first, close } = start();
    close();
    note('ci-1', '192.0.2.1');
    expect(first).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
