/** `npm run bench:builds`: what does a request cost, beside another build of the sidecar? */
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../src/keyring/key.ts';
import { type Measured, runBench } from './harness/bench.ts';
import { openStreams, runJson } from './harness/load.ts';
import { NODE_HELP, type Node, pinLoad, residentBytes } from './harness/machine.ts';
import { progress, ROOT, startProgram, stop } from './harness/processes.ts';
import { atLeast, atMost, figure, least, median, quantile, table } from './harness/report.ts';
import { mainOf, startSidecar } from './harness/sidecar.ts';

/** Fresh processes of each build; the rest of each; times in milliseconds. */
const FULL = {
  processes: 10,
  json: { warmMs: 2500, rounds: 15, measureMs: 100 },
  large: { warmMs: 500, rounds: 8, measureMs: 100 },
  one: { warmMs: 200, rounds: 5, measureMs: 150 },
  chunks: { warmRounds: 10, settleMs: 200, ms: 800 },
  memory: { count: 9500, settleMs: 2000, ms: 4000 },
};
type Effort = typeof FULL;
const QUICK: Effort = { ...FULL, processes: 3, memory: { count: 1000, settleMs: 500, ms: 1000 } };

const HELP = `npm run bench:builds -- --against <folder> [options]

What a request costs, against another build: processor time at 32 connections, with a body of 1 KB and
one of 100 KB; the median latency at one connection; the first chunk of a stream and the delay of its chunks; the
memory of each of ${FULL.memory.count} open streams. One process of a build differs from another by 4 %: so ${FULL.processes} fresh
ones of each have their turn, and the median of what each did best counts. This build runs a second time
for a client with every limit and a list of models, where it knows such clients.
A run takes 8 minutes for each Node, and writes that Node's section of bench/RESULTS.md.

  --against <folder>  a checkout of the other version that is built
  --quick             ${QUICK.processes} processes of each, which writes nothing
${NODE_HELP}
  --help
`;

const MASTER_KEY = `sk-bench${randomBytes(20).toString('hex')}`;
const LIMITED_KEY = `sk-limited${randomBytes(20).toString('hex')}`;

/** A client whose limits are never reached, and all looked at. */
const CLIENTS = `clients:
  bench:
    keys: ['sha256:${digestOf(LIMITED_KEY)}']
    models: [bench, other-*]
    limits:
      {rpm: 100000000, parallel: 100000, tokens_per_day: 1000000000000, usd_per_day: 1000000000}
`;

const newContestant = (name: string, checkout: string, limited: boolean) => ({
  ...{ name, checkout, limited, key: limited ? LIMITED_KEY : MASTER_KEY },
  /** What each process did best. */
  us: [] as number[],
  largeUs: [] as number[],
  p50: [] as number[],
  firstChunk: [] as number[],
  delay: [] as number[],
  streamKB: [] as number[],
});
type Contestant = ReturnType<typeof newContestant>;

interface Place {
  readonly folder: string;
  readonly node: Node;
  readonly core: number | undefined;
  readonly upstreamPort: number;
}

async function begin({ checkout, limited, key }: Contestant, place: Place, number: number) {
  const folder = join(place.folder, `${place.node.version}-${number}`);
  const clients = join(place.folder, 'clients.yaml');
  writeFileSync(clients, CLIENTS);
  const { child, log, port } = await startSidecar({
    ...{ ...place, node: place.node.path, folder, checkout, key: MASTER_KEY },
    ...(limited && { env: { SIDECAR_CLIENTS: clients } }),
  });
  return { child, log, target: { port, key, pids: [child.pid ?? 0] } };
}

type Target = Awaited<ReturnType<typeof begin>>['target'];

/** The least of the rounds, of a figure of theirs. */
async function best(
  target: Target,
  field: 'us' | 'p50',
  job: { connections: number; bodyKB?: number },
  { warmMs, rounds, measureMs }: Effort['json'],
): Promise<number> {
  const common = { ...target, ...job, headers: 'litellm' } as const;
  await runJson({ ...common, warmMs: 0, measureMs: warmMs });
  const figures: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    figures.push((await runJson({ ...common, warmMs: 0, measureMs }))[field]);
  }
  return least(figures);
}

