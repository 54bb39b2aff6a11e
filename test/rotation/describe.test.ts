import { expect, it } from 'vitest';
import type { GenerationUse, Tombstone } from '../../src/keyring/keyring.ts';
import { generationView } from '../../src/rotation/describe.ts';

const ENDED: Tombstone = {
  ...{ client: 'ci', number: 1, digest: 'd', state: 'retired', origin: 'made' },
  ...{ createdAt: 1000, publishedAt: 1000, endedAt: 9000, clockStarted: true },
} as Tombstone;

const caller = (firstAt: number, lastAt: number) => ({
  ...{ address: '10.0.0.1', userAgent: 'curl/8', firstAt, lastAt, count: 1 },
});

const seenIn = (use: GenerationUse | undefined) =>
  generationView('ci', ENDED, {
    ...{ now: () => 10_000, use: () => use, inFlight: () => 0, targets: () => [] },
    unlisted: () => [],
    limitUse: () => {
      throw new Error('not asked');
    },
    schedule: { everyMs: 0 } as never,
  });

it('says when a key was used first, whichever of its callers came first', () => {
  const use = { lastAt: 8000, count: 3, callers: [caller(5000, 8000), caller(2000, 3000)] };
  expect(seenIn(use).firstUsedAt).toBe('1970-01-01T00:00:02.000Z');
});

it('does not say it where the key was never used, or its callers are not known', () => {
  expect(seenIn(undefined).firstUsedAt).toBeNull();
  expect(seenIn({ lastAt: 8000, count: 3, callers: [] }).firstUsedAt).toBeNull();
});
