/** `npm run bench:handover`: what does a handover between two LiteLLMs cost those who are served? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beginLoad, wallMs } from './handover/clients.ts';
import {
  findLitellm,
  type Gateway,
  makeStandIn,
  startGateway,
  untilEnded,
} from './handover/gateway.ts';
import { measureKills } from './handover/kills.ts';
import { bodyOf } from './harness/admin.ts';
import { type Measured, runBench } from './harness/bench.ts';
import { residentBytes } from './harness/machine.ts';
import { progress, say } from './harness/processes.ts';
import { atLeast, atMost, figure, median, none, table } from './harness/report.ts';

const FULL = { cycles: 5, streamSeconds: 10, clients: 16, streams: 10, warmMs: 8000, kills: 10 };
type Effort = typeof FULL;
const QUICK: Effort = { ...FULL, cycles: 3, streamSeconds: 5, warmMs: 3000, kills: 5 };

const HELP = `npm run bench:handover -- [options]

  What does a handover cost those who are served? A real LiteLLM (LITELLM_BIN, or the one that
  scripts/install-litellm.js made) runs behind the built sidecar, under load. In turns a second
  LiteLLM only comes and goes, and one takes over: by a new key, then by a reload. Then the sidecar is
  killed at each step of a handover, with a stand-in for LiteLLM that starts in no time. Four
  minutes.

  --quick             ${QUICK.cycles} handovers, streams of ${QUICK.streamSeconds} s, fewer kills: two minutes; writes nothing
  --stand-in          no real LiteLLM at all: shows that nobody is cut, and not what it costs, for a
                      start of LiteLLM takes a core for some seconds; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

/** How long what comes after a switch, or after the start of the other LiteLLM, is watched. */
const AFTER_MS = 2000;

/** The streams end by themselves: what has to be cut is a fault. */
const SETTINGS = { SIDECAR_DRAIN: '5m', SIDECAR_PROBATION: '5s' };

/** For a handover under load, in milliseconds. */
const PATIENCE_MS = 600_000;

type Cycle = Awaited<ReturnType<typeof runCycle>>;

/** One LiteLLM that comes and goes, and one that takes over. */
async function runCycle({ admin, startBeside, sidecarPid }: Gateway, kind: 'rotate' | 'reload') {
  const from = wallMs();
  await startBeside(AFTER_MS);
  const beside = { from, to: wallMs() };
  const { id } = bodyOf(await admin.handOver(kind), 'a handover');
  const view = await untilEnded(admin, id, PATIENCE_MS);
  const to = wallMs();
  const switchedAt = view.switchedAt === null ? to : Date.parse(view.switchedAt);
  return {
    /** From the start to its first answer, and AFTER_MS more. */
    beside,
    /** From the request to the switch, and AFTER_MS more; without a switch to the end. */
    handover: { from: Date.parse(view.startedAt), to: switchedAt + AFTER_MS },
    view,
    seconds: (to - from) / 1000,
    /** The sidecar's resident memory in the end. */
    memoryMB: residentBytes([sidecarPid()]) / 1e6,
  };
}

function describeCycle(at: number, { view, seconds }: Cycle, failed: number): string {
  const { kind, state, fault } = view;
  const why = fault === null ? '' : `: ${fault.code}, ${fault.message}`;
  return `cycle ${at}: ${kind} ${state} in ${figure(seconds)} s${why}; ${failed} requests failed`;
}

/** @param options.bin what runs as LiteLLM, and `name` what to call it */
async function measureRuns(
  folder: string,
  options: { bin: string; name: string; key: string; effort: Effort },
): Promise<Measured> {
  const { key, effort } = options;
  const gateway = await startGateway(folder, { ...options, settings: SETTINGS });
  const load = beginLoad({ ...effort, port: gateway.port, key });
  await sleep(effort.warmMs);
  const cycles: Cycle[] = [];
  for (let at = 1; at <= effort.cycles; at += 1) {
    progress(`cycle ${at} of ${effort.cycles}`);
    const cycle = await runCycle(gateway, at % 2 === 1 ? 'rotate' : 'reload');
    cycles.push(cycle);
    say(describeCycle(at, cycle, load.failed()));
  }
  const perSecond = await load.end();
  const left = await gateway.inspect();
  const wrong = [
    ...load.streams.flatMap(({ fault }) => (fault === undefined ? [] : `a stream: ${fault}`)),
    ...left,
    ...[...load.faults].map(([what, count]) => `a request: ${what} (${count})`),
  ];
  for (const line of wrong) say(`  ${line}`);
  await gateway.stop();
  return resultsOf({ ...options, load, perSecond, cycles, left });
}

