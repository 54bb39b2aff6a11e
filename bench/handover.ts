/** `npm run bench:handover`: what does a handover between two LiteLLMs cost those who are served? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLitellm, makeStandIn } from './handover/gateway.ts';
import { type KillFigures, measureKills, STEPS } from './handover/kills.ts';
import { type Effort, measureRuns, type RunFigures } from './handover/runs.ts';
import { runBench, say } from './harness/processes.ts';
import {
  figure,
  median,
  missed,
  runLine,
  type Target,
  table,
  targetsTable,
  writeSection,
} from './harness/report.ts';
import { mainOf } from './harness/sidecar.ts';

const FULL: Effort = {
  ...{ cycles: 5, streamSeconds: 10, clients: 16, streams: 10, warmMs: 8000, kills: 10 },
};
const QUICK: Effort = { ...FULL, cycles: 3, streamSeconds: 5, warmMs: 3000, kills: 5 };

const HELP = `npm run bench:handover -- [options]

  What does a handover cost those who are served? A real LiteLLM (LITELLM_BIN, or the one that
  scripts/install-litellm.js made) runs behind the built sidecar, under load. In turns a second
  LiteLLM only comes and goes, and one takes over: by a new key, then by a reload. Then sidecar,
  launcher and LiteLLM are killed in the middle of handovers, with a stand-in for LiteLLM that starts
  in no time. Under six minutes.

  --quick             ${QUICK.cycles} handovers, streams of ${QUICK.streamSeconds} s, fewer kills; writes nothing
  --only load|kills   one part; writes nothing
  --cycles <n>        handovers under load (${FULL.cycles}); writes nothing
  --stand-in          no real LiteLLM at all: shows that nobody is cut, and not what it costs, for
                      LiteLLM's start takes a core for ten seconds; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

/** @throws on an unknown option, or a value that cannot be */
function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: { quick: flag, help: flag, only: text, cycles: text, 'stand-in': flag },
  });
  const { quick, help, only, 'stand-in': standIn } = values;
  if (only !== undefined && only !== 'load' && only !== 'kills') {
    throw new Error(`--only ${only}: known are load, kills`);
  }
  const standard = quick ? QUICK : FULL;
  const cycles = Number(values.cycles ?? standard.cycles);
  if (!(Number.isInteger(cycles) && cycles >= 1 && cycles <= 1000)) {
    throw new Error(`--cycles ${values.cycles}: a whole number from 1 to 1000`);
  }
  const changed = quick || standIn || only !== undefined || values.cycles !== undefined;
  const wants = (part: 'load' | 'kills') => only === undefined || only === part;
  return { help, standIn, isWhole: !changed, wants, effort: { ...standard, cycles } };
}

interface Figures {
  readonly runs: RunFigures | undefined;
  readonly kills: KillFigures | undefined;
}

/** Latencies of the cycles' two parts. */
const partsOf = ({ load, cycles }: RunFigures) => ({
  beside: load.latencies(cycles.map(({ beside }) => beside)),
  handover: load.latencies(cycles.map(({ handover }) => handover)),
});

/** Streams that were under way at each switch, together. */
const overSwitches = ({ load, cycles }: RunFigures): number =>
  cycles
    .flatMap(({ view }) => (view.switchedAt === null ? [] : Date.parse(view.switchedAt)))
    .map((at) => load.streams.filter(({ from, to }) => at > from && at < to).length)
    .reduce((sum, count) => sum + count, 0);

/** From the second cycle on: in the first one code is compiled and buffers grow. */
function growth({ load, cycles }: RunFigures): number {
  const [, second] = cycles;
  const last = cycles.at(-1);
  if (second === undefined || last === undefined || last === second) return Number.NaN;
  return (load.memory(last.whole) / load.memory(second.whole) - 1) * 100;
}

function targetsOf({ runs, kills }: Figures, { streams }: Effort): readonly Target[] {
  const none = { sense: 'at most', limit: 0, unit: '', digits: 0 } as const;
  const times = { sense: 'at most', unit: '×', digits: 2 } as const;
  const parts = runs && partsOf(runs);
  return [
    {
      ...{ ...none, what: 'requests that failed' },
      value: runs && [...runs.load.faults.values()].reduce((sum, count) => sum + count, 0),
    },
    {
      ...{ ...none, what: 'streams that were not whole' },
      value: runs?.load.streams.filter(({ fault }) => fault !== undefined).length,
    },
    {
      what: 'streams under way at a switch, of those that run at a time',
      ...{ sense: 'at least', limit: 90, unit: '%', digits: 0 },
      value: runs && (overSwitches(runs) / (streams * runs.cycles.length)) * 100,
    },
    {
      ...{ ...none, what: 'handovers that were not done' },
      value: runs?.cycles.filter(({ view }) => view.state !== 'done').length,
    },
    {
      ...{ ...times, what: 'p99 in a handover, against a LiteLLM that starts beside', limit: 1.5 },
      value: parts && parts.handover.p99 / parts.beside.p99,
    },
    {
      ...{ ...times, what: 'slowest request in a handover, against the same', limit: 2 },
      value: parts && parts.handover.slowest / parts.beside.slowest,
    },
    {
      what: "growth of the sidecar's resident memory",
      ...{ sense: 'at most', limit: 10, unit: '%', digits: 1 },
      value: runs && growth(runs),
    },
    {
      ...{ ...none, what: 'afterwards: folders, keys or LiteLLMs too many, client keys refused' },
      value: runs?.wrongAfterwards.length,
    },
    {
      what: 'steps at which the sidecar was killed',
      ...{ sense: 'at least', limit: STEPS.length, unit: '', digits: 0 },
      value: kills && STEPS.filter((step) => kills.hits[step] > 0).length,
    },
    {
      ...{
        ...none,
        what: 'after kills -9: handovers left undone, folders, keys or LiteLLMs too many',
      },
      value: kills?.violations.length,
    },
  ];
}

