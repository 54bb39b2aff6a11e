import type { RateLimiterMemory } from 'rate-limiter-flexible';
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
  let limiter: Promise<RateLimiterMemory> | undefined;
  return {
    async count(address) {
      try {
        // Loaded when it is needed: most sidecars start many times before somebody guesses.
        limiter ??= openLimiter(perMinute);
        await (await limiter).consume(limitKey(address));
        return undefined;
      } catch (rejection) {
        return secondsIn(rejection);
      }
    },
  };
}

async function openLimiter(points: number): Promise<RateLimiterMemory> {
  const { RateLimiterMemory } = await import('rate-limiter-flexible');
  return new RateLimiterMemory({ points, duration: 60 });
}

/** The library rejects with the state of the limit where it is reached. */
function secondsIn(rejection: unknown): number | undefined {
  if (typeof rejection !== 'object' || rejection === null) return undefined;
  if (!('msBeforeNext' in rejection)) return undefined;
  return Math.max(1, Math.ceil(Number(rejection.msBeforeNext) / 1000));
}
