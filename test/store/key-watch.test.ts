import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { DeclaredReading } from '../../src/config/load.ts';
import { Secret } from '../../src/secret.ts';
import { createKeyWatch, type KeyWatchOptions } from '../../src/store/key-watch.ts';

const value = (
  key: string,
  source: 'file' | 'dotenv' | 'environment' = 'dotenv',
): DeclaredReading => ({ value: { source, where: 'somewhere', key: new Secret(key) } });
const nothing: DeclaredReading = { value: undefined };

const show = (reading: DeclaredReading): string => {
  if ('fault' in reading) return `fault: ${reading.fault}`;
  return reading.value === undefined
    ? 'nothing'
    : `${reading.value.source} ${reading.value.key.reveal()}`;
};

/** With a clock that the test moves, and readings that it sets. */
function watching(first: DeclaredReading, options: Partial<KeyWatchOptions> = {}) {
  vi.useFakeTimers();
  const told: string[] = [];
  const now = { reading: first, reads: 0 };
  const read = (): Promise<DeclaredReading> => {
    now.reads += 1;
    return Promise.resolve(now.reading);
  };
  const watch = createKeyWatch({
    places: { read },
    onSettled: (reading) => told.push(show(reading)),
    ...options,
  });
  onTestFinished(() => {
    watch.stop();
    vi.useRealTimers();
  });
  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  return { watch, told, now, pass };
}

describe('a declared key that is watched', () => {
  it('counts once two readings 250 ms apart agree, and is told once', async () => {
    const { told, now, pass } = watching(value('sk-one'));
    await pass(249);
    expect(told).toEqual([]);
    await pass(1);
    expect(told).toEqual(['dotenv sk-one']);
    now.reading = value('sk-two');
    await pass(1000);
    expect(told).toEqual(['dotenv sk-one', 'dotenv sk-two']);
    await pass(10_000);
    expect(told).toHaveLength(2);
  });

  it('is looked at each second', async () => {
    const { now, pass } = watching(nothing);
    await pass(250);
    const { reads } = now;
    await pass(10_000);
    expect(now.reads - reads).toBe(10);
  });

  it('that goes on changing is waited for', async () => {
    const { told, now, pass } = watching(value('sk-0'), { settled: value('sk-0') });
    for (let times = 1; times <= 20; times++) {
      now.reading = value(`sk-${times}`);
      await pass(200);
    }
    expect(told).toEqual([]);
    await pass(500);
    expect(told).toEqual(['dotenv sk-20']);
  });

  it('that changes and is put back is nothing', async () => {
    const { told, now, pass, watch } = watching(value('sk-one'), { settled: value('sk-one') });
    await pass(100);
    now.reading = value('sk-half');
    const checked = watch.check();
    await pass(100);
    now.reading = value('sk-one');
    await pass(5000);
    await checked;
    expect(told).toEqual([]);
  });

  it.each([
    ['another key', value('sk-two'), ['dotenv sk-two']],
    ['the same key in another place', value('sk-one', 'file'), ['file sk-one']],
    ['a fault', { fault: 'it is gone' }, ['fault: it is gone']],
    ['nothing', nothing, ['nothing']],
    ['the same', value('sk-one'), []],
  ])('is told where it is not what was acted on before: %s', async (_what, reading, expected) => {
    const { told, pass } = watching(reading, { settled: value('sk-one') });
    await pass(3000);
    expect(told).toEqual(expected);
  });

  it('is told again when it comes back after something else, and a fault by its text', async () => {
    const { told, now, pass } = watching(value('sk-one'));
    for (const reading of [{ fault: 'a' }, { fault: 'b' }, value('sk-one'), nothing]) {
      await pass(1500);
      now.reading = reading;
    }
    await pass(1500);
    expect(told).toEqual([
      ...['dotenv sk-one', 'fault: a', 'fault: b', 'dotenv sk-one', 'nothing'],
    ]);
  });
});

describe('a check', () => {
  it('resolves once what is declared then has settled', async () => {
    const { told, now, pass, watch } = watching(value('sk-one'));
    await pass(100);
    now.reading = value('sk-two');
    let done = false;
    void watch.check().then(() => {
      done = true;
    });
    await pass(399);
    expect([told, done]).toEqual([[], false]);
    await pass(1);
    expect([told, done]).toEqual([['dotenv sk-two'], true]);
  });

  it('of what has settled already is over at once, and tells nothing', async () => {
    const { told, pass, watch } = watching(nothing, { settled: nothing });
    await pass(0);
    await watch.check();
    expect(told).toEqual([]);
  });
});

describe('a watch that was stopped', () => {
  it('tells nothing, in the middle of a change neither, and leaves no timer', async () => {
    const { told, now, pass, watch } = watching(value('sk-one'));
    await pass(249);
    const { reads } = now;
    watch.stop();
    await pass(10_000);
    expect(told).toEqual([]);
    await watch.check();
    await pass(10_000);
    expect([now.reads, told]).toEqual([reads, []]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
