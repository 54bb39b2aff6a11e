/** Handovers under load, each beside a LiteLLM that only comes and goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HandoverView } from '../../src/handover/views.ts';
import { type Admin, bodyOf } from '../harness/admin.ts';
import type { Measured } from '../harness/bench.ts';
import { residentBytes } from '../harness/machine.ts';
import { progress, say } from '../harness/processes.ts';
import { atLeast, atMost, figure, median, none, table } from '../harness/report.ts';
import { beginLoad, wallMs } from './clients.ts';
import { type Gateway, startGateway } from './gateway.ts';

export interface Effort {
  readonly cycles: number;
  readonly clients: number;
  readonly streams: number;
  readonly streamSeconds: number;
  readonly warmMs: number;
}

/** How long what comes after a switch, or after the start of the other LiteLLM, is watched. */
const AFTER_MS = 2000;

/** The streams end by themselves: what has to be cut is a fault. */
const SETTINGS = { SIDECAR_DRAIN: '5m', SIDECAR_PROBATION: '5s' };

/** Often while steps are short, so that few go unseen. Milliseconds. */
const LOOK_MS = 20;

/** For a handover under load, in milliseconds. */
const PATIENCE_MS = 600_000;

export const hasEnded = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

export const look = async (admin: Admin, id: string): Promise<HandoverView> =>
  bodyOf(await admin.handover(id), id);

/** @throws where it has not ended after `patienceMs` */
export async function untilEnded(admin: Admin, id: string, patienceMs: number) {
  const from = performance.now();
  for (;;) {
    const view = await look(admin, id);
    if (hasEnded(view)) return view;
    if (performance.now() - from > patienceMs) throw new Error(`${id} stays ${view.state}`);
    await sleep(LOOK_MS);
  }
}

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
export async function measureRuns(
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
  if (wrong.length > 0) for (const line of [...wrong, ...gateway.lastWords()]) say(`  ${line}`);
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
