import type { Clock } from '../clock.ts';

/** How the wall clock left the time that has really passed. */
export interface ClockJump {
  /** Milliseconds; positive: forward. */
  readonly byMs: number;
  /** Whether keys follow: a jump that is not followed moves no deadline. */
  readonly followed: boolean;
  /** The clock is on trial: what ends by it is refused, and not stored as ended so far. */
  readonly onTrial?: true;
}

export type SteadyClock = ReturnType<typeof createSteadyClock>;

interface SteadyClockOptions {
  readonly clock: Clock;
  /** The newest instant that the state knows: time does not begin before it; 0: none is known. */
  readonly notBefore: number;
  readonly onJump: (jump: ClockJump) => void;
}

/** What time servers correct in a running system; it is followed without a word. */
const SMALL_MS = 60_000;
/** A machine that slept: its monotonic clock stood still, and the time has really passed. */
export const LONGEST_SLEEP_MS = 24 * 3_600_000;
/** So long a clock on trial runs without a jump until it is believed: time servers need less. */
export const STEADY_MS = 5 * 60_000;

type Verdict = 'right' | 'behind' | 'on trial' | 'slept' | 'set';

/** What a wall clock means that is so much ahead of the sure time; `wasWrong`: at the last look. */
function judge(byMs: number, wasWrong: boolean): Verdict {
  if (Math.abs(byMs) <= SMALL_MS) return 'right';
  if (byMs < 0) return 'behind';
  if (wasWrong) return 'on trial';
  return byMs <= LONGEST_SLEEP_MS ? 'slept' : 'set';
}

/** A wall clock that is ahead of the sure time, and not believed yet. */
interface Trial {
  readonly aheadMs: number;
  /** Of the monotonic clock: since when it has made no jump. */
  readonly since: number;
}

/**
 * The time by which keys end. A wall clock that is set wrong must not end the grace of every key at
 * once, nor bring an old one back: so it is read at the start, the monotonic one carries it on, and
 * what differs by more than a night's sleep is told, and not followed until a restart. At a start,
 * nobody knows how long the machine was off: where the wall clock is ahead of all that is stored,
 * or comes back from behind it, it is on trial. What ends by it is refused at once, as it may be
 * right, and is stored as ended only after it has run steadily for `STEADY_MS`.
 */
export function createSteadyClock({ clock, notBefore, onJump }: SteadyClockOptions) {
  const time = createTimeline(clock, notBefore);
  const jumps = createJumps(onJump);
  let trial: Trial | undefined;

  const follow = (): void => {
    trial = undefined;
    time.follow(clock.now());
    jumps.none();
  };
  /** A clock that jumped again begins its trial again. */
  const tryOut = (aheadMs: number): void => {
    const isSteady = trial !== undefined && Math.abs(aheadMs - trial.aheadMs) <= SMALL_MS;
    trial = { aheadMs, since: isSteady ? (trial?.since ?? 0) : clock.elapsed() };
    const wasTold = jumps.last() !== undefined;
    if (aheadMs <= LONGEST_SLEEP_MS) jumps.none();
    else jumps.tell({ byMs: aheadMs, followed: false, onTrial: true });
    if (clock.elapsed() - trial.since < STEADY_MS) return;
    follow();
    if (wasTold) onJump({ byMs: aheadMs, followed: true });
  };
  const look = (byMs: number): void => {
    const wasWrong = trial !== undefined || (jumps.last()?.byMs ?? 0) < 0;
    const verdict = judge(byMs, wasWrong);
    if (verdict === 'on trial') return void tryOut(byMs);
    if (verdict === 'right' || verdict === 'slept') follow();
    else trial = undefined;
    if (verdict !== 'right') jumps.tell({ byMs, followed: verdict === 'slept' });
  };

  const now = (): number => time.sure() + Math.floor(trial?.aheadMs ?? 0);
  const aheadMs = notBefore === 0 ? 0 : clock.now() - notBefore;
  if (aheadMs < 0 || aheadMs > SMALL_MS) time.follow(notBefore);
  if (aheadMs > SMALL_MS) tryOut(aheadMs);
  else if (aheadMs < 0) look(aheadMs);
  return {
    /**
     * Milliseconds since the epoch: what keys are refused by. It makes no jump that `onJump` did
     * not tell, and goes back only where a clock on trial is set right; never behind `sure()`.
     */
    now,
    /** `now()` that never goes back, for what counts how long something takes. */
    onward: createOnward(now, clock),
    /** What has come for certain, at most `now()`: ends are stored by it. Never goes back. */
    sure: time.sure,
    /** Compares with the wall clock; to be called about each second. */
    check: (): void => look(clock.now() - time.exact()),
    /** The jump that is not followed at present. */
    jump: jumps.last,
  };
}

/** Where the clock is set back, time goes on from where it was, as the monotonic clock says. */
function createOnward(now: () => number, { elapsed }: Clock): () => number {
  let last = 0;
  let at = elapsed();
  return () => {
    const passed = elapsed() - at;
    at += passed;
    last = Math.max(now(), last + passed);
    return Math.floor(last);
  };
}

/** An instant, the wall clock's at first, and the monotonic clock that carries it on. */
function createTimeline(clock: Clock, notBefore: number) {
  let base = clock.now();
  let since = clock.elapsed();
  let last = notBefore;
  const exact = (): number => base + clock.elapsed() - since;
  return {
    /** With fractions, and it may go back by what a time server corrects. */
    exact,
    sure(): number {
      last = Math.max(last, Math.floor(exact()));
      return last;
    },
    follow(to: number): void {
      base = to;
      since = clock.elapsed();
    },
  };
}

/** Tells each jump once, and remembers one that is not followed. */
function createJumps(onJump: (jump: ClockJump) => void) {
  let last: ClockJump | undefined;
  return {
    last: () => last,
    none(): void {
      last = undefined;
    },
    tell(jump: ClockJump): void {
      const isKnown = last !== undefined && Math.abs(last.byMs - jump.byMs) < SMALL_MS;
      last = jump.followed ? undefined : jump;
      if (!isKnown) onJump(jump);
    },
  };
}
