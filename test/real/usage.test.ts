import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import type { Tokens } from '../../src/litellm/usage.ts';
import type { UsageReport } from '../../src/usage/report.ts';
import { createMeteredLitellm } from '../support/metered-litellm.ts';
import { type Meter, startMeteredProvider } from '../support/metered-provider.ts';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';
import { parseSeries } from '../telemetry/exposition.ts';
import { callerOf, type Told, WAYS } from './mixed-requests.ts';
import { runProgram } from './run-program.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const CLIENTS = ['ci', 'staging', 'web'] as const;
const REQUESTS = 500;
/** As many as a LiteLLM of one process answers without a queue that grows. */
const AT_ONCE = 20;
/** Of a dollar: what may be lost where the same numbers are added in another order. */
const CENTS = 1e-9;

const NOTHING: Tokens = { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };
const TYPES = [
  ['input', 'input'],
  ['output', 'output'],
  ['cached', 'cached'],
  ['cacheWrite', 'cache_write'],
  ['reasoning', 'reasoning'],
] as const;

/** What the SDKs of one client were told of one model, added up. */
interface Sum {
  tokens: Tokens;
  costUsd: number;
  /** Answers that said a usage. */
  metered: number;
  /** Of these: without a price. */
  unpriced: number;
}

const plus = (one: Tokens, other: Tokens): Tokens => ({
  input: one.input + other.input,
  output: one.output + other.output,
  cached: one.cached + other.cached,
  cacheWrite: one.cacheWrite + other.cacheWrite,
  reasoning: one.reasoning + other.reasoning,
});

