import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClientLimits } from '../../src/keyring/client-limits.ts';
import {
  bucketOf,
  newMeter,
  noteBegin,
  noteEnd,
  noteSaid,
  noteUnsaid,
  reachedBy,
  requestsLastMinute,
  reservedOf,
} from '../../src/proxy/limit-meter.ts';

const limitsOf = (amounts: Partial<ClientLimits>): ClientLimits => ({
  ...{ rpm: undefined, parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined },
  mode: 'refuse',
  ...amounts,
});

/** Instants in milliseconds, each some time after the one before. */
const instants = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ max: 70_000, min: 1 })), { maxLength: 300 })
  .map((waits) => {
    let at = 0;
    return waits.map((wait) => {
      at += wait;
      return at;
    });
  });

describe('the bucket of rpm', () => {
  /** The instants of those that it lets in. */
  const letIn = (rpm: number, asked: readonly number[]): number[] => {
    const meter = newMeter();
    const limits = limitsOf({ rpm });
    return asked.filter((at) => {
      if (reachedBy(meter, limits, at, undefined) !== undefined) return false;
      noteBegin(meter, rpm, at, true);
      noteEnd(meter, true);
      return true;
    });
  };

  it('is a bucket that fills evenly, and never lets in more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 90 }), instants, (rpm, asked) => {
        // The model: so much is in the bucket, and it never holds more than a minute's worth.
        let level = rpm;
        let last = 0;
        const expected = asked.filter((at) => {
          level = Math.min(rpm, level + ((at - last) * rpm) / 60_000);
          last = at;
          if (level < 1 - 1e-6) return false;
          level -= 1;
          return true;
        });
        expect(letIn(rpm, asked)).toEqual(expected);
      }),
    );
  });

  it('lets in a minute of requests at once and then one each part of a minute', () => {
    for (const rpm of [1, 3, 7, 60, 1000]) {
      const burst = Array.from({ length: 2 * rpm }, () => 5);
      expect(letIn(rpm, burst)).toHaveLength(rpm);
      const each = 60_000 / rpm;
      expect(letIn(rpm, [...burst, 5 + each * 0.99])).toHaveLength(rpm);
      expect(letIn(rpm, [...burst, 5 + each])).toHaveLength(rpm + 1);
    }
  });

  it('says when it opens: then, and not before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 90 }), instants, (rpm, asked) => {
        const meter = newMeter();
        const limits = limitsOf({ rpm });
        for (const at of asked) {
          const reached = reachedBy(meter, limits, at, undefined);
          const { left, fullIn } = bucketOf(meter, rpm, at);
          expect(left > 0).toBe(reached === undefined);
          expect(bucketOf(meter, rpm, at + fullIn).left).toBe(rpm);
          if (reached === undefined) {
            noteBegin(meter, rpm, at, true);
            continue;
          }
          expect(reached).toMatchObject({ limit: 'rpm', why: 'empty' });
          expect(reachedBy(meter, limits, at + reached.waitMs, undefined)).toBeUndefined();
          expect(reachedBy(meter, limits, at + reached.waitMs * 0.99 - 1, undefined)).toBeDefined();
        }
      }),
    );
  });

  it('has no debt of what was only recorded', () => {
    const meter = newMeter();
    for (let nth = 0; nth < 500; nth += 1) noteBegin(meter, 60, 0, true);
    expect(reachedBy(meter, limitsOf({ rpm: 60 }), 0, undefined)?.waitMs).toBeCloseTo(1000);
  });
});

describe('requests of the last minute', () => {
  it('are as many as there were, where they come evenly, and never a minute late', () => {
    const meter = newMeter();
    for (let second = 0; second < 300; second += 1) {
      noteBegin(meter, undefined, second * 1000, true);
      const expected = Math.min(second + 1, 60);
      expect(Math.abs(requestsLastMinute(meter, second * 1000) - expected)).toBeLessThanOrEqual(1);
    }
    expect(requestsLastMinute(meter, 300_000 + 120_000)).toBe(0);
    noteBegin(meter, undefined, 1_000_000, true);
    expect(requestsLastMinute(meter, 1_000_000)).toBe(1);
  });
});

