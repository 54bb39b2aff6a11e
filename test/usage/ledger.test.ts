import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createUsageDatabase, UsageStoreError } from '../../src/store/usage-database.ts';
import type { AskUsage } from '../../src/store/usage-thread.ts';
import { createUsageLedger } from '../../src/usage/ledger.ts';
import { createUsageTotals } from '../../src/usage/totals.ts';
import { HOUR, usageEvent } from './rows.ts';

const Sql = createRequire(import.meta.url)('libsql');

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecar-ledger-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What befalls the next questions: nothing, a no, or silence after it was done. */
type Fate = 'answered' | 'refused' | 'unheard';

const DAY = 86_400_000;
const ALL = { by: 'client', from: 0 } as const;
let batch = 0;

/** One process after another on one file, each with its memory. */
function open({ at = HOUR * 1000, keepMs = 400 * DAY, path = join(folder, 'usage.db') } = {}) {
  const clock = { now: at, sure: at };
  const fates: Fate[] = [];
  const told: (string | undefined)[] = [];
  const asked: string[] = [];
  const database = createUsageDatabase({ path, busyMs: 20 });
  const ask = (async (verb: 'write', ...args: Parameters<typeof database.write>) => {
    const fate = fates.shift() ?? 'answered';
    asked.push(verb);
    await Promise.resolve();
    if (fate === 'refused') throw new UsageStoreError('busy', 'it is locked');
    const result = database[verb](...args);
    if (fate === 'unheard') throw new UsageStoreError('failed', 'nobody heard of it');
    return result;
  }) as unknown as AskUsage;
  const totals = createUsageTotals({ now: () => clock.now, isActive: () => true });
  const may = { write: true };
  const ledger = createUsageLedger({
    ...{ totals, ask, keepMs, now: () => clock.now, sure: () => clock.sure },
    newId: () => `batch-${++batch}`,
    mayWrite: () => may.write,
    onStore: (error) => told.push(error?.message),
  });
  const requests = async (): Promise<number> => (await ledger.report(ALL)).total.requests;
  return { clock, fates, told, asked, may, ledger, requests, database, add: totals.add };
}

describe('the ledger', () => {
  it('reports what is in the file and what is not, and each once', async () => {
    const { ledger, add, requests } = open();
    for (let times = 0; times < 3; times += 1) {
      add(usageEvent());
      expect(await requests()).toBe(2 * times + 1);
      expect(await ledger.save()).toMatchObject({ up: true, error: null, pendingRows: 0 });
      add(usageEvent());
      expect(await requests()).toBe(2 * times + 2);
    }
    expect(ledger.reading()).toEqual({
      ...{ isBehind: false, lastWrittenAt: HOUR * 1000, pendingRows: 1 },
    });
  });

  it('keeps what could not be written, tells so once, and writes it the next time', async () => {
    const { ledger, add, fates, told, requests, database } = open();
    add(usageEvent());
    await ledger.save();
    add(usageEvent());
    for (let times = 0; times < 3; times += 1) {
      fates.push('refused');
      expect(await ledger.save()).toMatchObject({ up: false, error: 'it is locked' });
      add(usageEvent());
    }
    expect(ledger.reading()).toMatchObject({ isBehind: true, pendingRows: 2 });
    expect(await requests()).toBe(5);
    expect(await ledger.save()).toMatchObject({ up: true, pendingRows: 0 });
    expect(told).toEqual(['it is locked', undefined]);
    expect(database.page(undefined, 9)).toMatchObject([{ requests: 5, costUsd: 0.005 }]);
  });

  it('counts a batch once whose end nobody heard of, in the report too', async () => {
    const { ledger, add, fates, requests, database } = open();
    await ledger.open();
    add(usageEvent());
    fates.push('unheard');
    await ledger.save();
    add(usageEvent({ model: 'mock' }));
    expect(await requests()).toBe(2);
    await ledger.save();
    expect(await requests()).toBe(2);
    expect(database.page(undefined, 9).map((row) => row.requests)).toEqual([1, 1]);
  });

  it('reports of its memory alone where the file cannot be read', async () => {
    const { ledger, add, fates } = open();
    add(usageEvent());
    fates.push('refused');
    const report = await ledger.report(ALL);
    expect(report.total.requests).toBe(1);
    expect(report.store).toMatchObject({ up: false, error: 'it is locked', pendingRows: 1 });
  });

  it('reads nothing for who has left before its turn came', async () => {
    const { ledger, add, asked } = open();
    add(usageEvent());
    let isThere = true;
    const reports = [ledger.report(ALL), ledger.report(ALL, () => isThere)];
    isThere = false;
    const [first, second] = await Promise.all(reports);
    expect(asked).toEqual(['read']);
    expect([first?.total.requests, second?.total.requests]).toEqual([1, 0]);
  });

  it('writes many rows in several batches', async () => {
    const { ledger, add, asked, database } = open();
    for (let key = 0; key < 1201; key += 1) add(usageEvent({ generation: `ci-${key}` }));
    await ledger.save();
    expect(asked.filter((verb) => verb === 'write')).toHaveLength(3);
    expect(database.page(undefined, 9999)).toHaveLength(1201);
  });

  it('asks nothing where there is nothing to write', async () => {
    const { ledger, asked } = open();
    ledger.start();
    expect(await ledger.close()).toBe(0);
    expect(asked).toEqual([]);
  });

  it('writes at its end, and says what is lost where it cannot', async () => {
    const first = open();
    first.add(usageEvent());
    expect(await first.ledger.close()).toBe(0);
    const second = open();
    second.add(usageEvent());
    second.fates.push('refused');
    expect(await second.ledger.close()).toBe(1);
    expect(await open().requests()).toBe(1);
  });

  it('writes nothing into a folder that another process has taken', async () => {
    const { ledger, add, may, asked } = open();
    add(usageEvent());
    may.write = false;
    await ledger.save();
    expect(asked).toEqual([]);
    expect(ledger.reading().pendingRows).toBe(1);
  });

  it('forgets what is too old, by the time that is sure', async () => {
    const { ledger, add, clock, database } = open({ keepMs: 2 * DAY });
    const save = async (days: number, sure: number): Promise<readonly number[]> => {
      clock.now = HOUR * 1000 + days * DAY;
      clock.sure = HOUR * 1000 + sure * DAY;
      add(usageEvent());
      await ledger.save();
      return database.page(undefined, 99).map(({ hour }) => (hour - HOUR) / 86_400);
    };
    expect(await save(0, 0)).toEqual([0]);
    expect(await save(2, 2)).toEqual([0, 2]);
    // A clock that is set ten years ahead, and not believed.
    expect(await save(3650, 2)).toEqual([0, 2, 3650]);
    expect(await save(3, 3)).toEqual([2, 3, 3650]);
  });

  it('goes on in memory where the file is of a newer sidecar', async () => {
    const path = join(folder, 'usage.db');
    const newer = new Sql(path);
    newer.exec('PRAGMA user_version = 2; CREATE TABLE usage (theirs)');
    newer.close();
    const { ledger, add, requests, told } = open();
    add(usageEvent());
    const error = `${path} is of a newer sidecar: it is left alone`;
    for (let times = 0; times < 2; times += 1) {
      expect(await ledger.save()).toMatchObject({ up: false, error, pendingRows: 1 });
    }
    expect(told).toEqual([error]);
    expect(await requests()).toBe(1);
  });
});

