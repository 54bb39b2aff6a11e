import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ClockJump,
  createSteadyClock,
  LONGEST_SLEEP_MS,
  STEADY_MS,
} from '../../src/rotation/steady-clock.ts';

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

/** Lets time pass, with a look at the wall clock each second. */
function run({ clock, pass }: ReturnType<typeof machine>, ms: number): void {
  for (let passed = 0; passed < ms; passed += 1000) {
    pass(1000);
    clock.check();
  }
}

describe('a start with a clock that is ahead of all that is stored', () => {
  const ahead = (byMs: number) => machine({ wall: START + byMs, notBefore: START });

  it('refuses by it, and is certain of nothing until it has run steadily', () => {
    const at = ahead(365 * DAY);
    expect(at.clock.now()).toBe(START + 365 * DAY);
    expect(at.jumps).toEqual([{ byMs: 365 * DAY, followed: false, onTrial: true }]);
    run(at, STEADY_MS - 1000);
    expect(at.clock.sure()).toBe(START + STEADY_MS - 1000);
    expect(at.clock.jump()).toMatchObject({ onTrial: true });
    run(at, 1000);
    expect(at.clock.sure()).toBe(START + 365 * DAY + STEADY_MS);
    expect(at.clock.jump()).toBeUndefined();
    expect(at.jumps.at(-1)).toEqual({ byMs: 365 * DAY, followed: true });
  });

  it('goes back where the clock is set right, and nothing has ended', () => {
    const at = ahead(365 * DAY);
    run(at, 60_000);
    at.set(-365 * DAY);
    at.clock.check();
    expect([at.clock.now(), at.clock.sure()]).toEqual([START + 60_000, START + 60_000]);
    expect(at.clock.jump()).toBeUndefined();
  });

  it('lets what counts how long something takes go on where the clock is set back', () => {
    const at = ahead(365 * DAY);
    expect(at.clock.onward()).toBe(START + 365 * DAY);
    at.set(-365 * DAY);
    run(at, 10_000);
    expect(at.clock.now()).toBe(START + 10_000);
    expect(at.clock.onward()).toBe(START + 365 * DAY + 10_000);
    at.set(366 * DAY);
    run(at, 1000);
    expect(at.clock.onward()).toBeGreaterThanOrEqual(START + 365 * DAY + 11_000);
  });

  it('begins the trial again with each jump', () => {
    const at = ahead(365 * DAY);
    run(at, STEADY_MS - 1000);
    at.set(-300 * DAY);
    run(at, STEADY_MS);
    expect(at.clock.now()).toBe(START + 65 * DAY + 2 * STEADY_MS - 1000);
    expect(at.clock.sure()).toBeLessThan(START + DAY);
    run(at, 1000);
    expect(at.clock.sure()).toBe(at.clock.now());
  });

  it('says nothing of hours in which nobody ran it', () => {
    const at = ahead(8 * 3_600_000);
    expect(at.clock.now()).toBe(START + 8 * 3_600_000);
    run(at, STEADY_MS);
    expect([at.jumps, at.clock.sure()]).toEqual([[], at.clock.now()]);
  });
});

it('a start with an old clock follows as soon as the clock is set right, however far', () => {
  const at = machine({ wall: START - 400 * DAY, notBefore: START });
  expect([at.clock.now(), at.clock.sure()]).toEqual([START, START]);
  run(at, 2 * STEADY_MS);
  at.set(430 * DAY);
  at.clock.check();
  expect(at.clock.now()).toBe(START + 30 * DAY + 2 * STEADY_MS);
  expect(at.clock.sure()).toBe(START + 2 * STEADY_MS);
  run(at, STEADY_MS);
  expect(at.clock.sure()).toBe(at.clock.now());
});

/** What is corrected without a word. */
const SMALL = 60_000;
/** Between two looks; a second in truth. */
const STEP = 10_000;

/** One life of a process: how its clock is wrong, for how long, and how long it runs then. */
const life = fc.record({
  offMs: fc.oneof(
    fc.constant(0),
    fc.integer({ min: -500 * DAY, max: 500 * DAY }),
    fc.integer({ min: -SMALL, max: SMALL }),
  ),
  mendedAfterMs: fc.integer({ min: 0, max: STEADY_MS / STEP - 2 }).map((each) => each * STEP),
  runsMs: fc.integer({ min: 0, max: 70 }).map((each) => each * STEP),
  downMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 * LONGEST_SLEEP_MS })),
});

interface Truth {
  /** The time as it truly is. */
  readonly at: number;
  /** The newest instant that is stored. */
  readonly stored: number;
}

type Life = typeof life extends fc.Arbitrary<infer L> ? L : never;

/** Lives once; undefined: something ended too early, or opened again. */
function live({ at: begun, stored: before }: Truth, each: Life): Truth | undefined {
  const machineNow = machine({ wall: begun + each.offMs, notBefore: before });
  const { clock } = machineNow;
  let stored = before;
  let at = begun;
  for (const end = begun + each.mendedAfterMs + each.runsMs; at < end; ) {
    if (at === begun + each.mendedAfterMs) machineNow.set(-each.offMs);
    machineNow.pass(STEP);
    clock.check();
    const isRight = at >= begun + each.mendedAfterMs;
    at += STEP;
    const [now, sure] = [clock.now(), clock.sure()];
    // Certain is what was certain before, and never more than the truth.
    if (sure < stored || sure > at + SMALL || now < sure) return undefined;
    // Once the clock is right, what has ended is refused, whatever clock there was before.
    if (isRight && now < at - SMALL) return undefined;
    stored = sure;
  }
  return { at: at + each.downMs, stored };
}

it('whatever clocks it starts with, ends nothing too early and opens nothing again', () => {
  const lives = fc.array(life, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(lives, (all) => {
      let truth: Truth | undefined = { at: START, stored: START };
      for (const each of all) truth = truth && live(truth, each);
      return truth !== undefined;
    }),
    { numRuns: 1000 },
  );
});
