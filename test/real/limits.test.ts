import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { addClient, adminCall } from '../support/admin.ts';
import { createLitellm, type Litellm } from '../support/litellm.ts';
import { type ServeProcess, serveProcess } from '../support/serve-process.ts';
import { saveUsage, usageOf } from '../support/usage.ts';
import { runProgram } from './run-program.ts';

const REQUESTS = 1000;
/** Of the model `even`: LiteLLM's mock says 10 tokens read and 20 written. */
const PRICE = 0.01;
/** Of `dear`, which one request in ten asks for. */
const DEAR = 0.05;
const CAP = 1;
/** Answers: of the first wave, of sixteen, and of the second, a second later. */
const [SAVED_AFTER, KILLED_AFTER] = [10, 40];

const mock = (model_name: string, usd: number, mock_delay = 0) => ({
  model_name,
  litellm_params: {
    ...{ model: 'openai/gpt-4o', api_key: 'none', mock_response: 'Hello.' },
    ...{ mock_delay, input_cost_per_token: 0, output_cost_per_token: usd / 20 },
  },
});

/** What became of many requests that were begun at once. */
interface Run {
  readonly answered: number;
  /** US dollars, as LiteLLM priced what arrived. */
  readonly spent: number;
  /** Refusals that were final. */
  readonly refused: number;
}

