/**
 * What do the metrics cost? An exchange that is counted, in nanoseconds, and a scrape of at least
 * 300 series and of all that there may be, in milliseconds: a part of `npm run bench`, and
 * `node scripts/run-ts.js bench/metrics.ts` by itself.
 */
import { MODEL_GROUPS, ROUTE_GROUPS } from '../src/litellm/routes.ts';
import { type ExchangeRecord, recordOf } from '../src/proxy/record.ts';
import { createMetrics } from '../src/telemetry/metrics.ts';
import { least, median } from './harness/report.ts';

/** The least of the rounds for `count`, in nanoseconds; medians of scrapes, in milliseconds. */
export type MetricsFigures = typeof figures;

interface Scrape {
  readonly series: number;
  readonly ms: number;
}

const [ROUNDS, EXCHANGES, SCRAPES] = [100, 20_000, 300];

const time = { ms: 0 };
const metrics = createMetrics({
  ...{ version: '0', node: '0', routeGroups: ROUTE_GROUPS, modelGroups: MODEL_GROUPS },
  clock: { now: () => 0, elapsed: () => time.ms },
});
const answer = metrics.expose({
  gauges: { inFlight: () => 0, streams: () => 0, websockets: () => 0, held: () => 0 },
  upstreamUp: () => new Map([['a', true]]),
  isUpstreamKeyTaken: () => true,
  keys: () => [],
  publishPending: () => 0,
  limits: () => [],
});

/** A stream that said what it used; its model's name is read anew, as from a socket. */
const exchange = (client: string, model: string, group: string, status: number): ExchangeRecord => {
  const caller = { id: '', client, generation: '', method: 'POST', group, template: '' };
  const asked = { ...caller, asksModel: true, address: '', userAgent: '' };
  const tokens = { input: 900, output: 120, cached: 512, cacheWrite: 0, reasoning: 64 };
  const end = {
    ...({ slot: 'a', refusal: undefined, outcome: 'answered', websocket: false } as const),
    ...{ model: Buffer.from(model).toString('latin1'), usage: { tokens, costUsd: 0.0021 } },
    ...{ usageFault: undefined, callId: '', providerId: '', traceId: '', abortReason: undefined },
    ...{ firstChunkMs: 310, lastChunkMs: 2900, chunks: 121, upstreamMs: 280 },
    ...{ firstByteMs: 300, overheadMs: 0.09, responseBytes: 40_000 },
  };
  const seen = { status, durationMs: 2901, requestBytes: 4000 };
  return recordOf(asked, end, seen);
};

/** As many scrapes, each of its own second. */
async function scrape(): Promise<Scrape> {
  const times: number[] = [];
  let body = '';
  for (let at = 0; at < SCRAPES; at += 1) {
    time.ms += 1000;
    const from = performance.now();
    ({ body } = await answer(undefined));
    times.push(performance.now() - from);
  }
  const series = body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  return { series, ms: median(times) };
}

/** The keyring has one string for all requests of a client. */
const CLIENTS = ['client-0', 'client-1'] as const;

function count(): number {
  const records = Array.from({ length: EXCHANGES }, (_, at) =>
    exchange(CLIENTS[at % 2] ?? '', `model-${at % 3}`, 'chat', 200),
  );
  const from = process.hrtime.bigint();
  for (const record of records) metrics.events.onExchangeEnd(record);
  return Number(process.hrtime.bigint() - from) / EXCHANGES;
}

const counted = least(Array.from({ length: ROUNDS }, count));
const usual = await scrape();
for (let at = 0; at < 60 * 40 * 4; at += 1) {
  const status = [200, 400, 404, 429][at % 4] ?? 0;
  const group = ROUTE_GROUPS[Math.trunc(at / 4) % ROUTE_GROUPS.length] ?? '';
  metrics.events.onExchangeEnd(exchange(`client-${at % 60}`, `model-${at % 130}`, group, status));
}
const figures = { counted, usual, full: await scrape() };
if (process.send === undefined) console.log(figures);
else process.send(figures, () => process.disconnect());
