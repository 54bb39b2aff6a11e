import {
  hourOf,
  type UsageDatabase,
  type UsageGroup,
  type UsageRow,
  UsageStoreError,
} from '../store/usage-database.ts';
import type { AskUsage } from '../store/usage-thread.ts';
import { groupRows } from './report.ts';
import { sumOf } from './totals.ts';

/** Some 300 bytes each. Beyond it the oldest hours are forgotten. */
const MOST_ROWS = 20_000;

/** What `usage.db` is elsewhere, for as long as the process lives. */
export function createUsageMemory(): { readonly ask: AskUsage; close(): void } {
  /** In the order in which they came, so that those of the oldest hour are in front. */
  const rows = new Map<string, UsageRow>();
  let lastWrite: { readonly id: string; readonly at: number } | null = null;

  const add = (row: UsageRow): void => {
    const { hour, client, model, key, active } = row;
    const place = JSON.stringify([hour, client, model, key, active]);
    const known = rows.get(place);
    rows.set(place, known === undefined ? row : { ...row, ...sumOf([known, row]) });
    if (rows.size <= MOST_ROWS) return;
    const [oldest = ''] = rows.keys();
    rows.delete(oldest);
  };
  const memory: Omit<UsageDatabase, 'close'> = {
    write({ id, at, rows: added }) {
      if (id === lastWrite?.id) return;
      added.forEach(add);
      lastWrite = { id, at };
    },
    read: (query) => ({ groups: together(groupRows([...rows.values()], query)), lastWrite }),
    page() {
      throw new UsageStoreError('missing', 'there is no usage.db (SIDECAR_STATE=none)');
    },
    prune(before) {
      const old = [...rows].filter(([, { hour }]) => hour < hourOf(before));
      for (const [place] of old) rows.delete(place);
      return old.length;
    },
  };
  return {
    // Each verb is called with what it takes: the types of `ask` are those of the database.
    ask: (async (verb, ...args) =>
      await (memory[verb] as (...all: readonly unknown[]) => unknown)(...args)) as AskUsage,
    close: () => undefined,
  };
}

/** One group for each name, as a database gives them. */
function together(groups: readonly UsageGroup[]): readonly UsageGroup[] {
  const byName = new Map<string, UsageGroup>();
  for (const group of groups) {
    const name = JSON.stringify([group.name, group.active]);
    const known = byName.get(name);
    byName.set(name, known === undefined ? group : { ...group, ...sumOf([known, group]) });
  }
  return [...byName.values()];
}
