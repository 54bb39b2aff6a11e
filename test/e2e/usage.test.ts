import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { addClient, rotate } from '../support/admin.ts';
import { outcomeOf, post } from '../support/ask.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages, eventually, series } from '../support/stage.ts';
import { saveUsage, sayUsage, usageOf } from '../support/usage.ts';

const Sql = createRequire(import.meta.url)('libsql');
const stage = createStages();

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sidecar-usage-'));
});
afterEach(() => rm(folder, { recursive: true }));

const start = async (settings = {}): Promise<Sidecar> => {
  const state = join(folder, 'state');
  const kept = { SIDECAR_USAGE_KEEP: '400d', SIDECAR_STATE: state, ...settings };
  return (await stage({ script: sayUsage, settings: kept })).sidecar;
};

/** A request that has been counted: that is done when its answer is over at the sidecar, too. */
async function count(sidecar: Sidecar, times = 1): Promise<void> {
  const before = sidecar.accessLines().length;
  for (let nth = 0; nth < times; nth += 1) await post(sidecar);
  await eventually(() => (sidecar.accessLines().length >= before + times ? true : undefined));
}

const namesAndCounts = async (sidecar: Sidecar, by: string) =>
  (await usageOf(sidecar, `?by=${by}`)).rows.map(({ name, active, requests, refusals }) => [
    name,
    ...(active === null ? [] : [active]),
    requests,
    refusals,
  ]);

const inFile = (): number => {
  const sql = new Sql(join(folder, 'state', 'usage.db'));
  const { all } = sql.prepare('SELECT sum(requests) AS "all" FROM usage').get() as { all: number };
  sql.close();
  return all;
};

describe('usage', () => {
  it('is counted by client, model and key, exact before and after it is written', async () => {
    const sidecar = await start();
    const { as: ci } = await addClient(sidecar, { name: 'ci' });
    await count(sidecar, 2);
    await count(ci, 3);
    expect(await outcomeOf({ ...sidecar, key: generateKey() })).toBe('401 unknown_key');
    const { as: rotated } = await rotate(ci, {}, { client: 'ci' });
    await count(ci);
    await count(rotated);
    for (let times = 0; times < 2; times += 1) {
      const { total } = await usageOf(sidecar);
      expect(total).toMatchObject({ requests: 8, refusals: 1, errors: 0, metered: 7, unpriced: 0 });
      expect(total.tokens).toMatchObject({ input: 70, output: 140 });
      expect(total.costUsd).toBeCloseTo(0.007, 12);
      expect(await namesAndCounts(sidecar, 'client')).toEqual([
        ['ci', 5, 0],
        ['master', 2, 0],
        [null, 1, 1],
      ]);
      expect(await namesAndCounts(sidecar, 'model')).toEqual([
        ['gpt-4o', 7, 0],
        [null, 1, 1],
      ]);
      expect(await namesAndCounts(sidecar, 'key')).toEqual([
        ['ci-1', true, 3, 0],
        ['master-1', true, 2, 0],
        ['ci-1', false, 1, 0],
        ['ci-2', true, 1, 0],
        [null, false, 1, 1],
      ]);
      expect(await saveUsage(sidecar)).toMatchObject({ up: true, error: null, pendingRows: 0 });
    }
    expect(inFile()).toBe(8);
  });

  it('outlives a restart, and what was not written is written at the end', async () => {
    const first = await start();
    await count(first, 2);
    await saveUsage(first);
    await count(first);
    await first.drain();
    expect(inFile()).toBe(3);
    const second = await start({ LITELLM_MASTER_KEY: first.key });
    await count(second);
    expect((await usageOf(second)).total.requests).toBe(4);
  });

  it('is not kept where that is not wanted', async () => {
    const sidecar = await start({ SIDECAR_USAGE_KEEP: '0' });
    await count(sidecar);
    const error = 'usage is not kept: SIDECAR_USAGE_KEEP is 0';
    expect((await usageOf(sidecar)).store).toMatchObject({ up: false, error });
    expect(await saveUsage(sidecar)).toMatchObject({ up: false, error });
    expect(await sidecar.metrics()).not.toContain('usage_store_up');
    await sidecar.drain();
    expect(await readdir(join(folder, 'state'))).not.toContain('usage.db');
  });

  it('locked by another program is kept in memory, told, and written later', async () => {
    const sidecar = await start();
    await count(sidecar);
    await saveUsage(sidecar);
    const sql = new Sql(join(folder, 'state', 'usage.db'));
    sql.exec('BEGIN EXCLUSIVE');
    await count(sidecar);
    const saved = saveUsage(sidecar);
    // Traffic does not wait for the lock: it is let go only after these were answered.
    await count(sidecar, 20);
    expect(await saved).toMatchObject({ up: false, error: expect.stringContaining('locked') });
    expect(await series(sidecar, 'usage_store_up')).toBe(0);
    expect(await series(sidecar, 'usage_pending_rows')).toBeGreaterThan(0);
    sql.exec('ROLLBACK');
    sql.close();
    expect((await usageOf(sidecar)).total.requests).toBe(22);
    expect(await saveUsage(sidecar)).toMatchObject({ up: true, pendingRows: 0 });
    expect(inFile()).toBe(22);
    const told = sidecar.logLines().filter(({ msg }) => /usage is/.test(msg));
    expect(told.map(({ level, fault }) => [level, fault])).toEqual([
      ['error', 'busy'],
      ['info', undefined],
    ]);
  });

  it('deleted while it runs is begun anew', async () => {
    const sidecar = await start();
    await count(sidecar);
    await saveUsage(sidecar);
    await rm(join(folder, 'state', 'usage.db'));
    await count(sidecar);
    expect(await saveUsage(sidecar)).toMatchObject({ up: true });
    expect(inFile()).toBe(1);
  });

  it('damaged is moved away with a word, and what is in memory is not lost', async () => {
    const sidecar = await start();
    await count(sidecar);
    await writeFile(join(folder, 'state', 'usage.db'), 'no database '.repeat(500));
    expect(await saveUsage(sidecar)).toMatchObject({ up: true });
    expect(inFile()).toBe(1);
    const [told] = sidecar.logLines().filter(({ msg }) => msg.includes('was damaged'));
    expect(told?.['where']).toBe(join(folder, 'state', 'usage.db.damaged-1'));
  });
});
