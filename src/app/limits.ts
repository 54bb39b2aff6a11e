import { setTimeout as sleep } from 'node:timers/promises';
import type { Keyring } from '../keyring/keyring.ts';
import { createLimits } from '../proxy/limits.ts';
import type { Keys } from '../rotation/keys.ts';
import type { LimitReadings } from '../telemetry/limit-families.ts';
import type { AppOptions, Base } from './base.ts';
import type { HourlyUsage } from './usage.ts';

/** Milliseconds: longer than a disk that is well takes to tell what was used today. */
const OPEN_WITHIN_MS = 5000;

/** What clients with limits use of them. */
export type ClientLimitsHere = ReturnType<typeof buildLimits>;

export function buildLimits(
  { log, clock }: AppOptions,
  { metrics }: Base,
  { keys, usage }: { readonly keys: Keys; readonly usage: HourlyUsage },
) {
  const limits = createLimits({
    ...{ now: keys.now, elapsed: clock.elapsed, spentToday: usage.today },
    onReached: metrics.events.onLimit,
  });
  let opened: Promise<boolean> | undefined;
  /** Budgets go on where they were before this process: reads that once, where there is one. */
  const open = async (): Promise<void> => {
    if (opened !== undefined || !hasBudgets(keys.keyring())) return;
    opened = usage.open();
    const isKnown = await Promise.race([opened, sleep(OPEN_WITHIN_MS, false, { ref: false })]);
    if (!isKnown) log.error({}, UNKNOWN);
  };
  const readings: LimitReadings['limits'] = function* () {
    for (const { name, limits: set, removed } of keys.keyring().clients.values()) {
      if (set === undefined || removed) continue;
      yield { client: name, limits: set, use: limits.useOf(name) };
    }
  };
  return {
    limits,
    /** To be awaited before the first request: it takes the disk's time, and at most 5 s. */
    open,
    /** The keyring has changed. */
    follow(): void {
      const { clients } = keys.keyring();
      limits.keep((client) => clients.get(client)?.removed === false);
      void open();
    },
    readings,
  };
}

const UNKNOWN =
  'what clients used today before this start is not known yet: their budgets begin anew until ' +
  'usage.db can be read';

const hasBudgets = ({ clients }: Keyring): boolean =>
  [...clients.values()].some(
    ({ limits, removed }) =>
      !removed && (limits?.tokensPerDay !== undefined || limits?.usdPerDay !== undefined),
  );
