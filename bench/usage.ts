/**
 * What do the totals cost? A request that is counted, in nanoseconds; what a write takes of the
 * thread that serves and how long it takes in all, in milliseconds; what the thread that writes
 * begins with. `npm run build` first, then `node scripts/run-ts.js bench/usage.ts`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createUsageThread } from '../src/store/usage-thread.ts';
import { createUsageTotals, type UsageEvent } from '../src/usage/totals.ts';
import { least, median } from './harness/report.ts';

const [ROUNDS, REQUESTS, WRITES] = [1000, 1000, 40];
const MB = 1e6;

const totals = createUsageTotals({ now: Date.now, isActive: (id) => id !== 'ci-1' });
const KEYS = Array.from({ length: 10 }, (_, nth) => {
  return { client: `client-${nth}`, generation: `client-${nth}-2` };
});
/** Of one of ten keys; a model's name is read anew, as from a socket. As literal as a record is. */
const event = (nth: number): UsageEvent => ({
  client: KEYS[nth % KEYS.length]?.client ?? '',
  generation: KEYS[nth % KEYS.length]?.generation ?? '',
  model: Buffer.from(`provider/model-${nth % 30}`).toString('latin1'),
  status: 200,
  refusal: undefined,
  outcome: 'answered',
  usage: {
    tokens: { input: 900, output: 120, cached: 512, cacheWrite: 0, reasoning: 64 },
    costUsd: 0.0021,
  },
  usageFault: undefined,
});
const adding = Array.from({ length: ROUNDS }, () => {
  const events = Array.from({ length: REQUESTS }, (_, nth) => event(nth));
  const from = performance.now();
  for (const each of events) totals.add(each);
  return ((performance.now() - from) * 1e6) / REQUESTS;
});
const [pattern] = totals.take();
if (pattern === undefined) throw new Error('nothing was counted');

const folder = mkdtempSync(join(tmpdir(), 'sidecar-bench-'));
const thread = createUsageThread({
  program: new URL('../dist/parts/usage-worker.js', `file://${process.cwd()}/bench/`),
  path: join(folder, 'usage.db'),
  onMoved: () => undefined,
});
let writes = 0;
/** The serving thread's part, and the time until the batch is on the disk. */
async function write(count: number): Promise<{ readonly own: number; readonly all: number }> {
  writes += 1;
  const rows = Array.from({ length: count }, (_, nth) => ({ ...pattern, model: `model-${nth}` }));
  const from = performance.now();
  const asked = thread.ask('write', { id: `batch-${writes}`, at: 0, rows } as never);
  const own = performance.now() - from;
  await asked;
  return { own, all: performance.now() - from };
}

const before = process.memoryUsage.rss();
const first = await write(1);
const memory = (process.memoryUsage.rss() - before) / MB;
const line = (what: string, figure: string): unknown =>
  process.stdout.write(`${what.padEnd(58)} ${figure}\n`);
line('a request that is counted, least of the rounds', `${least(adding).toFixed(0)} ns`);
line('  median of the rounds', `${median(adding).toFixed(0)} ns`);
line('the first write: of the serving thread', `${first.own.toFixed(2)} ms`);
line('  until it is on the disk, with thread and library', `${first.all.toFixed(0)} ms`);
line('  resident memory', `${memory.toFixed(1)} MB`);
for (const count of [20, 100, 500, 1000]) {
  const times: { readonly own: number; readonly all: number }[] = [];
  for (let nth = 0; nth < WRITES; nth += 1) times.push(await write(count));
  const own = median(times.map((each) => each.own));
  const all = median(times.map((each) => each.all));
  line(`${count} rows: of the serving thread`, `${own.toFixed(2)} ms`);
  line('  until they are on the disk', `${all.toFixed(1)} ms`);
}
thread.close();
rmSync(folder, { recursive: true });