/** Numbers that look random, and are the same in each run (mulberry32). */
function createDice(seed: number) {
  let state = seed;
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe('500 mixed requests by three clients to a real LiteLLM', () => {
  const endings: (() => Promise<unknown>)[] = [];
  const sums = new Map<string, Sum>();
  let sidecar: SidecarProcess;
  let home: string;

  const cli = async (...args: readonly string[]): Promise<unknown> => {
    const ended = await runProgram(process.execPath, [CLI, ...args, '--json'], { cwd: home });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return JSON.parse(ended.stdout);
  };
  const usage = (...args: readonly string[]) => cli('usage', ...args) as Promise<UsageReport>;
  const note = (client: string, model: string, { tokens, costUsd }: Told): void => {
    const place = `${client} ${model}`;
    const sum = sums.get(place) ?? { tokens: NOTHING, costUsd: 0, metered: 0, unpriced: 0 };
    sum.tokens = plus(sum.tokens, tokens);
    sum.costUsd += costUsd ?? 0;
    sum.metered += 1;
    sum.unpriced += costUsd === undefined ? 1 : 0;
    sums.set(place, sum);
  };
  const sumsOf = (client: string) =>
    [...sums]
      .map(([place, sum]) => [place.split(' ')[1] ?? '', place.split(' ')[0], sum] as const)
      .filter(([, owner]) => owner === client);

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sidecar-usage-'));
    endings.push(() => rm(folder, { recursive: true, force: true }));
    const provider = await startMeteredProvider();
    endings.push(provider.stop);
    const masterKey = generateKey();
    const litellm = await createMeteredLitellm({
      folder: join(folder, 'litellm'),
      masterKey,
      provider: provider.url,
      tellsUsage: true,
    });
    endings.push(litellm.stop);
    home = join(folder, 'sidecar');
    await mkdir(home);
    const isUp = litellm.start();
    // Whether it came up is asked below; until then nobody listens.
    isUp.catch(() => undefined);
    sidecar = await startSidecarProcess(home, {
      SIDECAR_UPSTREAM: litellm.url,
      SIDECAR_UPSTREAM_KEY: masterKey,
      LITELLM_MASTER_KEY: generateKey(),
    });
    endings.push(sidecar.stop);
    await isUp;
    await askAll();
  });
  afterAll(async () => {
    for (const end of endings.toReversed()) await end();
  });

  async function askAll(): Promise<void> {
    const callers = await Promise.all(
      CLIENTS.map(async (client) => {
        const { key } = (await cli('clients', 'add', client)) as { readonly key: string };
        return { client, caller: callerOf(sidecar.url, key) };
      }),
    );
    const dice = createDice(18);
    const requests = Array.from({ length: REQUESTS }, (_, at) => {
      const [way, by] = [WAYS[at % WAYS.length], callers[dice(callers.length)]];
      if (way === undefined || by === undefined) throw new Error('there is none');
      const [cached, cacheWrite, reasoning] = [dice(500), dice(300), dice(200)];
      const input = cached + cacheWrite + 1 + dice(5000);
      const use: Meter = {
        ...{ cached, cacheWrite, reasoning, input },
        output: reasoning + 1 + dice(900),
      };
      return { ...by, way, use: { ...use, ...way.more } };
    });
    const ended = (): number =>
      sidecar.accessLines().filter(({ method }) => method === 'POST').length;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let next = requests.shift(); next !== undefined; next = requests.shift()) {
          const { client, caller, way, use } = next;
          const told = await way.ask(caller, use).catch((error: unknown) => {
            throw new Error(`${way.name}: ${error}`);
          });
          if (told === undefined) continue;
          expect(told.tokens.input, way.name).toBe(use.input);
          if (told.tokens.output > 0) expect(told.tokens.output, way.name).toBe(use.output);
          note(client, way.model, told);
        }
      }),
    );
    // The last ones to leave are noticed after they have left.
    while (ended() < REQUESTS) await sidecar.nextLine(({ msg }) => msg === 'request');
  }

  test('the SDKs were told tokens and prices of every way', () => {
    const all = [...sums.values()];
    const metered = all.reduce((sum, each) => sum + each.metered, 0);
    const unpriced = all.reduce((sum, each) => sum + each.unpriced, 0);
    const lost = WAYS.filter(({ name }) => /limit|leaves/.test(name)).length;
    expect(metered).toBe((REQUESTS / WAYS.length) * (WAYS.length - lost));
    // Two ways ask a model without a price; a stream of Google has none, either.
    expect(unpriced).toBe((REQUESTS / WAYS.length) * 3);
    expect(sums.size).toBeGreaterThan(CLIENTS.length * 5);
  });

  test.each(CLIENTS)(
    '`sidecar usage` of %s agrees with what its SDKs were told',
    async (client) => {
      const { rows, total } = await usage('--by', 'model', '--client', client);
      for (const [model, , { tokens, costUsd, metered, unpriced }] of sumsOf(client)) {
        const row = rows.find(({ name }) => name === model);
        expect({ model, ...row }).toMatchObject({ tokens, metered, unpriced });
        expect(Math.abs((row?.costUsd ?? -1) - costUsd), model).toBeLessThan(CENTS);
      }
      const all = sumsOf(client).map(([, , { tokens }]) => tokens);
      expect(total.tokens).toEqual(all.reduce(plus, NOTHING));
      const cost = sumsOf(client).reduce((sum, [, , { costUsd }]) => sum + costUsd, 0);
      expect(Math.abs(total.costUsd - cost)).toBeLessThan(CENTS);
      expect(cost).toBeGreaterThan(0.1);
    },
  );

  test('`sidecar usage` counts every request, and those without a usage', async () => {
    const { rows, total } = await usage('--by', 'client');
    const perWay = REQUESTS / WAYS.length;
    expect(rows.map(({ name }) => name).toSorted()).toEqual([...CLIENTS]);
    expect(total).toMatchObject({
      ...{ requests: REQUESTS, refusals: 0, errors: perWay },
      // Four ways leave: LiteLLM had the request, and nobody knows what it used.
      unmetered: 4 * perWay,
    });
  });

  test('`/metrics` agrees with what the SDKs were told', async () => {
    const series = parseSeries(await (await fetch(`${sidecar.opsUrl}/metrics`)).text());
    for (const [place, { tokens, costUsd }] of sums) {
      const [client, model] = place.split(' ');
      const labels = `client="${client}",model="${model}"`;
      const counted = TYPES.map(([name, type]) => [
        name,
        series.get(`litellm_sidecar_tokens_total{${labels},type="${type}"}`),
      ]);
      expect({ place, ...Object.fromEntries(counted) }).toEqual({ place, ...tokens });
      const cost = series.get(`litellm_sidecar_cost_usd_total{${labels}}`) ?? -1;
      expect(Math.abs(cost - costUsd), place).toBeLessThan(CENTS);
    }
    const all = (type: string): number =>
      [...series]
        .filter(([name]) => name.startsWith('litellm_sidecar_tokens_total'))
        .filter(([name]) => name.includes(`type="${type}"`))
        .reduce((sum, [, value]) => sum + value, 0);
    const told = [...sums.values()].map(({ tokens }) => tokens).reduce(plus, NOTHING);
    expect(Object.fromEntries(TYPES.map(([name, type]) => [name, all(type)]))).toEqual(told);
  });
});
