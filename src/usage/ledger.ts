import { isoOrNull } from '../config/units.ts';
import {
  hourOf,
  type UsageQuery,
  type UsageRow,
  type UsageStoreError,
  type UsageWrite,
} from '../store/usage-database.ts';
import type { AskUsage } from '../store/usage-thread.ts';
import { createTurns, createWakes } from '../turns.ts';
import { groupRows, reportOf, type UsageReport, type UsageStoreView } from './report.ts';
import { type DayUse, dayOf, type UsageTotals } from './totals.ts';

/** How it is with what is written, as a gauge reads it. */
export interface UsageStoreReading {
  /** The last write failed: what came since the one before is in memory alone. */
  readonly isBehind: boolean;
  /** Milliseconds since the epoch; undefined: nothing was written so far. */
  readonly lastWrittenAt: number | undefined;
  readonly pendingRows: number;
}

const WRITE_EVERY_MS = 60_000;
/** 500 rows take the serving thread half a millisecond; those beyond go with the next batch. */
const MOST_ROWS_A_BATCH = 500;

interface UsageLedgerOptions {
  readonly totals: UsageTotals;
  readonly ask: AskUsage;
  /** Milliseconds since the epoch: what time it is, and what has come for certain. */
  readonly now: () => number;
  readonly sure: () => number;
  /** Names a batch: no two processes may give the same name. */
  readonly newId: () => string;
  /** How long an hour is kept, in milliseconds. */
  readonly keepMs: number;
  /** Whether the state folder is still this process's. */
  readonly mayWrite: () => boolean;
  /** The store failed, for this reason; undefined: it works again. Each is told once. */
  readonly onStore: (error: UsageStoreError | undefined) => void;
}

export type UsageLedger = ReturnType<typeof createUsageLedger>;

/**
 * Takes the totals to the disk, once a minute and at the end, and adds up for a report what is in
 * the file and what is not. What a kill takes is what was not written: a minute at most.
 */
export function createUsageLedger(options: UsageLedgerOptions) {
  const { now } = options;
  const inTurn = createTurns();
  const batches = createBatches(options);
  const days = createToday(options);
  const prune = createPruning(options);
  let error: UsageStoreError | undefined;
  let lastWrittenAt: number | undefined;

  const tell = (failure: UsageStoreError | undefined): void => {
    if (failure?.message !== error?.message) options.onStore(failure);
    error = failure;
  };
  const write = async (): Promise<void> => {
    if (!options.mayWrite()) return;
    await days.load();
    await batches.send();
    lastWrittenAt = now();
    await prune();
  };
  const save = (): Promise<void> => inTurn(() => write().then(() => tell(undefined), tell));
  const store = (): UsageStoreView => ({
    ...{ up: error === undefined, error: error?.message ?? null },
    ...{ lastWrittenAt: isoOrNull(lastWrittenAt), pendingRows: batches.pending().length },
  });
  const saveIfAny = async (): Promise<void> => {
    if (batches.pending().length > 0) await save();
  };
  const wakes = createWakes(() => saveIfAny().then(() => WRITE_EVERY_MS));
  return {
    /** From now on it is written each minute. */
    start: wakes.start,
    /** Writes now; resolves to how it went. */
    save: () => save().then(store),
    /** The sums of file and memory; of memory alone where the file cannot be read. */
    report: (query: UsageQuery, isWanted = () => true): Promise<UsageReport> =>
      inTurn(() => readReport(options, query, { batches, store, isWanted })),
    reading: (): UsageStoreReading => {
      return {
        isBehind: error !== undefined,
        lastWrittenAt,
        pendingRows: batches.pending().length,
      };
    },
    /** Reads what was used today before this process, for `today`; true once it is known. */
    open: (): Promise<boolean> => inTurn(days.tryLoad),
    /** What a client used today (UTC); before `open` or the first write, since the start. */
    today: days.of,
    /** Writes what is left; resolves to how many rows are lost. */
    async close(): Promise<number> {
      wakes.close();
      await saveIfAny();
      return batches.pending().length;
    },
  };
}

interface ReportSources {
  readonly batches: Batches;
  readonly store: () => UsageStoreView;
  /** Asked when its turn has come: whether somebody still waits for the report. */
  readonly isWanted: () => boolean;
}