describe('what is in flight', () => {
  it('is never more than parallel', () => {
    const numbers = fc.array(fc.boolean(), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), numbers, (parallel, steps) => {
        const meter = newMeter();
        const limits = limitsOf({ parallel });
        const model = { inFlight: 0 };
        const begin = (): void => {
          const isFull = model.inFlight === parallel;
          const busy = { limit: 'parallel', why: 'busy', waitMs: 0 };
          expect(reachedBy(meter, limits, 0, undefined)).toEqual(isFull ? busy : undefined);
          if (isFull) return;
          noteBegin(meter, undefined, 0, true);
          model.inFlight += 1;
        };
        const end = (): void => {
          if (model.inFlight === 0) return;
          noteEnd(meter, true);
          model.inFlight -= 1;
        };
        for (const begins of steps) {
          if (begins) begin();
          else end();
          expect(meter.inFlight).toBe(model.inFlight);
        }
      }),
    );
  });
});

const DAY = 20_000 * 86_400_000;

/** A client with a budget in dollars, in which requests begin and end. */
function spender(usdPerDay: number) {
  const meter = newMeter();
  const limits = limitsOf({ usdPerDay });
  let costUsd = 0;
  return {
    spent: () => costUsd,
    reserved: () => reservedOf(meter.usd, usdPerDay, meter.spending, DAY),
    begin(day = DAY) {
      const today = { day, used: { tokens: 0, costUsd: day === DAY ? costUsd : 0 } };
      const reached = reachedBy(meter, limits, 0, today);
      if (reached === undefined) noteBegin(meter, undefined, 0, true);
      return reached?.why;
    },
    end(cost: number) {
      costUsd += cost;
      noteEnd(meter, true);
      noteSaid(meter, 0, cost);
    },
    endUnsaid(day = DAY) {
      noteEnd(meter, true);
      const nothing = { requestBytes: 0, responseBytes: 0, chunks: 0 };
      noteUnsaid(meter, limits, nothing, undefined, day);
    },
  };
}

