/** `npm run bench:memory`: does the memory stay flat, the longer the load goes on? */
import { randomBytes } from 'node:crypto';
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { type Measured, runBench } from './harness/bench.ts';
import { openStreams, runJson } from './harness/load.ts';
import { pinLoad, residentBytes } from './harness/machine.ts';
import { progress, startProgram, stop } from './harness/processes.ts';
import { atMost, figure, median, table } from './harness/report.ts';
import { startSidecar } from './harness/sidecar.ts';

/** Rounds of load; all but the last second of each is JSON. */
const FULL = { rounds: 60, roundMs: 10_000 };
type Effort = typeof FULL;
const QUICK: Effort = { rounds: 12, roundMs: 5000 };

const CONNECTIONS = 32;
/** In the last second of each round: opened, and left by their client in mid-stream. */
const STREAMS = { count: 100, ticking: 100, gapMs: 10 };
const STREAMS_MS = 1000;
/** Of the rounds: while the heap becomes as large as it likes, nothing is compared. */
const WARMING = 0.2;

const HELP = `npm run bench:memory -- [options]

  Does the memory of a sidecar stay flat under full load? ${CONNECTIONS} connections ask for JSON for ${(FULL.rounds * FULL.roundMs) / 60_000} minutes
  without a rest, beside ${STREAMS.count} SSE streams each ${FULL.roundMs / 1000} s that their clients leave; all of it is read for what
  it used, counted and written.

  --quick             ${(QUICK.rounds * QUICK.roundMs) / 60_000} minute; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

async function measureFlatness(folder: string, effort: Effort): Promise<Measured> {
  const core = pinLoad();
  const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  const given = { upstreamPort: upstream.first.port, key, core };
  const sidecar = await startSidecar({ ...given, folder: join(folder, 'load') });
  const pids = [sidecar.child.pid ?? 0];
  const job = {
    port: sidecar.port,
    key,
    pids,
    connections: CONNECTIONS,
    headers: 'litellm',
  } as const;
  const rounds: { readonly resident: number; readonly requests: number }[] = [];
  for (let round = 1; round <= effort.rounds; round += 1) {
    progress(`round ${round} of ${effort.rounds}`);
    const seconds = (effort.roundMs - STREAMS_MS) / 1000;
    const { perSecond } = await runJson({ ...job, warmMs: 0, measureMs: seconds * 1000 });
    const streams = await openStreams({ port: sidecar.port, key, ...STREAMS });
    await streams.watch(STREAMS_MS, pids);
    streams.close();
    rounds.push({ resident: residentBytes(pids), requests: perSecond * seconds });
    // What was logged meanwhile is dropped.
    truncateSync(sidecar.log);
  }
  await stop(sidecar.child);
  await stop(upstream.child);

  const warm = rounds.slice(Math.round(rounds.length * WARMING));
  const half = Math.floor(warm.length / 2);
  const mean = (some: typeof rounds) => median(some.map(({ resident }) => resident)) / 1e6;
  const [early, late] = [mean(warm.slice(0, half)), mean(warm.slice(half))];
  const requests = rounds.reduce((sum, each) => sum + each.requests, 0);
  const shown = Array.from({ length: 10 }, (_, at) => {
    const upTo = Math.round(((at + 1) * rounds.length) / 10);
    const minutes = (upTo * effort.roundMs) / 60_000;
    return [`${figure(minutes, 1)}`, figure((rounds[upTo - 1]?.resident ?? 0) / 1e6, 1)];
  });
  return {
    targets: [
      atMost(
        'resident memory of the second half of the load, against the first',
        1.05,
        '×',
        late / early,
      ),
    ],
    text: [
      `- Load: ${figure(requests)} requests over ${CONNECTIONS} connections, and ${figure(rounds.length * STREAMS.count)} streams that were left in mid-stream. The first ${figure(100 * WARMING)} % of the time is not compared; what is are the medians of the halves of the rest, ${figure(early, 1)} MB and ${figure(late, 1)} MB.`,
      table(['minutes', 'resident MB'], shown),
    ],
  };
}

await runBench({
  ...{ name: 'bench:memory', title: 'Memory under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: [] },
  measure: async ({ folder, effort }) => [await measureFlatness(folder, effort)],
});