const msBetween = (from: string | null, to: string | null) =>
  Date.parse(to ?? '') - Date.parse(from ?? '');

function resultsOf(given: {
  readonly load: ReturnType<typeof beginLoad>;
  readonly perSecond: number;
  readonly cycles: readonly Cycle[];
  readonly left: readonly string[];
  readonly name: string;
  readonly effort: Effort;
}): Measured {
  const { load, cycles, effort } = given;
  const { clients, streams, streamSeconds } = effort;
  const views = cycles.map(({ view }) => view);
  const switches = views.flatMap(({ switchedAt }) => (switchedAt ? Date.parse(switchedAt) : []));
  const over = switches.flatMap((at) =>
    load.streams.filter(({ from, to }) => at > from && at < to),
  );
  const share = (over.length / (streams * cycles.length)) * 100;
  const besides = load.latencies(cycles.map(({ beside }) => beside));
  const handovers = load.latencies(cycles.map(({ handover }) => handover));
  // From the second cycle on: in the first one code is compiled and buffers grow.
  const [second = Number.NaN, last = Number.NaN] = [cycles[1]?.memoryMB, cycles.at(-1)?.memoryMB];
  const fragments = load.streams.filter(({ fault }) => fault !== undefined);
  const undone = views.filter(({ state }) => state !== 'done');
  const [p99, slowest] = [handovers.p99 / besides.p99, handovers.slowest / besides.slowest];
  const targets = [
    none('requests that failed', load.failed()),
    none('streams that were not whole', fragments.length),
    atLeast('streams under way at a switch, of those that run at a time', 90, '%', share),
    none('handovers that were not done', undone.length),
    atMost('p99 in a handover, against a LiteLLM that starts beside', 1.5, '×', p99),
    atMost('slowest request in a handover, against the same', 2, '×', slowest),
    atMost("growth of the sidecar's resident memory", 10, '%', (last / second - 1) * 100),
    none('afterwards: folders, keys or LiteLLMs too many, client keys refused', given.left.length),
  ];
  const startMs = median(views.map((view) => msBetween(view.startedAt, view.switchedAt)));
  const drainMs = median(views.map((view) => msBetween(view.switchedAt, view.endedAt)));
  const sentences = [
    `- Load: ${clients} clients in a closed loop of small chat completions on a mock model of ${given.name}, whose answers are compared, ${figure(given.perSecond)} a second; beside them ${streams} SSE streams at a time of ${streamSeconds} s, ${load.streams.length} in all, which are whole where every number came, then \`[DONE]\`, then the end. Nothing is pinned to a core: all share them.`,
    `- In turns, ${cycles.length} times: a second LiteLLM starts beside, answers, and ends; then a handover, by a new key or a reload. Compared are the requests that were under way from the start to 2 s after the first answer, or after the switch. A switch came ${figure(startMs / 1000, 1)} s after the request, the end ${figure(drainMs / 1000, 1)} s after the switch; medians.`,
    `- Memory is VmRSS of the sidecar, after the second cycle, then after the last one: ${figure(second, 1)} MB, ${figure(last, 1)} MB.`,
  ];
  const seen = { 'a LiteLLM comes and goes': besides, 'a LiteLLM takes over': handovers };
  const rows = Object.entries(seen).map(([name, { count, ...ms }]) => [
    ...[name, figure(count), figure(ms.p50), figure(ms.p99), figure(ms.slowest)],
  ]);
  const latencies = table(['while', 'requests', 'p50 ms', 'p99 ms', 'slowest ms'], rows);
  return { targets, text: [sentences.join('\n'), latencies] };
}

await runBench({
  ...{ name: 'bench:handover', title: 'Handovers under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: ['stand-in'] },
  async measure({ folder, effort, values }) {
    const standIn = await makeStandIn(folder);
    const litellm = values['stand-in']
      ? { bin: standIn, name: 'a stand-in for LiteLLM' }
      : { bin: findLitellm(), name: 'a real LiteLLM' };
    const key = `sk-bench${randomBytes(20).toString('hex')}`;
    return [
      await measureRuns(join(folder, 'load'), { ...litellm, key, effort }),
      await measureKills(join(folder, 'kills'), { bin: standIn, key, kills: effort.kills }),
    ];
  },
});
