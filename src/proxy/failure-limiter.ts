import { networksOf } from './address.ts';

/** Counts failed authentications by address, so that guessing is slow and cheap to turn away. */
export interface FailureLimiter {
  /**
   * Counts one failure.
   *
   * @returns undefined below the limit, else the seconds until the address may fail again
   */
  count(address: string): number | undefined;
}

/** Failures since the first of them, for a minute. */
interface Row {
  failures: number;
  /** Milliseconds of the monotonic clock. */
  readonly endsAt: number;
}

const WINDOW_MS = 60_000;
/**
 * Rows at each width of network, about 150 bytes each. Who has more addresses than that is counted
 * by wider networks: 300,000 addresses cost 465 MB when each had a row of its own.
 */
const MOST_ROWS = 10_000;

/**
 * @param perMinute failures that an address may make in a minute; 0: no limit
 * @param elapsed milliseconds of the monotonic clock
 */
export function createFailureLimiter(perMinute: number, elapsed: () => number): FailureLimiter {
  if (perMinute === 0) return { count: () => undefined };
  /** In the order of their ends, as each lives equally long. */
  const widths: Map<string, Row>[] = [];

  const rowOf = (address: string, now: number): Row => {
    const networks = networksOf(address);
    for (const [width, network] of networks.entries()) {
      const rows = widths[width] ?? new Map<string, Row>();
      widths[width] = rows;
      forgetEnded(rows, now);
      const known = rows.get(network);
      if (known !== undefined) return known;
      const isWidest = width === networks.length - 1;
      if (rows.size >= MOST_ROWS && !isWidest) continue;
      const made = { failures: 0, endsAt: now + WINDOW_MS };
      rows.set(network, made);
      return made;
    }
    throw new Error('an address lies in no network');
  };

  return {
    count(address) {
      const now = elapsed();
      const row = rowOf(address, now);
      row.failures += 1;
      if (row.failures <= perMinute) return undefined;
      return Math.max(1, Math.ceil((row.endsAt - now) / 1000));
    },
  };
}

function forgetEnded(rows: Map<string, Row>, now: number): void {
  for (const [network, { endsAt }] of rows) {
    if (endsAt > now) return;
    rows.delete(network);
  }
}
