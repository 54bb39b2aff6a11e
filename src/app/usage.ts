import { randomUUID } from 'node:crypto';
import { idOf, type Keyring } from '../keyring/keyring.ts';
import type { Keys } from '../rotation/keys.ts';
import type { UsageTeller } from '../servers/admin/api.ts';
import { createUsageLedger } from '../usage/ledger.ts';
import { reportOf, secondsOf, type UsageStoreView } from '../usage/report.ts';
import { createUsageTotals } from '../usage/totals.ts';
import type { AppOptions } from './base.ts';
import type { State } from './state.ts';

const SINCE = { ms: 7 * 86_400_000 };

/** Requests, tokens and cost by hour: counted in memory, kept in `usage.db`. */
export type HourlyUsage = ReturnType<typeof openUsage>;

export function openUsage(
  { config, log }: AppOptions,
  keys: Keys,
  { mayWrite, usage }: Pick<State, 'mayWrite' | 'usage'>,
) {
  const { usageKeepMs: keepMs } = config;
  const { now, sure } = keys;
  const { lacks } = usage;
  const told = (store: UsageStoreView): UsageStoreView =>
    lacks === undefined ? store : { ...store, up: false, error: lacks, lastWrittenAt: null };
  const totals = createUsageTotals({ now, isActive: activeKeys(keys.keyring) });
  const ledger = createUsageLedger({
    ...{ totals, ask: usage.ask, now, sure, newId: randomUUID, keepMs, mayWrite },
    onStore(error) {
      if (error === undefined) log.info({}, 'usage is written again, all of it');
      else log.error({ fault: error.fault }, `usage is kept in memory: ${error.message}`);
    },
  });
  const isOn = keepMs > 0;
  const reader: UsageTeller = {
    report({ by = 'client', since = SINCE, client, model }, isWanted) {
      const query = { by, from: secondsOf(since, now()), client, model };
      if (isOn) {
        const report = ledger.report(query, isWanted);
        return report.then((all) => ({ ...all, store: told(all.store) }));
      }
      return Promise.resolve(reportOf(query, [], { now: now(), store: SWITCHED_OFF }));
    },
    save: () => (isOn ? ledger.save().then(told) : Promise.resolve(SWITCHED_OFF)),
  };
  return {
    ...reader,
    /** Called with each request that is over; neither waits nor throws. */
    add: isOn ? totals.add : totals.addToday,
    /** Writes each minute from now on. */
    start: isOn ? ledger.start : (): void => undefined,
    /** For the gauges: how far the file is behind, where there is one. */
    readings: isOn && lacks === undefined ? { usageStore: ledger.reading } : {},
    /** Reads what was used today before this process; true once that is known. */
    open: isOn ? ledger.open : (): Promise<boolean> => Promise.resolve(true),
    /** What a client used today (UTC). */
    today: ledger.today,
    /** Writes what is left. */
    async close(): Promise<void> {
      const lost = await ledger.close();
      usage.close();
      if (lost > 0) log.error({ rows: lost }, 'usage that could not be written is lost');
    },
  };
}

const SWITCHED_OFF: UsageStoreView = {
  ...{ up: false, error: 'usage is not kept: SIDECAR_USAGE_KEEP is 0' },
  ...{ lastWrittenAt: null, pendingRows: 0 },
};

/** Whether a key is its client's active one, by its id; the keyring is read where it changed. */
function activeKeys(keyring: () => Keyring): (id: string) => boolean {
  let known: Keyring | undefined;
  let ids: ReadonlySet<string> = new Set();
  return (id) => {
    if (known !== keyring()) {
      known = keyring();
      ids = new Set(
        [...known.clients.values()].flatMap(({ name, generations }) =>
          generations
            .filter(({ state }) => state === 'active')
            .map(({ number }) => idOf(name, number)),
        ),
      );
    }
    return ids.has(id);
  };
}
