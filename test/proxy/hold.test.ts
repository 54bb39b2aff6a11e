import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHold, type Hold, type Waiter } from '../../src/proxy/hold.ts';

const TURN_MS = 200;

/** A hold with a clock and a LiteLLM that only a test moves. */
function start(changes: { holdMs?: number; most?: number } = {}) {
  const state = { reachable: false, looks: 0 };
  const said: string[] = [];
  const hold = createHold({
    holdMs: 1000,
    most: 100,
    elapsed: () => performance.now(),
    canConnect: async () => {
      state.looks++;
      return await Promise.resolve(state.reachable);
    },
    onChange: (away) => said.push(away ? 'away' : 'back'),
    ...changes,
  });
  const waiter = (name: string | number, client = 'ci'): Waiter => ({
    client,
    crowdOut: () => void said.push(`crowd out ${name}`),
    release: () => void said.push(`release ${name}`),
    expire: () => void said.push(`expire ${name}`),
  });
  return { hold, state, said, waiter };
}

describe('the hold', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const turns = async (count: number) => await vi.advanceTimersByTimeAsync(count * TURN_MS);

  it('is not away until a connection failed, and says so once', () => {
    const { hold, said } = start();
    expect(hold.away()).toBe(false);
    hold.markAway();
    hold.markAway();
    expect(hold.away()).toBe(true);
    expect(said).toEqual(['away']);
    hold.close();
  });

  it('lets all go in their order though LiteLLM is away, where there is another one', () => {
    const { hold, said, waiter } = start();
    hold.markAway();
    for (const name of ['a', 'b']) {
      hold.enter(waiter(name));
      vi.advanceTimersByTime(1);
    }
    hold.releaseAll();
    expect(said).toEqual(['away', 'release a', 'release b']);
    expect([hold.size(), hold.away()]).toEqual([0, true]);
    hold.close();
  });

  it('that is closed lets nobody try in circles', () => {
    const { hold, said, waiter } = start();
    hold.close();
    hold.markAway();
    expect(hold.away()).toBe(true);
    hold.enter(waiter('a'));
    expect([hold.size(), said]).toEqual([1, []]);
  });

  it('releases in the order of arrival, once LiteLLM is back', async () => {
    const { hold, state, said, waiter } = start();
    hold.markAway();
    for (const name of ['a', 'b', 'c']) {
      expect(hold.enter(waiter(name))).toBe(performance.now() + 1000);
      vi.advanceTimersByTime(1);
    }
    await turns(1);
    expect(hold.size()).toBe(3);
    state.reachable = true;
    await turns(1);
    expect(said).toEqual(['away', 'back', 'release a', 'release b', 'release c']);
    expect([hold.size(), hold.away()]).toEqual([0, false]);
    await turns(5);
    expect(state.looks).toBe(2);
  });

  it('expires who waited for holdMs, and nobody before', async () => {
    const { hold, said, waiter } = start();
    hold.markAway();
    hold.enter(waiter('early'));
    await turns(2);
    hold.enter(waiter('late'));
    await turns(2);
    expect(said).toEqual(['away']);
    await turns(1);
    expect(said).toEqual(['away', 'expire early']);
    await turns(2);
    expect(said).toEqual(['away', 'expire early', 'expire late']);
    hold.close();
  });

  it('takes no more than `most`', () => {
    const { hold, waiter } = start({ most: 2 });
    hold.markAway();
    expect(hold.enter(waiter('a'))).not.toBe(false);
    expect(hold.enter(waiter('b'))).not.toBe(false);
    expect(hold.enter(waiter('c'))).toBe(false);
    hold.close();
  });

  it('is filled by no client alone: who has the most makes room for who has fewer', () => {
    const { hold, said, waiter } = start({ most: 4 });
    hold.markAway();
    for (const name of [1, 2, 3, 4]) hold.enter(waiter(name, 'greedy'));
    expect(hold.enter(waiter(5, 'greedy'))).toBe(false);
    expect(hold.enter(waiter('a', 'ci'))).not.toBe(false);
    expect(hold.enter(waiter('b', 'ci'))).not.toBe(false);
    expect(said).toEqual(['away', 'crowd out 4', 'crowd out 3']);
    // Two and two: nobody has more than a newcomer would.
    expect(hold.enter(waiter('c', 'ci'))).toBe(false);
    expect(hold.enter(waiter('x', 'other'))).not.toBe(false);
    expect(hold.size()).toBe(4);
    hold.close();
  });

  it('keeps the place of who was released too early, even where it is full by then', async () => {
    const { hold, state, said, waiter } = start({ most: 2 });
    hold.markAway();
    const again: Waiter = {
      ...waiter('again'),
      release: () => {
        // LiteLLM took the connection of the check, and none after it.
        state.reachable = false;
        hold.markAway();
        for (const name of ['x', 'y']) hold.enter(waiter(name));
        hold.enter(again, deadline === false ? undefined : deadline);
      },
      expire: () => void said.push('expire again'),
    };
    const deadline = hold.enter(again);
    await turns(1);
    state.reachable = true;
    await turns(1);
    expect(hold.size()).toBe(3);
    await turns(3);
    expect(said.filter((each) => each.startsWith('expire'))).toEqual(['expire again']);
    hold.close();
  });

  it('with holdMs 0 expires at once', () => {
    const { hold, said, waiter } = start({ holdMs: 0 });
    hold.markAway();
    hold.enter(waiter('a'));
    expect(said).toEqual(['away', 'expire a']);
    expect(hold.size()).toBe(0);
    hold.close();
  });

  it('looks once at a time, however long a look takes', async () => {
    const { hold, state } = start();
    const never = createHold({
      holdMs: 1000,
      most: 1,
      elapsed: () => performance.now(),
      canConnect: () => {
        state.looks++;
        return new Promise<boolean>(() => undefined);
      },
      onChange: () => undefined,
    });
    never.markAway();
    await turns(10);
    expect(state.looks).toBe(1);
    never.close();
    hold.close();
  });

  it('is silent once it is closed', async () => {
    const { hold, state, said } = start();
    hold.markAway();
    hold.close();
    state.reachable = true;
    await turns(5);
    expect(said).toEqual(['away']);
    expect(state.looks).toBe(0);
  });

  it('whatever happens: each waiter hears one thing or leaves, and the order holds', async () => {
    const commands = fc.array(
      fc.constantFrom<'enter' | 'leave' | 'turn' | 'back' | 'gone'>(
        'enter',
        'enter',
        'leave',
        'turn',
        'back',
        'gone',
      ),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const { hold, state, said, waiter } = start({ most: 5 });
        await play(list, { hold, state, waiter, turn: () => turns(1) });
        hold.close();
        const heard = said.filter((each) => /^(release|expire)/.test(each));
        const names = heard.map((each) => Number(each.split(' ')[1]));
        expect(new Set(names).size).toBe(names.length);
        expect(names).toEqual([...names].sort((a, b) => a - b));
        expect(hold.size()).toBeLessThanOrEqual(5);
      }),
      { numRuns: 100 },
    );
  });
});

async function play(
  list: readonly string[],
  on: {
    hold: Hold;
    state: { reachable: boolean };
    waiter: (name: number) => Waiter;
    turn: () => Promise<unknown>;
  },
): Promise<void> {
  const inside: Waiter[] = [];
  let name = 0;
  for (const command of list) {
    if (command === 'enter') {
      on.hold.markAway();
      const one = on.waiter(name++);
      if (on.hold.enter(one) !== false) inside.push(one);
    } else if (command === 'leave') {
      const one = inside.pop();
      if (one !== undefined) on.hold.leave(one);
    } else if (command === 'turn') {
      await on.turn();
    } else {
      on.state.reachable = command === 'back';
    }
  }
}
