import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { limitKey } from './address.ts';

/** Counts failed authentications by address, so that guessing is slow and cheap to turn away. */
export interface FailureLimiter {
  /**
   * Counts one failure. Resolves to undefined below the limit, else to the seconds until the
   * address may fail again. Never rejects: a limiter that breaks lets the refusal stand as it is.
   */
  count(address: string): Promise<number | undefined>;
}

/** @param perMinute failures an address may make in a minute; 0: no limit */
export function createFailureLimiter(perMinute: number): FailureLimiter {
  if (perMinute === 0) return { count: async () => await Promise.resolve(undefined) };
  const limiter = new RateLimiterMemory({ points: perMinute, duration: 60 });
  return {
    async count(address) {
      try {
        await limiter.consume(limitKey(address));
        return undefined;
      } catch (rejection) {
        if (!(rejection instanceof RateLimiterRes)) return undefined;
        return Math.max(1, Math.ceil(rejection.msBeforeNext / 1000));
      }
    },
  };
}
