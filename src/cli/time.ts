import { setTimeout } from 'node:timers/promises';

/** Time as a command sees it: `cli.ts` takes the real one, a test its own. */
export interface Time {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Resolves after so many milliseconds, or at once where the signal was or is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemTime: Time = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    await setTimeout(ms, undefined, { ...(signal && { signal }) }).catch(() => undefined);
  },
};