function sentences({ runs, kills }: Figures, effort: Effort, standIn: boolean): string {
  const lines: string[] = [];
  const { clients, streams, streamSeconds } = effort;
  if (runs !== undefined) {
    const { load, cycles } = runs;
    const views = cycles.map(({ view }) => view);
    const starts = views.map(
      (view) => Date.parse(view.switchedAt ?? '') - Date.parse(view.startedAt),
    );
    const drains = views.map(
      (view) => Date.parse(view.endedAt ?? '') - Date.parse(view.switchedAt ?? ''),
    );
    const [second = cycles[0], last] = [cycles[1], cycles.at(-1)];
    const memory = [second, last].map((cycle) => cycle && figure(load.memory(cycle.whole), 1));
    lines.push(
      `- Load: ${clients} clients in a closed loop of small chat completions on a mock model of ${standIn ? 'a stand-in for LiteLLM' : 'a real LiteLLM'}, whose answers are compared, ${figure(load.requests)} in all, ${figure(load.perSecond)} a second; beside them ${streams} SSE streams at a time of ${streamSeconds} s, ${load.streams.length} in all, which are whole where every number came, then \`[DONE]\`, then the end. Nothing is pinned to a core: all share them.`,
      `- In turns, ${cycles.length} times: a second LiteLLM starts beside, answers, and ends; then a handover, by a new key or a reload. Compared are the requests that were under way from the start to 2 s after the first answer, or after the switch. A switch came ${figure(median(starts) / 1000, 1)} s after the request, the end ${figure(median(drains) / 1000, 1)} s after the switch; medians.`,
      `- Memory is VmRSS of the sidecar, the median over the second cycle, then over the last one: ${memory.join(' MB, ')} MB.`,
    );
  }
  if (kills !== undefined) {
    const { hits, others, done, rolledBack } = kills;
    const all = STEPS.reduce((sum, step) => sum + hits[step], 0);
    lines.push(
      `- Kills, with a stand-in for LiteLLM that starts in no time: the sidecar ${all} times -9, by the step that was seen last: ${STEPS.map((step) => `${step} ${hits[step]}`).join(', ')}; launcher and either LiteLLM ${others} times, while the new one started and while the old one was drained. What was killed was started again; ${done} of these handovers were finished, ${rolledBack} rolled back. After each, what stands in the slots folder and in state/upstream was compared, LiteLLMs were counted, and the client key was tried.`,
    );
  }
  return lines.join('\n');
}

function latencyTable(runs: RunFigures): string {
  const { beside, handover } = partsOf(runs);
  const named = { 'a LiteLLM comes and goes': beside, 'a LiteLLM takes over': handover };
  return table(
    ['while', 'p50 ms', 'p99 ms', 'slowest ms'],
    Object.entries(named).map(([name, { p50, p99, slowest }]) => [
      name,
      ...[figure(p50), figure(p99), figure(slowest)],
    ]),
  );
}

async function main(folder: string): Promise<void> {
  const { help, standIn, isWhole, wants, effort } = readOptions();
  if (help) {
    process.stdout.write(HELP);
    return;
  }
  mainOf();
  const from = performance.now();
  const bin = await makeStandIn(folder);
  const real = standIn || !wants('load') ? bin : findLitellm();
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  const runs = wants('load')
    ? await measureRuns(join(folder, 'load'), { bin: real, key, effort })
    : undefined;
  const kills = wants('kills')
    ? await measureKills(join(folder, 'kills'), { bin, key, kills: effort.kills })
    : undefined;

  const figures = { runs, kills };
  const targets = targetsOf(figures, effort);
  const parts = [targetsTable(targets), sentences(figures, effort, standIn)];
  if (runs !== undefined) parts.push(latencyTable(runs));
  const text = parts.join('\n\n');
  process.stdout.write(`\n${text}\n`);
  if (isWhole) {
    const seconds = (performance.now() - from) / 1000;
    const line = runLine({ node: process.versions.node, seconds });
    writeSection(
      'bench:handover',
      `## Handovers under load: \`npm run bench:handover\`\n\n${line}\n\n${text}`,
    );
    say('wrote its part of bench/RESULTS.md');
  }
  if (missed(targets) > 0) process.exitCode = 1;
}

await runBench(main);