describe(`${REQUESTS} requests at once on a budget of a dollar a day, to a real LiteLLM`, () => {
  const endings: (() => unknown)[] = [];
  const upstreamKey = generateKey();
  let litellm: Litellm;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sidecar-real-limits-'));
    endings.push(() => rm(folder, { recursive: true, force: true }));
    litellm = await createLitellm({
      ...{ folder: join(folder, 'litellm'), masterKey: upstreamKey, env: {} },
      config: {
        model_list: [mock('even', PRICE), mock('dear', DEAR), mock('slow', PRICE, 1)],
        router_settings: { num_retries: 0, disable_cooldowns: true },
        general_settings: { master_key: 'os.environ/LITELLM_MASTER_KEY' },
      },
    });
    endings.push(litellm.stop);
    await litellm.start();
  });
  afterAll(async () => {
    for (const end of endings.toReversed()) await end();
  });

  /** A sidecar on a state folder of this name, and its client `ci`, which is made once. */
  async function start(name: string) {
    const state = join(folder, name);
    const process: ServeProcess = await serveProcess({
      ...{ SIDECAR_UPSTREAM: litellm.url, SIDECAR_UPSTREAM_KEY: upstreamKey },
      ...{ SIDECAR_STATE: state, SIDECAR_LOG_FORMAT: 'json', SIDECAR_HOLD: '2m' },
    });
    endings.push(process.clear);
    return { process, state, port: (await process.ready()).port };
  }
  const limited = async (place: { state: string }): Promise<string> =>
    (await addClient(place, { name: 'ci', limits: { usdPerDay: CAP } })).key ?? '';

  /** All at once; who may try again does, as the SDK has it. */
  async function askAll(
    { port, key }: { port: number; key: string },
    modelOf: (nth: number) => string,
    onAnswer: (answered: number, leave: () => void) => void = () => undefined,
  ): Promise<Run> {
    const baseURL = `http://127.0.0.1:${port}/v1`;
    const sdk = new OpenAI({ apiKey: key, baseURL, maxRetries: 100 });
    const run = { answered: 0, spent: 0, refused: 0 };
    const leaving = new AbortController();
    setMaxListeners(0, leaving.signal);
    const ask = async (nth: number): Promise<void> => {
      const messages = [{ role: 'user' as const, content: `${nth}` }];
      const { response } = await sdk.chat.completions
        .create({ model: modelOf(nth), messages }, { signal: leaving.signal })
        .withResponse();
      run.answered += 1;
      run.spent += Number(response.headers.get('x-litellm-response-cost'));
      onAnswer(run.answered, () => leaving.abort());
    };
    const asked = Array.from({ length: REQUESTS }, (_, nth) =>
      ask(nth).catch((error: unknown) => {
        if (error instanceof OpenAI.RateLimitError) run.refused += 1;
        else if (!leaving.signal.aborted) throw error;
      }),
    );
    await Promise.all(asked);
    return run;
  }

  const told = async (place: { state: string }) => (await usageOf(place)).total;

  test('of one price: never more than the cap', async () => {
    const place = await start('even');
    const key = await limited(place);
    const run = await askAll({ ...place, key }, () => 'even');
    const { costUsd, metered, refusals } = await told(place);
    console.log('of one price:', { ...run, costUsd, metered, refusals });
    expect(costUsd).toBeCloseTo(run.spent, 6);
    expect(run.spent).toBeLessThanOrEqual(CAP + 1e-9);
    expect(run).toMatchObject({ answered: CAP / PRICE, refused: REQUESTS - CAP / PRICE });
    await holdSdks(place, key);
  });

  /** The SDKs do not try again where the budget is spent, and do after the `Retry-After` of rpm. */
  async function holdSdks(place: Awaited<ReturnType<typeof start>>, key: string): Promise<void> {
    const baseURL = `http://127.0.0.1:${place.port}`;
    const slow = await addClient(place, { name: 'slow', limits: { rpm: 30 } });
    const refusals = async () => (await usageOf(place, '?client=ci')).total.refusals;
    const before = await refusals();
    const anthropic = new Anthropic({ apiKey: key, baseURL });
    const message = { model: 'even', max_tokens: 9, messages: [] };
    await expect(anthropic.messages.create(message)).rejects.toThrow(/429.*usd_per_day: the \$1/);
    const script = fileURLToPath(new URL('limits_sdk.py', import.meta.url));
    const env = { BASE_URL: baseURL, SPENT_KEY: key, RPM_KEY: slow.key ?? '' };
    const { stdout, stderr } = await runProgram(litellm.python, [script], { env });
    const spent = expect.stringContaining('usd_per_day: the $1 of this client for today are used');
    expect(JSON.parse(stdout), stderr).toEqual({
      openai: { spent, retries: 1 },
      anthropic: { spent, retries: 1 },
    });
    // One try each: that of Node, and the two of Python.
    expect((await refusals()) - before).toBe(3);
  }

  test('of two prices: never more than the cap and what some cost beyond their mean', async () => {
    const place = await start('mixed');
    const key = await limited(place);
    const run = await askAll({ ...place, key }, (nth) => (nth % 10 === 0 ? 'dear' : 'even'));
    const { costUsd, refusals } = await told(place);
    console.log('of two prices:', { ...run, costUsd, refusals });
    expect(costUsd).toBeCloseTo(run.spent, 6);
    expect(run.spent).toBeGreaterThan(CAP - DEAR);
    // A hundred are under way at most, those that a dollar is for; in ten of them one is dear.
    const beyond = (CAP / PRICE) * 0.1 * (DEAR - PRICE);
    expect(run.spent).toBeLessThanOrEqual(CAP + 2 * beyond);
  });

  test('a kill in between forgets what came after the last write', async () => {
    const place = await start('killed');
    const key = await limited(place);
    let saved: Promise<unknown> | undefined;
    const killAfterSave = async (leave: () => void): Promise<void> => {
      await saved;
      place.process.signal('SIGKILL');
      leave();
    };
    const before = await askAll(
      { ...place, key },
      () => 'slow',
      (answered, leave) => {
        if (answered === SAVED_AFTER) saved = saveUsage(place);
        if (answered === KILLED_AFTER) void killAfterSave(leave);
      },
    );
    await place.process.ended;
    const again = await start('killed');
    const { body } = await adminCall(again, 'GET', '/api/clients/ci');
    const { use } = body as { use: { usdToday: number } };
    const after = await askAll({ ...again, key }, () => 'even');
    const all = before.spent + after.spent;
    // Below 0 where answers were counted whose clients had not heard of them yet.
    const forgotten = Math.max(0, before.spent - use.usdToday);
    console.log('with a kill:', { before, remembered: use.usdToday, after, all });
    // What has arrived is counted a moment later.
    expect(use.usdToday).toBeGreaterThanOrEqual((SAVED_AFTER - 5) * PRICE);
    expect(after.spent).toBeCloseTo(CAP - use.usdToday, 6);
    expect(all).toBeLessThanOrEqual(CAP + forgotten + 1e-9);
  });
});
