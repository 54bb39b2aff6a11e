import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { addClient } from '../support/admin.ts';
import { post } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { serveProcess } from '../support/serve-process.ts';
import { saveUsage, sayUsage, usageOf } from '../support/usage.ts';

/** Starts sidecars, one after the other, on one state folder; each answer costs a tenth of a cent. */
async function openStage() {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-limits-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const upstream = await startFakeUpstream(sayUsage);
  onTestFinished(upstream.stop);
  const state = join(folder, 'state');
  const start = async () => {
    const sidecar = await serveProcess({
      ...{ SIDECAR_UPSTREAM: upstream.url, SIDECAR_STATE: state, SIDECAR_LOG_FORMAT: 'json' },
      SIDECAR_DRAIN_DELAY: '0',
    });
    onTestFinished(sidecar.clear);
    return { ...sidecar, ...(await sidecar.ready()) };
  };
  return { state, start };
}

/** Asks one after the other until the budget is spent; resolves to how many were answered. */
async function spendAll(place: { port: number; key: string }): Promise<number> {
  for (let answered = 0; ; ) {
    const { response } = await post(place);
    if (response.statusCode === 200) answered += 1;
    else expect(response.headers['x-sidecar-refusal']).toBe('rate_limited');
    // Else the one before may not be over yet.
    if (response.headers['x-should-retry'] === 'false') return answered;
  }
}

async function spend(place: { port: number; key: string }, state: string, times: number) {
  const { total } = await usageOf({ state });
  for (let nth = 0; nth < times; nth += 1) await post(place);
  // An answer may arrive a moment before it is counted.
  while ((await usageOf({ state })).total.requests < total.requests + times);
}

test('a kill forgets of a budget what came after the last write, and no more', async () => {
  const { state, start } = await openStage();
  const first = await start();
  const { as: ci } = await addClient(
    { state, port: first.port },
    {
      ...{ name: 'ci', limits: { usdPerDay: 0.01 } },
    },
  );
  await spend(ci, state, 5);
  expect(await saveUsage({ state })).toMatchObject({ up: true });
  await spend(ci, state, 2);
  first.signal('SIGKILL');
  await first.ended;
  const second = await start();
  expect(await spendAll({ ...ci, port: second.port })).toBe(5);
  // An end in peace forgets nothing.
  second.signal('SIGTERM');
  await second.ended;
  const third = await start();
  expect(await spendAll({ ...ci, port: third.port })).toBe(0);
});

test('where usage.db cannot be read, it serves, says so, and counts from its start', async () => {
  const { state, start } = await openStage();
  const first = await start();
  const { as: ci } = await addClient(
    { state, port: first.port },
    {
      ...{ name: 'ci', limits: { tokensPerDay: 60 } },
    },
  );
  expect(await spendAll(ci)).toBe(2);
  first.signal('SIGTERM');
  await first.ended;
  await rm(join(state, 'usage.db'), { force: true });
  await mkdir(join(state, 'usage.db'));
  const second = await start();
  await second.says(/their budgets begin anew until usage\.db can be read/);
  expect(await spendAll({ ...ci, port: second.port })).toBe(2);
});
