import type { Clock } from '../clock.ts';

/** How the wall clock left the time that has really passed. */
export interface ClockJump {
  /** Milliseconds; positive: forward. */
  readonly byMs: number;
  /** Whether keys follow: a jump that is not followed moves no deadline. */
  readonly followed: boolean;
}

export type SteadyClock = ReturnType<typeof createSteadyClock>;

interface SteadyClockOptions {
  readonly clock: Clock;
  /** What the keyring saw last: time does not begin before it. */
  readonly notBefore: number;
  readonly onJump: (jump: ClockJump) => void;
}

/** What time servers correct in a running system; it is followed without a word. */
const SMALL_MS = 60_000;
/** A machine that slept: its monotonic clock stood still, and the time has really passed. */
const LONGEST_SLEEP_MS = 24 * 3_600_000;

/**
 * The time by which keys end. A wall clock that is set wrong must not end the grace of every key at
 * once, nor bring an old one back: so it is read at the start, the monotonic one carries it on, and
 * what differs by more than a night's sleep is told, and not followed until a restart.
 */
export function createSteadyClock({ clock, notBefore, onJump }: SteadyClockOptions) {
  const wall = clock.now();
  let base = Math.max(wall, notBefore);
  let since = clock.elapsed();
  let last = base;
  let unfollowed: ClockJump | undefined;

  const now = (): number => {
    last = Math.max(last, Math.floor(base + clock.elapsed() - since));
    return last;
  };
  const follow = (to: number): void => {
    base = to;
    since = clock.elapsed();
  };
  const tell = (jump: ClockJump): void => {
    const known = unfollowed !== undefined && Math.abs(unfollowed.byMs - jump.byMs) < SMALL_MS;
    unfollowed = jump.followed ? undefined : jump;
    if (!known) onJump(jump);
  };
  if (notBefore - wall > SMALL_MS) tell({ byMs: wall - notBefore, followed: false });

  return {
    /** Milliseconds since the epoch. Never goes back; makes no jump that `onJump` did not tell. */
    now,
    /** Compares with the wall clock; to be called about each second. */
    check(): void {
      const at = clock.now();
      const byMs = at - (base + clock.elapsed() - since);
      if (Math.abs(byMs) <= SMALL_MS) {
        unfollowed = undefined;
        follow(at);
      } else if (byMs > 0 && byMs <= LONGEST_SLEEP_MS) {
        tell({ byMs, followed: true });
        follow(at);
      } else {
        tell({ byMs, followed: false });
      }
    },
    /** The jump that is not followed at present. */
    jump: () => unfollowed,
  };
}