describe('a budget', () => {
  it('lets in what is within it with all that it reserves, or one alone', () => {
    const step = fc.record({ begins: fc.boolean(), cost: fc.integer({ min: 0, max: 40 }) });
    const steps = fc.array(step, { maxLength: 400 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), steps, (cap, taken) => {
        const { begin, end, spent, reserved } = spender(cap);
        let inFlight = 0;
        const tryToBegin = (): void => {
          const [alone, before] = [inFlight === 0, reserved()];
          const why = begin();
          const isLetIn = why === undefined;
          inFlight += Number(isLetIn);
          const bound = isLetIn && !alone ? cap + 1e-9 : Infinity;
          expect(spent() + reserved()).toBeLessThanOrEqual(bound);
          expect(why === 'spent').toBe(spent() >= cap);
          expect(isLetIn || reserved() === before).toBe(true);
        };
        for (const { begins, cost } of taken) {
          if (begins) tryToBegin();
          else if (inFlight > 0) {
            end(cost);
            inFlight -= 1;
          }
        }
        for (; inFlight > 0; inFlight -= 1) end(0);
        expect(reserved()).toBe(0);
      }),
    );
  });

  it('is never passed by more than one request where all cost the same', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.array(fc.boolean(), { maxLength: 400 }),
        (cap, share, steps) => {
          // Below what stands for a request while nothing is known.
          const cost = (cap / 16) * (share / 1000);
          const { begin, end, spent } = spender(cap);
          let inFlight = 0;
          for (const begins of steps) {
            if (begins && begin() === undefined) inFlight += 1;
            else if (!begins && inFlight > 0) {
              end(cost);
              inFlight -= 1;
            }
          }
          expect(spent() + inFlight * cost).toBeLessThan(cap + cost);
        },
      ),
    );
  });

  it('lets in sixteen while no answer has said what it costs', () => {
    const { begin, end } = spender(1);
    const first = Array.from({ length: 1000 }, () => begin());
    expect(first.filter((why) => why === undefined)).toHaveLength(16);
    expect(first.at(-1)).toBe('reserved');
    end(0.01);
    // A cent each: 99 of them are left, and fifteen are under way.
    const next = Array.from({ length: 1000 }, () => begin());
    expect(next.filter((why) => why === undefined)).toHaveLength(99 - 15);
  });

  it('lets one at a time go over it while something is left', () => {
    const { begin, end } = spender(1);
    begin();
    end(0.9);
    expect(begin()).toBeUndefined();
    expect(begin()).toBe('reserved');
    end(0.9);
    expect(begin()).toBe('spent');
  });

  it('keeps a mean back for each answer that did not say what it used, until the day is over', () => {
    const { begin, end, endUnsaid, reserved } = spender(1);
    begin();
    end(0.25);
    for (let nth = 0; nth < 3; nth += 1) {
      expect(begin()).toBeUndefined();
      endUnsaid();
    }
    expect(reserved()).toBe(0.75);
    expect(begin()).toBe('spent');
    expect(begin(DAY + 86_400_000)).toBeUndefined();
  });

  it('is never passed by more than what is under way, whoever says what it used', () => {
    const MOST = 5000;
    const step = fc.record({
      ...{ begins: fc.boolean(), says: fc.boolean() },
      // Now and then many tiny ones: by them a client makes its mean small.
      tokens: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: MOST })),
      inBody: fc.boolean(),
    });
    const given = [
      fc.integer({ min: 1, max: 50_000 }),
      fc.integer({ min: 1, max: 6 }),
      fc.array(step, { minLength: 50, maxLength: 600 }),
    ] as const;
    fc.assert(
      fc.property(...given, (tokensPerDay, parallel, steps) => {
        const meter = newMeter();
        const limits = limitsOf({ tokensPerDay, parallel });
        const used = { said: 0, all: 0 };
        const end = ({ says, tokens, inBody }: (typeof steps)[number]): void => {
          noteEnd(meter, true);
          used.all += tokens;
          if (says) {
            used.said += tokens;
            noteSaid(meter, tokens, undefined);
            return;
          }
          const before = reservedOf(meter.tokens, tokensPerDay, 0, DAY);
          const [requestBytes, chunks] = inBody ? [tokens * 4, 0] : [0, tokens];
          const seen = { requestBytes, responseBytes: 0, chunks };
          noteUnsaid(meter, limits, seen, undefined, DAY);
          const kept = reservedOf(meter.tokens, tokensPerDay, 0, DAY) - before;
          expect(kept).toBeGreaterThanOrEqual(tokens - 1e-6);
        };
        for (const each of steps) {
          const kept = reservedOf(meter.tokens, tokensPerDay, 0, DAY);
          const today = { day: DAY, used: { tokens: used.said, costUsd: 0 } };
          const isLetIn = each.begins && reachedBy(meter, limits, 0, today) === undefined;
          if (isLetIn) noteBegin(meter, undefined, 0, true);
          else if (!each.begins && meter.inFlight > 0) end(each);
          expect(reservedOf(meter.tokens, tokensPerDay, 0, DAY)).toBeGreaterThanOrEqual(kept);
          expect(used.all).toBeLessThan(tokensPerDay + parallel * MOST);
        }
      }),
    );
  });

  it('forgets what a request cost within some dozens', () => {
    const { begin, end, reserved } = spender(1000);
    begin();
    end(100);
    for (let nth = 0; nth < 40; nth += 1) {
      begin();
      end(1);
    }
    begin();
    expect(reserved()).toBeGreaterThan(1);
    expect(reserved()).toBeLessThan(2);
  });
});

describe('of several limits', () => {
  it('a spent budget is told first, and one that is spent before one that is reserved', () => {
    const meter = newMeter();
    noteBegin(meter, 1, 0, true);
    const limits = limitsOf({ rpm: 1, parallel: 1, tokensPerDay: 10, usdPerDay: 1 });
    const told = (tokens: number, costUsd: number) =>
      reachedBy(meter, limits, 0, { day: DAY, used: { tokens, costUsd } })?.limit;
    expect(told(10, 0.99)).toBe('tokens_per_day');
    expect(told(0, 1)).toBe('usd_per_day');
    expect(told(0, 0.99)).toBe('usd_per_day');
    expect(told(0, 0)).toBe('parallel');
    expect(reachedBy(meter, limits, 0, undefined)?.limit).toBe('parallel');
    noteEnd(meter, true);
    expect(told(0, 0)).toBe('rpm');
  });
});