/**
 * Where the file cannot be read, the report is of what is in memory, and says so. Where nobody
 * wants it any more it is of nothing, so that no other and no write waits for it.
 */
async function readReport(
  { ask, now }: UsageLedgerOptions,
  query: UsageQuery,
  { batches, store, isWanted }: ReportSources,
): Promise<UsageReport> {
  if (!isWanted()) return reportOf(query, [], { now: now(), store: store() });
  try {
    const { groups, lastWrite } = await ask('read', query);
    // A batch that is in the file though nobody heard of it is not added to what the file says.
    const here = groupRows(batches.pending(lastWrite?.id), query);
    const lastWrittenAt =
      store().lastWrittenAt ?? isoOrNull(lastWrite ? lastWrite.at * 1000 : undefined);
    return reportOf(query, [...groups, ...here], {
      now: now(),
      store: { ...store(), lastWrittenAt },
    });
  } catch (failure) {
    const view = { ...store(), up: false, error: (failure as UsageStoreError).message };
    return reportOf(query, groupRows(batches.pending(), query), { now: now(), store: view });
  }
}

/** Removes what is older than it is kept, once an hour. */
function createPruning({ ask, sure, keepMs }: UsageLedgerOptions): () => Promise<void> {
  let prunedAt = 0;
  return async () => {
    // By the sure time: a clock that is set to next year must not remove this one.
    const hour = hourOf(sure() / 1000);
    if (hour === prunedAt) return;
    await ask('prune', hour - Math.floor(keepMs / 1000));
    prunedAt = hour;
  };
}

type Batches = ReturnType<typeof createBatches>;

/**
 * What was taken from the totals, until it is known to be in the file. A batch has a name, which
 * stands in the file from the same transaction on: one whose end nobody heard of is sent again, as
 * it was, and counts once. Nothing newer is sent before.
 */
function createBatches({ totals, ask, now, newId }: UsageLedgerOptions) {
  let batches: readonly UsageWrite[] = [];
  const take = (): void => {
    const rows = totals.take();
    const at = Math.floor(now() / 1000);
    batches = Array.from({ length: Math.ceil(rows.length / MOST_ROWS_A_BATCH) }, (_, nth) => {
      const from = nth * MOST_ROWS_A_BATCH;
      return { id: newId(), at, rows: rows.slice(from, from + MOST_ROWS_A_BATCH) };
    });
  };
  const sendTaken = async (): Promise<void> => {
    for (const batch of batches) {
      await ask('write', batch);
      batches = batches.filter((each) => each !== batch);
    }
  };
  return {
    /** Rejects with `UsageStoreError`. */
    async send(): Promise<void> {
      await sendTaken();
      take();
      await sendTaken();
    },
    /** Rows that are not known to be in the file; `lastId`: this batch was the last one in it. */
    pending: (lastId?: string): readonly UsageRow[] => [
      ...batches.filter(({ id }) => id !== lastId).flatMap(({ rows }) => rows),
      ...totals.pending(),
    ],
  };
}

/** What each client used today; of the time before this process, read before it writes itself. */
function createToday({ ask, now, totals }: UsageLedgerOptions) {
  let before: { readonly day: number; readonly used: ReadonlyMap<string, DayUse> } | undefined;
  const load = async (): Promise<void> => {
    if (before !== undefined) return;
    const day = dayOf(now() / 1000);
    const { groups } = await ask('read', { by: 'client', from: day });
    const used = groups.map(({ name, input, output, costUsd }): [string, DayUse] => [
      String(name),
      { tokens: input + output, costUsd },
    ]);
    before = { day, used: new Map(used) };
  };
  return {
    load,
    tryLoad: (): Promise<boolean> =>
      load().then(
        () => true,
        () => false,
      ),
    of(client: string): DayUse {
      const stored = before?.day === dayOf(now() / 1000) ? before.used.get(client) : undefined;
      const since = totals.today(client);
      return {
        tokens: (stored?.tokens ?? 0) + since.tokens,
        costUsd: (stored?.costUsd ?? 0) + since.costUsd,
      };
    },
  };
}
