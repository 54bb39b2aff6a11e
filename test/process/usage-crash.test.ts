import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { type ServeProcess, serveProcess } from '../support/serve-process.ts';
import { saveUsage, sayUsage, usageOf } from '../support/usage.ts';

/** Sidecars beside each other, and how often each is killed. */
const [CHAINS, KILLS] = [5, 10];
const CONNECTIONS = 4;
/** So many answers come before a kill at most, and then so many milliseconds pass. */
const [MOST_ANSWERS, MOST_MS] = [150, 20];
/** What each answer says was used: `sayUsage`. */
const [INPUT, OUTPUT, COST] = [10, 20, 0.001];

/** A connection that a kill broke; every other error is one of this test. */
const byKill = (error: unknown): void => {
  if (!/^(?:ECONNRESET|ECONNREFUSED|EPIPE)$/.test(String(Reflect.get(Object(error), 'code')))) {
    throw error;
  }
};

/** Requests one after the other on each connection, until the sidecar is gone. */
async function load(sidecar: ServeProcess) {
  const { port, key } = await sidecar.ready();
  const headers = { authorization: `Bearer ${key}` };
  const seen = { sent: 0, answered: 0 };
  const enough = Math.ceil(Math.random() * MOST_ANSWERS);
  let go: () => void = () => undefined;
  const loaded = new Promise<void>((resolve) => {
    go = resolve;
  });
  const loop = async (): Promise<never> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (;;) {
      const asked = request({ agent, port, method: 'POST', path: '/v1/chat/completions', headers });
      seen.sent += 1;
      const [answer] = (await once(asked.end('{}'), 'response')) as [IncomingMessage];
      expect(answer.statusCode).toBe(200);
      await once(answer.resume(), 'end');
      seen.answered += 1;
      if (seen.answered === enough) go();
    }
  };
  const loops = Array.from({ length: CONNECTIONS }, () => loop().catch(byKill));
  // The last answer of a connection may be counted a moment after it has arrived.
  const counted = (): number => Math.max(0, seen.answered - CONNECTIONS);
  return { seen, counted, loaded, over: Promise.all(loops) };
}

/** Saves without a rest; what was counted before the last save that succeeded is in the file. */
function saveAlways(state: string, counted: () => number) {
  const saved = { certain: 0, times: 0 };
  const loop = async (): Promise<never> => {
    for (;;) {
      const before = counted();
      expect(await saveUsage({ state })).toMatchObject({ up: true });
      saved.certain = before;
      saved.times += 1;
    }
  };
  return { saved, over: loop().catch(byKill) };
}

async function requestsIn(state: string): Promise<number> {
  const { rows, total } = await usageOf({ state }, '?by=hour');
  const { requests } = total;
  expect(rows.reduce((sum, row) => sum + row.requests, 0)).toBe(requests);
  // No answer counts in part.
  expect(total).toMatchObject({
    ...{ metered: requests, unmetered: 0, errors: 0, unpriced: 0 },
    tokens: { input: INPUT * requests, output: OUTPUT * requests, cached: 0, reasoning: 0 },
  });
  expect(total.costUsd).toBeCloseTo(COST * requests, 6);
  return requests;
}

/** Starts, loads and kills a sidecar, again and again in one state folder. */
async function killAgainAndAgain(upstream: string, state: string) {
  const settings = {
    SIDECAR_UPSTREAM: upstream,
    SIDECAR_STATE: state,
    SIDECAR_LOG_FORMAT: 'json',
  };
  const sum = { stored: 0, lost: 0, saves: 0 };
  let [least, most] = [0, 0];
  for (let kill = 0; ; kill += 1) {
    const sidecar = await serveProcess(settings);
    try {
      await sidecar.ready();
      const found = await requestsIn(state);
      expect(found).toBeGreaterThanOrEqual(least);
      expect(found).toBeLessThanOrEqual(most);
      sum.stored = found;
      sum.lost += most - found;
      if (kill === KILLS) return sum;
      const { seen, counted, loaded, over } = await load(sidecar);
      const saves = saveAlways(state, counted);
      await loaded;
      await sleep(Math.random() * MOST_MS);
      sidecar.signal('SIGKILL');
      await Promise.all([sidecar.ended, over, saves.over]);
      [least, most] = [found + saves.saved.certain, found + seen.sent];
      sum.saves += saves.saved.times;
    } finally {
      await sidecar.clear();
    }
  }
}

test(`${CHAINS * KILLS} kills at random moments under load: nothing counts twice, nothing written is lost`, {
  timeout: 240_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-usage-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const upstream = await startFakeUpstream(sayUsage);
  onTestFinished(upstream.stop);
  const states = Array.from({ length: CHAINS }, (_, at) => join(folder, String(at)));
  const sums = await Promise.all(states.map((state) => killAgainAndAgain(upstream.url, state)));
  // There was something to lose, and to count twice.
  for (const { stored, saves } of sums) {
    expect(stored).toBeGreaterThan(KILLS);
    expect(saves).toBeGreaterThan(KILLS);
  }
});
