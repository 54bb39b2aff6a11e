import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createExchanges, type Live } from '../../src/proxy/exchanges.ts';

/** Something under way that says what is asked of it. */
function createLive(changes: Partial<Live> = {}): Live & { readonly said: string[] } {
  const said: string[] = [];
  return {
    websocket: false,
    eventStream: false,
    generation: 'master-1',
    slot: 'a',
    tick: (now) => void said.push(`tick ${now}`),
    drain: () => void said.push('drain'),
    cut: () => void said.push('cut'),
    said,
    ...changes,
  };
}

describe('what is under way', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is counted by kind until it is taken out, which can be done twice', () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const remove = exchanges.add(createLive());
    exchanges.add(createLive({ eventStream: true }));
    exchanges.add(createLive({ websocket: true }));
    expect([exchanges.count('all'), exchanges.count('streams')]).toEqual([3, 1]);
    expect(exchanges.count('websockets')).toBe(1);
    remove();
    remove();
    expect(exchanges.count('all')).toBe(2);
    exchanges.close();
  });

  it('is told the time each second, until the clock is stopped', () => {
    let now = 0;
    const exchanges = createExchanges({ elapsed: () => now });
    const live = createLive();
    exchanges.add(live);
    now = 7;
    vi.advanceTimersByTime(1000);
    now = 8;
    vi.advanceTimersByTime(1000);
    exchanges.close();
    vi.advanceTimersByTime(5000);
    expect(live.said).toEqual(['tick 7', 'tick 8']);
  });

  it('at a drain has the time in which this process runs', async () => {
    let missed = 0;
    const exchanges = createExchanges({ elapsed: () => 0, missedMs: () => missed });
    exchanges.add(createLive());
    let cut: number | undefined;
    const drained = exchanges.drain(5000).then((count) => {
      cut = count;
    });
    await vi.advanceTimersByTimeAsync(2000);
    missed = 3000;
    await vi.advanceTimersByTimeAsync(5999);
    expect(cut).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1001);
    await drained;
    expect(cut).toBe(1);
    exchanges.close();
  });

  it('may go away in its own tick', () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const last = createLive();
    const remove = exchanges.add(createLive({ tick: () => remove() }));
    exchanges.add(last);
    vi.advanceTimersByTime(1000);
    expect(last.said).toEqual(['tick 0']);
    exchanges.close();
  });

  it('at a drain is asked to end, and waited for', async () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const [first, second] = [createLive(), createLive()];
    const removals = [exchanges.add(first), exchanges.add(second)];
    let cut: number | undefined;
    const drained = exchanges.drain(60_000).then((count) => {
      cut = count;
    });
    expect([first.said, second.said]).toEqual([['drain'], ['drain']]);
    removals[0]?.();
    await vi.advanceTimersByTimeAsync(500);
    expect(cut).toBeUndefined();
    removals[1]?.();
    await drained;
    expect(cut).toBe(0);
    exchanges.close();
  });

  it('that comes in a drain is asked as well', async () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const remove = exchanges.add(createLive());
    const drained = exchanges.drain(60_000);
    const late = createLive();
    exchanges.add(late)();
    expect(late.said).toEqual(['drain']);
    remove();
    await drained;
    exchanges.close();
  });

  it('past the deadline is cut, counted, and waited for until its socket is closed', async () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const removals: (() => void)[] = [];
    const lives = [1, 2].map(() =>
      createLive({ cut: () => void setTimeout(() => removals.pop()?.(), 10) }),
    );
    removals.push(...lives.map((live) => exchanges.add(live)));
    const drained = exchanges.drain(900);
    const over = vi.fn();
    void drained.then(over);
    await vi.advanceTimersByTimeAsync(905);
    expect(exchanges.count('all')).toBe(2);
    expect(over).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(10);
    expect(await drained).toBe(2);
    expect(exchanges.count('all')).toBe(0);
    exchanges.close();
  });

  it('that does not even end when it is cut holds a drain up for a second at most', async () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    exchanges.add(createLive());
    const drained = exchanges.drain(0);
    await vi.advanceTimersByTimeAsync(1001);
    expect(await drained).toBe(1);
    exchanges.close();
  });

  it('is cut by a test, and nothing else is', () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const [old, young] = [createLive(), createLive({ generation: 'master-2' })];
    exchanges.add(old);
    exchanges.add(young);
    exchanges.add(createLive({ generation: 'master-2' }));
    const counts = ['master-1', 'master-2', 'master-3'].map(exchanges.countOf);
    expect(counts).toEqual([1, 2, 0]);
    expect(exchanges.cut(({ generation }) => generation === 'master-1')).toBe(1);
    expect([old.said, young.said]).toEqual([['cut'], []]);
    exchanges.close();
  });

  it('is counted by slot; what waits is on none', () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    for (const slot of ['a', 'a', 'b', '']) exchanges.add(createLive({ slot }));
    exchanges.add(createLive({ slot: 'b', websocket: true }));
    expect(exchanges.countOn('a')).toEqual({ requests: 2, websockets: 0 });
    expect(exchanges.countOn('b')).toEqual({ requests: 1, websockets: 1 });
    exchanges.close();
  });

  it('of one kind is asked to end, and cut a second later; the others hear nothing', async () => {
    const exchanges = createExchanges({ elapsed: () => 0 });
    const [quick, slow, other] = [createLive(), createLive(), createLive({ slot: 'b' })];
    const takeOut = [quick, slow, other].map(exchanges.add);
    const ended = exchanges.end(({ slot }) => slot === 'a');
    expect([quick.said, slow.said, other.said]).toEqual([['drain'], ['drain'], []]);
    takeOut[0]?.();
    await vi.advanceTimersByTimeAsync(990);
    expect(slow.said).not.toContain('cut');
    await vi.advanceTimersByTimeAsync(20);
    expect(slow.said).toContain('cut');
    takeOut[1]?.();
    expect(await ended).toBe(1);
    expect([quick.said, other.said].flat()).not.toContain('cut');
    // Nothing is left: it takes no time.
    expect(await exchanges.end(({ slot }) => slot === 'a')).toBe(0);
    exchanges.close();
  });
});