describe('what a client used today', () => {
  it('counts the processes before, once', async () => {
    const before = open();
    before.add(usageEvent());
    before.add(usageEvent({ client: 'master', generation: 'master-1' }));
    await before.ledger.close();
    const { ledger, add, clock } = open({ at: (HOUR + 3600) * 1000 });
    add(usageEvent());
    expect(ledger.today('ci')).toEqual({ tokens: 30, costUsd: 0.001 });
    expect(await ledger.open()).toBe(true);
    expect(ledger.today('ci')).toEqual({ tokens: 60, costUsd: 0.002 });
    await ledger.save();
    add(usageEvent());
    await ledger.save();
    expect(ledger.today('ci')).toEqual({ tokens: 90, costUsd: 0.003 });
    expect(ledger.today('master')).toEqual({ tokens: 30, costUsd: 0.001 });
    clock.now += DAY;
    expect(ledger.today('ci')).toEqual({ tokens: 0, costUsd: 0 });
  });

  it('is read before the first write, even where that is tried twice', async () => {
    const before = open();
    before.add(usageEvent());
    await before.ledger.close();
    const { ledger, add, fates } = open();
    add(usageEvent());
    fates.push('refused');
    expect(await ledger.open()).toBe(false);
    await ledger.save();
    expect(ledger.today('ci')).toEqual({ tokens: 60, costUsd: 0.002 });
  });
});

it('whatever fails and whoever is killed, nothing counts twice, and only a kill loses', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant('request' as const) },
    { weight: 3, arbitrary: fc.constantFrom<Fate>('answered', 'refused', 'unheard') },
    { weight: 1, arbitrary: fc.constantFrom('report' as const, 'kill' as const) },
  );
  let nth = 0;
  const run = async (steps: readonly ('request' | 'report' | 'kill' | Fate)[]): Promise<void> => {
    nth += 1;
    const path = join(folder, `${nth}.db`);
    let process = open({ path });
    // What was counted, and how much of it is in the file for certain.
    let [counted, stored] = [0, 0];
    const acts = {
      request() {
        process.add(usageEvent());
        counted += 1;
      },
      async report() {
        expect(await process.requests()).toBe(counted);
      },
      async kill() {
        process.database.close();
        process = open({ path });
        const found = await process.requests();
        expect(found).toBeGreaterThanOrEqual(stored);
        expect(found).toBeLessThanOrEqual(counted);
        counted = found;
      },
    };
    const save = async (fate: Fate): Promise<void> => {
      await process.ledger.open();
      process.fates.push(fate);
      await process.ledger.save();
      process.fates.length = 0;
      if (process.ledger.reading().pendingRows === 0) stored = counted;
    };
    for (const each of steps) await (each in acts ? acts[each as 'kill']() : save(each as Fate));
    await save('answered');
    expect(process.ledger.reading().pendingRows).toBe(0);
    expect(await open({ path }).requests()).toBe(counted);
  };
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), run), { numRuns: 20 });
});
