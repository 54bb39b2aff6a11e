import { expect, test } from 'vitest';
import { holdOn } from '../../src/cli/commands/wait.ts';
import { ago, DAY, HOUR, MINUTE, NOW, retiring, SECOND } from './fake-admin.ts';

const NOT_YET = { clockStarted: false } as const;

test.each([
  ['a retired key', { state: 'retired' }, DAY, 'ended'],
  ['a revoked key with a stream', { state: 'revoked', inFlight: 1 }, DAY, 'ended'],
  ['an active key', { state: 'active' }, DAY, 'returned'],
  ['a request under way, hours after its head', { inFlight: 1, lastUsedAt: ago(DAY) }, DAY, 'used'],
  ['a use just now', { lastUsedAt: ago(0) }, DAY, 'used'],
  ['a use less than a minute ago', { lastUsedAt: ago(59 * SECOND) }, DAY, 'used'],
  ['a minute without use, a newer key in use', { lastUsedAt: ago(MINUTE) }, MINUTE, 'free'],
  ['a minute without use, rotated just now', { lastUsedAt: ago(MINUTE) }, 59 * SECOND, 'idle'],
  ['nobody moved', { lastUsedAt: ago(HOUR - 1), ...NOT_YET }, DAY, 'idle'],
  ['an hour without use, nobody moved', { lastUsedAt: ago(HOUR), ...NOT_YET }, 0, 'free'],
  ['never used', { lastUsedAt: null, ...NOT_YET }, 0, 'free'],
  ['a use ahead of the clock', { lastUsedAt: ago(-MINUTE) }, DAY, 'used'],
] as const)('%s', (_name, over, rotatedMs, expected) => {
  expect(holdOn(retiring(over), NOW - rotatedMs, NOW)).toBe(expected);
});
