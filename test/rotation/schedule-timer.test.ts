import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { EMPTY_KEYRING } from '../../src/keyring/keyring.ts';
import { createKeeper } from '../../src/rotation/keeper.ts';
import { createKeyTimer } from '../../src/rotation/schedule.ts';
import { createSteadyClock } from '../../src/rotation/steady-clock.ts';
import { createUsageTracker, endedLongAgo } from '../../src/rotation/use.ts';
import { createMemoryStore } from '../support/memory-store.ts';

const START = Date.UTC(2026, 0, 1);

beforeEach(() => {
  vi.useFakeTimers({ now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Keys whose time passes as a test says. */
async function running(everyMs = 0) {
  const store = createMemoryStore();
  const clock = createSteadyClock({
    clock: { now: Date.now, elapsed: () => performance.now() },
    notBefore: 0,
    onJump: () => undefined,
  });
  const retired: string[] = [];
  const keeper = createKeeper({
    store,
    stored: { keyring: EMPTY_KEYRING, version: 0 },
    now: clock.now,
    sure: clock.sure,
    onStore: () => undefined,
    mayWrite: () => true,
  });
  keeper.subscribe((events) => {
    for (const event of events) if (event.kind === 'retired') retired.push(event.generation);
  });
  let made = 0;
  const rotate = async (graceMs: number): Promise<void> => {
    made += 1;
    const common = { kind: 'stage', client: 'master', origin: 'made', source: undefined } as const;
    const rest = { maxGraceMs: 3_600_000, compromised: false, idempotency: undefined };
    await keeper.change(
      [
        { ...common, ...rest, digest: digestOf(`key ${made}`), graceMs },
        { kind: 'commit', client: 'master', published: true },
      ],
      'cli:a',
    );
  };
  const master = {
    client: 'master',
    scopes: ['full'],
    allowFrom: [],
    namesEndUsers: true,
    limits: undefined,
    models: [],
  } as const;
  await keeper.change([{ kind: 'addClient', ...master, expiresAt: undefined }], 'cli:a');
  const usage = createUsageTracker({ now: clock.now, initial: new Map() });
  const saves: number[] = [];
  const scheduled: number[] = [];
  const outcome = { usage: true, rotation: true };
  await rotate(1000);
  const timer = createKeyTimer({
    ...{ keeper, clock, usage, schedule: { everyMs, clients: new Set(['master']) } },
    saveUsage: () => {
      usage.usage();
      saves.push(Date.now() - START);
      return Promise.resolve(outcome.usage);
    },
    rotate: async () => {
      scheduled.push(Date.now() - START);
      if (outcome.rotation) await rotate(1000);
    },
  });
  return { store, keeper, timer, usage, saves, scheduled, retired, rotate, outcome };
}

describe('by time alone', () => {
  it('a key retires when its end has come, not before', async () => {
    const { keeper, timer, rotate, retired } = await running();
    await rotate(5000);
    await keeper.change([{ kind: 'firstUse', client: 'master', number: 2 }], 'sidecar');
    await vi.advanceTimersByTimeAsync(4990);
    expect(retired).toEqual([]);
    await vi.advanceTimersByTimeAsync(20);
    expect(retired).toEqual(['master-1']);
    await timer.close();
  });

  it('the end of a client is stored once, so that no later start begins before it', async () => {
    const { store, keeper, timer } = await running();
    const expiresAt = Date.now() + 5000;
    const ci = {
      client: 'ci',
      scopes: ['inference'],
      allowFrom: [],
      namesEndUsers: false,
      limits: undefined,
      models: [],
    } as const;
    await keeper.change([{ kind: 'addClient', ...ci, expiresAt }], 'cli:a');
    await vi.advanceTimersByTimeAsync(4900);
    const before = store.stored?.version ?? 0;
    expect(store.stored?.keyring.sureAt).toBeLessThan(expiresAt);
    await vi.advanceTimersByTimeAsync(200);
    expect(store.stored?.keyring.sureAt).toBeGreaterThanOrEqual(expiresAt);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(store.stored?.version).toBe(before + 1);
    await timer.close();
  });

  it('use is saved each 30 s where there was any, again where that failed, and at the end', async () => {
    const { timer, usage, saves, outcome } = await running();
    usage.note('master-1', '10.0.0.1', 'a');
    await vi.advanceTimersByTimeAsync(29_000);
    expect(saves).toEqual([]);
    outcome.usage = false;
    await vi.advanceTimersByTimeAsync(2000);
    expect(saves).toHaveLength(1);
    outcome.usage = true;
    await vi.advanceTimersByTimeAsync(31_000);
    expect(saves).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(saves).toHaveLength(2);
    usage.note('master-1', '10.0.0.1', 'a');
    await timer.close();
    expect(saves).toHaveLength(3);
  });

  it('a rotation comes when it is due, and a minute after one that failed', async () => {
    const { timer, scheduled, outcome } = await running(10_000);
    outcome.rotation = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(scheduled).toHaveLength(1);
    expect(scheduled[0]).toBeGreaterThanOrEqual(10_000);
    expect(scheduled[0]).toBeLessThan(12_000);
    outcome.rotation = true;
    await vi.advanceTimersByTimeAsync(15_000);
    expect(scheduled).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_500);
    expect(scheduled).toHaveLength(3);
    await timer.close();
    await vi.advanceTimersByTimeAsync(100_000);
    expect(scheduled).toHaveLength(3);
  });

  it('use of keys that ended long ago is let go, but for the newest of them', async () => {
    const { keeper, timer, rotate } = await running();
    for (let turn = 0; turn < 5; turn++) await rotate(0);
    expect(endedLongAgo(keeper.keyring(), 2)).toEqual(['master-3', 'master-2', 'master-1']);
    await timer.close();
  });
});
