import { idOf } from '../keyring/keyring.ts';
import type { Keeper } from './keeper.ts';
import { dueClients, nextEnd, type Schedule } from './schedule.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { UsageTracker } from './usage-tracker.ts';

export interface WakesOptions {
  readonly keeper: Keeper;
  readonly clock: SteadyClock;
  readonly schedule: Schedule;
  readonly usage: UsageTracker;
  /** Resolves to whether it was saved; never rejects. */
  readonly saveUsage: () => Promise<boolean>;
  /** Rotates a client because its time has come; never rejects. */
  readonly rotateOnSchedule: (client: string) => Promise<void>;
}

export interface Wakes {
  /** A deadline was set: looks again when the next one is. */
  look(): void;
  /** Nothing happens by itself any more; use that was not saved yet is. */
  close(): Promise<void>;
}

/** The longest wait: the wall clock may jump, and a sleeping machine wakes late. */
const LOOK_EVERY_MS = 1000;
/** What a crash may lose of who used which key. */
const SAVE_USAGE_MS = 30_000;
/** A scheduled rotation that failed is tried again after it. */
const TRY_AGAIN_MS = 60_000;

/** What happens to keys by time alone: they retire, they rotate, and their use is saved. */
export function createWakes(options: WakesOptions): Wakes {
  const { keeper, clock, schedule, usage } = options;
  /** By client: no scheduled rotation is begun before it. */
  const notBefore = new Map<string, number>();
  let usageSavedAt = clock.now();
  let isUsageOwed = false;
  let timer: NodeJS.Timeout | undefined;
  let working: Promise<void> = Promise.resolve();
  let closed = false;

  const saveUsage = async (): Promise<void> => {
    usageSavedAt = clock.now();
    if (isUsageOwed || usage.changed()) isUsageOwed = !(await options.saveUsage());
  };
  const rotateDue = async (): Promise<void> => {
    const now = clock.now();
    for (const client of dueClients(keeper.keyring(), schedule, now)) {
      if ((notBefore.get(client) ?? 0) > now) continue;
      notBefore.set(client, now + TRY_AGAIN_MS);
      const before = activeNumber(client);
      await options.rotateOnSchedule(client);
      if (activeNumber(client) !== before) notBefore.delete(client);
    }
  };
  const activeNumber = (client: string): number | undefined =>
    keeper
      .keyring()
      .clients.get(client)
      ?.generations.findLast(({ state }) => state === 'active')?.number;
  const work = async (): Promise<void> => {
    clock.check();
    if (nextEnd(keeper.keyring()) <= clock.now()) {
      await keeper.change([{ kind: 'pass' }], 'sidecar', 'later');
    }
    await rotateDue();
    if (clock.now() - usageSavedAt >= SAVE_USAGE_MS) await saveUsage();
  };
  const plan = (): void => {
    if (closed) return;
    clearTimeout(timer);
    const wait = Math.min(LOOK_EVERY_MS, Math.max(1, nextEnd(keeper.keyring()) - clock.now()));
    timer = setTimeout(wake, wait).unref();
  };
  const wake = (): void => {
    working = work().then(plan, plan);
  };
  plan();

  return {
    look: plan,
    async close() {
      closed = true;
      clearTimeout(timer);
      await working;
      await saveUsage();
    },
  };
}

/** Ids of generations whose use is not worth keeping: long ended, and not the newest that ended. */
export function forgettable(keeper: Keeper, keep: number): readonly string[] {
  const ids: string[] = [];
  for (const { name, generations } of keeper.keyring().clients.values()) {
    const ended = generations.filter(({ endedAt }) => endedAt !== undefined);
    for (const { number } of ended.slice(0, Math.max(0, ended.length - keep))) {
      ids.push(idOf(name, number));
    }
  }
  return ids;
}
