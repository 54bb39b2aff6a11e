/**
 * What does the console cost? A request that the live view counts, in nanoseconds; the processor
 * time of an idle sidecar with five pages open; throughput without them and with them, in turns; and
 * how long a Chromium takes from its navigation to the first figures. But for that, a page is what
 * the browser asks for: the live figures, and the status each 5 s.
 * `npm run build` first, then `node scripts/run-ts.js bench/console.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/clock.ts';
import { createLiveRecorder, type LiveExchange } from '../src/usage/live.ts';
import { runJson } from './harness/load.ts';
import { processorNs } from './harness/machine.ts';
import { atEnd, freePort, inFolder, startProgram } from './harness/processes.ts';
import { least, median } from './harness/report.ts';
import { startSidecar } from './harness/sidecar.ts';

const TOKEN = 'a-token-of-the-bench-0123456789';
const KEY = 'sk-a-key-of-the-bench-0123456789abcdefghijklmnopqrst';
const [PAGES, TURNS, IDLE_MS, LOADS] = [5, 8, 20_000, 15];
/** Until a start and its compiler are through. */
const SETTLE_MS = 10_000;
const [ROUNDS, REQUESTS] = [300, 2000];

const line = (what: string, figure: string): unknown =>
  process.stdout.write(`${what.padEnd(58)} ${figure}\n`);

/** A stream that said what it used, of one of ten clients; as literal as a record is. */
const exchange = (nth: number): LiveExchange => ({
  id: '',
  client: CLIENTS[nth % 10] ?? '',
  generation: 'client-2',
  method: 'POST',
  template: '',
  address: '',
  userAgent: '',
  status: 200,
  refusal: undefined,
  outcome: 'answered',
  // Its name is read anew, as from a socket.
  model: Buffer.from(`provider/model-${nth % 30}`).toString('latin1'),
  usage: {
    tokens: { input: 900, output: 120, cached: 512, cacheWrite: 0, reasoning: 64 },
    costUsd: 0.0021,
  },
  usageFault: undefined,
  firstChunkMs: 310,
});
/** The keyring has one string for all requests of a client. */
const CLIENTS = Array.from({ length: 10 }, (_, nth) => `client-${nth}`);

function counting(isWatched: boolean): string {
  const recorder = createLiveRecorder(systemClock);
  const rounds = Array.from({ length: ROUNDS }, () => {
    const events = Array.from({ length: REQUESTS }, (_, nth) => exchange(nth));
    if (isWatched) recorder.take();
    const from = performance.now();
    for (const each of events) recorder.add(each);
    return ((performance.now() - from) * 1e6) / REQUESTS;
  });
  return `least ${least(rounds).toFixed(0)} ns, median ${median(rounds).toFixed(0)} ns`;
}

/** Looks as so many pages do, until the returned function is called. */
function openPages(origin: string, count: number): () => void {
  const closed = new AbortController();
  const { signal } = closed;
  const headers = { authorization: `Bearer ${TOKEN}` };
  const look = async (): Promise<void> => {
    const live = await fetch(`${origin}/api/live`, { headers, signal });
    for await (const _ of live.body ?? []);
  };
  const poll = async (): Promise<void> => {
    for (; !signal.aborted; await sleep(5000, undefined, { signal })) {
      await (await fetch(`${origin}/api/status`, { headers, signal })).json();
    }
  };
  for (let nth = 0; nth < count; nth += 1) {
    for (const each of [look, poll]) void each().catch(() => undefined);
  }
  return () => closed.abort();
}

/** Milliseconds from Chromium's navigation to the figures of `#/now`; each load begins anew. */
async function firstViews(origin: string): Promise<readonly number[]> {
  const { chromium } = await import('playwright-core');
  const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  atEnd(() => browser.close());
  const times: number[] = [];
  for (let nth = 0; nth < LOADS; nth += 1) {
    const context = await browser.newContext();
    const page = await context.newPage();
    // As text: what runs in the page is none of this program's.
    await page.addInitScript(`
      sessionStorage.setItem('sidecar-admin-token', ${JSON.stringify(TOKEN)});
      const seen = new MutationObserver(() => {
        if (document.querySelector('.tile')) window.firstView ??= performance.now();
      });
      seen.observe(document, { childList: true, subtree: true });`);
    await page.goto(`${origin}/#/now`);
    await page.locator('.tile').first().waitFor();
    times.push(Number(await page.evaluate('window.firstView')));
    await context.close();
  }
  await browser.close();
  return times;
}

line('a request that is counted, while nobody looks', counting(false));
line('  while somebody does', counting(true));

await inFolder(async (folder) => {
  const { first: upstream } = await startProgram<{ port: number }>(
    'bench/harness/upstream-process.ts',
  );
  const opsPort = await freePort();
  const sidecar = await startSidecar({
    ...{ folder: `${folder}/sidecar`, upstreamPort: upstream.port, key: KEY },
    env: { SIDECAR_ADMIN_TOKEN: TOKEN, SIDECAR_OPS_PORT: String(opsPort) },
  });
  const pids = [sidecar.child.pid ?? 0];
  const origin = `http://127.0.0.1:${opsPort}`;

  const idle = async (): Promise<number> => {
    const before = processorNs(pids);
    await sleep(IDLE_MS);
    return (processorNs(pids) - before) / (IDLE_MS * 1e6);
  };
  const percent = (share: number): string => `${(share * 100).toFixed(2)} % of a core`;
  await sleep(SETTLE_MS);
  line('an idle sidecar', percent(await idle()));
  const close = openPages(origin, PAGES);
  await sleep(2000);
  line(`  with ${PAGES} pages open`, percent(await idle()));
  close();

  const run = () =>
    runJson({
      ...{ port: sidecar.port, key: KEY, headers: 'litellm', connections: 32, pids },
      ...{ warmMs: 500, measureMs: 2500 },
    });
  await run();
  const turns: { alone: Awaited<ReturnType<typeof run>>; seen: Awaited<ReturnType<typeof run>> }[] =
    [];
  for (let nth = 0; nth < TURNS; nth += 1) {
    // In turns: whatever else the machine does falls on both.
    const first = nth % 2 === 0 ? await run() : undefined;
    const end = openPages(origin, PAGES);
    const seen = await run();
    end();
    turns.push({ alone: first ?? (await run()), seen });
  }
  const ratio = (of: (turn: (typeof turns)[number]) => number): string =>
    median(turns.map(of)).toFixed(3);
  const rate = median(turns.map(({ alone }) => alone.perSecond)).toFixed(0);
  line('throughput without pages', `${rate} requests a second`);
  line(
    `  with ${PAGES} pages, median of ${TURNS} pairs`,
    `${ratio(({ alone, seen }) => seen.perSecond / alone.perSecond)} ×`,
  );
  line('  by processor time of a request', `${ratio(({ alone, seen }) => alone.us / seen.us)} ×`);
  const loads = await firstViews(origin);
  const slowest = `slowest of ${LOADS} ${Math.max(...loads).toFixed(0)} ms`;
  line('navigation to the first figures in Chromium', `${median(loads).toFixed(0)} ms, ${slowest}`);
});
