import { describe, expect, it } from 'vitest';
import { type ClockJump, createSteadyClock } from '../../src/rotation/steady-clock.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 0, 1);

/** A machine whose two clocks a test moves. */
function machine(options: { wall?: number; notBefore?: number } = {}) {
  const time = { wall: options.wall ?? START, elapsed: 5000.25 };
  const jumps: ClockJump[] = [];
  const clock = createSteadyClock({
    clock: { now: () => time.wall, elapsed: () => time.elapsed },
    notBefore: options.notBefore ?? 0,
    onJump: (jump) => jumps.push(jump),
  });
  return {
    clock,
    jumps,
    /** Time passes as it should. */
    pass(ms: number) {
      time.wall += ms;
      time.elapsed += ms;
    },
    /** Somebody sets the wall clock. */
    set(byMs: number) {
      time.wall += byMs;
    },
  };
}

describe('the clock by which keys end', () => {
  it('goes on with the monotonic clock between looks at the wall clock', () => {
    const { clock, pass, jumps } = machine();
    pass(1500);
    expect(clock.now()).toBe(START + 1500);
    expect(Number.isInteger(clock.now())).toBe(true);
    expect(jumps).toEqual([]);
  });

  it.each([
    ['forward a year', 365 * DAY],
    ['back a day', -DAY],
    ['back two minutes', -120_000],
  ])('does not follow a wall clock that jumps %s, and says so once', (_, byMs) => {
    const { clock, pass, set, jumps } = machine();
    pass(1000);
    set(byMs);
    clock.check();
    expect(clock.now()).toBe(START + 1000);
    pass(1000);
    clock.check();
    expect(clock.now()).toBe(START + 2000);
    expect(jumps).toEqual([{ byMs, followed: false }]);
    expect(clock.jump()).toEqual({ byMs, followed: false });
  });

  it('forgets the jump when the wall clock is right again', () => {
    const { clock, set } = machine();
    set(365 * DAY);
    clock.check();
    set(-365 * DAY);
    clock.check();
    expect(clock.jump()).toBeUndefined();
    expect(clock.now()).toBe(START);
  });

  it('follows a night in which the machine slept', () => {
    const { clock, set, jumps } = machine();
    set(8 * 3_600_000);
    clock.check();
    expect(clock.now()).toBe(START + 8 * 3_600_000);
    expect(jumps).toEqual([{ byMs: 8 * 3_600_000, followed: true }]);
    expect(clock.jump()).toBeUndefined();
  });

  it('follows what a time server corrects, without a word, and never goes back', () => {
    const { clock, pass, set, jumps } = machine();
    pass(10_000);
    const before = clock.now();
    set(-3000);
    clock.check();
    expect(clock.now()).toBe(before);
    pass(3000);
    expect(clock.now()).toBe(before);
    pass(500);
    expect(clock.now()).toBe(before + 500);
    set(3000);
    clock.check();
    expect(clock.now()).toBe(before + 3500);
    expect(jumps).toEqual([]);
  });

  it('does not begin before what the keyring saw last', () => {
    const { clock, jumps, pass } = machine({ notBefore: START + DAY });
    expect(clock.now()).toBe(START + DAY);
    expect(jumps).toEqual([{ byMs: -DAY, followed: false }]);
    pass(1000);
    clock.check();
    expect(clock.now()).toBe(START + DAY + 1000);
    expect(jumps).toHaveLength(1);
  });
});