async function measureOne(contestant: Contestant, place: Place, effort: Effort, number: number) {
  const { child, log, target } = await begin(contestant, place, number);
  contestant.us.push(await best(target, 'us', { connections: 32 }, effort.json));
  const large = { connections: 32, bodyKB: 100 };
  contestant.largeUs.push(await best(target, 'us', large, effort.large));
  contestant.p50.push(await best(target, 'p50', { connections: 1 }, effort.one));
  const job = { ...target, count: 100, ticking: 100, gapMs: 10 };
  for (let round = 0; round < effort.chunks.warmRounds; round += 1) {
    (await openStreams(job)).close();
  }
  const streams = await openStreams(job);
  await sleep(effort.chunks.settleMs);
  const { firstP50, p50 } = await streams.watch(effort.chunks.ms, target.pids);
  streams.close();
  contestant.firstChunk.push(firstP50);
  contestant.delay.push(p50);
  truncateSync(log);
  await stop(child);
}

/** Many open streams, as `npm run bench` weighs them. */
async function weigh(contestant: Contestant, place: Place, { memory }: Effort, number: number) {
  const { child, target } = await begin(contestant, place, number);
  await runJson({ ...target, connections: 32, headers: 'litellm', warmMs: 0, measureMs: 1000 });
  await sleep(memory.settleMs / 2);
  const idle = residentBytes(target.pids);
  const { count } = memory;
  const streams = await openStreams({ ...target, count, ticking: count / 10, gapMs: 1000 });
  await sleep(memory.settleMs);
  const opened = residentBytes(target.pids);
  await streams.watch(memory.ms, target.pids);
  const most = Math.max(opened, residentBytes(target.pids));
  streams.close();
  await stop(child);
  contestant.streamKB.push((most - idle) / 1e3 / count);
}

const FIELDS = ['us', 'largeUs', 'p50', 'firstChunk', 'delay'] as const;
type Field = (typeof FIELDS)[number];

function report(other: Contestant, own: Contestant, limited: Contestant): Measured {
  const ratio = (one: Contestant, field: Field) => median(other[field]) / median(one[field]);
  const more = (one: Contestant, field: Field) => 1 / ratio(one, field);
  const memory = median(own.streamKB) - median(other.streamKB);
  const rows = [other, own, limited].map((each) => [
    each.name,
    ...FIELDS.flatMap((field) => {
      const values = each[field];
      const [low, high] = [quantile(values, 0.25), quantile(values, 0.75)];
      const digits = field.endsWith('s') ? 1 : 3;
      return [figure(median(values), digits), `${figure(low, digits)}–${figure(high, digits)}`];
    }),
    figure(median(each.streamKB), 1),
  ]);
  const head = ['build', '1 KB, µs', 'quartiles', '100 KB, µs', 'quartiles', 'p50 ms', 'quartiles'];
  head.push('first chunk ms', 'quartiles', 'chunk delay ms', 'quartiles', 'KB/stream');
  const against = 'against the other build';
  return {
    targets: [
      atLeast(`throughput, ${against}`, 0.97, '×', ratio(own, 'us')),
      atLeast(`throughput with 100 KB, ${against}`, 0.97, '×', ratio(own, 'largeUs')),
      atLeast('throughput with limits and models', 0.93, '×', ratio(limited, 'us')),
      atLeast('the same with 100 KB', 0.93, '×', ratio(limited, 'largeUs')),
      atMost(`p50 at 1 connection, ${against}`, 1.03, '×', more(own, 'p50')),
      atMost(`first chunk of a stream, ${against}`, 1.05, '×', more(own, 'firstChunk')),
      atMost(`delay of a chunk, ${against}`, 1.05, '×', more(own, 'delay')),
      atMost('resident memory for each open stream, more', 3, 'KB', memory),
    ],
    text: ['The median of what each process did best, and the quartiles:', table(head, rows)],
  };
}

await runBench({
  ...{ name: 'bench:builds', title: 'What a request costs against another build', help: HELP },
  ...{ full: FULL, quick: QUICK, options: ['against', 'node'] },
  async measure({ folder, effort, node, values: { against } }) {
    if (against === undefined) throw new Error('--against <folder> is wanted; see --help');
    const checkout = resolve(against);
    mainOf(checkout);
    const other = newContestant('the other', checkout, false);
    const own = newContestant('this', ROOT, false);
    const limited = newContestant('with limits', ROOT, true);
    const core = pinLoad();
    const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
    const place = { folder, node, core, upstreamPort: upstream.first.port };
    const order = [other, own, limited];
    let number = 0;
    for (let at = 1; at <= effort.processes; at += 1) {
      for (const each of order) {
        progress(`process ${at} of ${effort.processes}, ${each.name}`);
        await measureOne(each, place, effort, number++);
      }
      order.push(...order.splice(0, 1));
    }
    for (const each of order) {
      progress(`open streams, ${each.name}`);
      await weigh(each, place, effort, number++);
    }
    await stop(upstream.child);
    return [report(other, own, limited)];
  },
});
