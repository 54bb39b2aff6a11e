import type { Server } from 'node:http';
import type { WatchedClock } from '../clock.ts';

/** Milliseconds, above 0. */
type Limits = Partial<Record<'headersTimeout' | 'requestTimeout', number>>;

/**
 * Node watches over the time of heads and requests by a clock of its own, with the limits that it
 * reads here each second. Whoever was sending when this process paused has that much longer.
 */
export function excusePauses(server: Server, limits: Limits, watched: WatchedClock): void {
  for (const [name, limitMs] of Object.entries(limits)) {
    let known = 0;
    let excusedMs = 0;
    let until = 0;
    const get = (): number => {
      const now = watched.elapsed();
      const missedMs = watched.missedMs();
      if (now >= until) excusedMs = 0;
      if (missedMs > known) {
        excusedMs += missedMs - known;
        known = missedMs;
        until = now + limitMs;
      }
      return limitMs + excusedMs;
    };
    Object.defineProperty(server, name, { get });
  }
}
