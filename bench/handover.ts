/** `npm run bench:handover`: what does a handover between two LiteLLMs cost those who are served? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { findLitellm, makeStandIn } from './handover/gateway.ts';
import { type KillFigures, measureKills, STEPS } from './handover/kills.ts';
import { type Effort, measureRuns, type RunFigures } from './handover/runs.ts';
import { chosen, runBench } from './harness/bench.ts';
import { atLeast, atMost, figure, median, none, table } from './harness/report.ts';

const FULL: Effort = {
  ...{ cycles: 5, streamSeconds: 10, clients: 16, streams: 10, warmMs: 8000, kills: 10 },
};
const QUICK: Effort = { ...FULL, cycles: 3, streamSeconds: 5, warmMs: 3000, kills: 5 };

const HELP = `npm run bench:handover -- [options]

  What does a handover cost those who are served? A real LiteLLM (LITELLM_BIN, or the one that
  scripts/install-litellm.js made) runs behind the built sidecar, under load. In turns a second
  LiteLLM only comes and goes, and one takes over: by a new key, then by a reload. Then the sidecar is
  killed at each step of a handover, with a stand-in for LiteLLM that starts in no time. Three
  minutes.

  --quick             ${QUICK.cycles} handovers, streams of ${QUICK.streamSeconds} s, fewer kills: 90 s; writes nothing
  --only load|kills   one part; writes nothing
  --stand-in          no real LiteLLM at all: shows that nobody is cut, and not what it costs, for a
                      start of LiteLLM takes a core for some seconds; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

function loadResults({ load, cycles, wrongAfterwards }: RunFigures, effort: Effort, bin: string) {
  const { clients, streams, streamSeconds } = effort;
  const views = cycles.map(({ view }) => view);
  const switches = views.flatMap(({ switchedAt }) => (switchedAt ? Date.parse(switchedAt) : []));
  const over = switches
    .map((at) => load.streams.filter(({ from, to }) => at > from && at < to).length)
    .reduce((sum, count) => sum + count, 0);
  const besides = load.latencies(cycles.map(({ beside }) => beside));
  const handovers = load.latencies(cycles.map(({ handover }) => handover));
  // From the second cycle on: in the first one code is compiled and buffers grow.
  const [second = Number.NaN, last = Number.NaN] = [cycles[1]?.memory, cycles.at(-1)?.memory];
  const failed = [...load.faults.values()].reduce((sum, count) => sum + count, 0);
  const fragments = load.streams.filter(({ fault }) => fault !== undefined);
  const undone = views.filter(({ state }) => state !== 'done');
  const share = (over / (streams * cycles.length)) * 100;
  const [p99, slowest] = [handovers.p99 / besides.p99, handovers.slowest / besides.slowest];
  const left = 'afterwards: folders, keys or LiteLLMs too many, client keys refused';
  const targets = [
    none('requests that failed', failed),
    none('streams that were not whole', fragments.length),
    atLeast('streams under way at a switch, of those that run at a time', 90, '%', share),
    none('handovers that were not done', undone.length),
    atMost('p99 in a handover, against a LiteLLM that starts beside', 1.5, '×', p99),
    atMost('slowest request in a handover, against the same', 2, '×', slowest),
    atMost("growth of the sidecar's resident memory", 10, '%', (last / second - 1) * 100),
    none(left, wrongAfterwards.length),
  ];
  const msBetween = (from: string, to: string | null) => Date.parse(to ?? '') - Date.parse(from);
  const startMs = median(
    views.map(({ startedAt, switchedAt }) => msBetween(startedAt, switchedAt)),
  );
  const drainMs = median(
    views.map(({ switchedAt, endedAt }) => msBetween(switchedAt ?? '', endedAt)),
  );
  const sentences = [
    `- Load: ${clients} clients in a closed loop of small chat completions on a mock model of ${bin}, whose answers are compared, ${figure(load.requests)} in all, ${figure(load.perSecond)} a second; beside them ${streams} SSE streams at a time of ${streamSeconds} s, ${load.streams.length} in all, which are whole where every number came, then \`[DONE]\`, then the end. Nothing is pinned to a core: all share them.`,
    `- In turns, ${cycles.length} times: a second LiteLLM starts beside, answers, and ends; then a handover, by a new key or a reload. Compared are the requests that were under way from the start to 2 s after the first answer, or after the switch. A switch came ${figure(startMs / 1000, 1)} s after the request, the end ${figure(drainMs / 1000, 1)} s after the switch; medians.`,
    `- Memory is VmRSS of the sidecar, after the second cycle, then after the last one: ${figure(second, 1)} MB, ${figure(last, 1)} MB.`,
  ];
  const seen = { 'a LiteLLM comes and goes': besides, 'a LiteLLM takes over': handovers };
  const rows = Object.entries(seen).map(([name, { p50, p99, slowest }]) => [
    ...[name, figure(p50), figure(p99), figure(slowest)],
  ]);
  const latencies = table(['while', 'p50 ms', 'p99 ms', 'slowest ms'], rows);
  return { targets, text: [sentences.join('\n'), latencies] };
}

function killResults({ hits, done, rolledBack, violations }: KillFigures) {
  const all = STEPS.reduce((sum, step) => sum + hits[step], 0);
  const met = STEPS.filter((step) => hits[step] > 0).length;
  const left = 'after kills -9: handovers undone, folders, keys or LiteLLMs too many';
  const targets = [
    atLeast('steps at which the sidecar was killed', STEPS.length, '', met),
    none(left, violations.length),
  ];
  const sentence = `- Kills, with a stand-in for LiteLLM that starts in no time: the sidecar ${all} times -9, by the step that was seen last: ${STEPS.map((step) => `${step} ${hits[step]}`).join(', ')}. It was started again within half a second; ${done} of these handovers were finished, ${rolledBack} rolled back. After each, what stands in the slots folder and in state/upstream was compared, LiteLLMs were counted, and the client key was tried.`;
  return { targets, text: [sentence] };
}

await runBench({
  ...{ name: 'bench:handover', title: 'Handovers under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: ['only', 'stand-in'] },
  async measure({ folder, effort, values }) {
    const wanted = chosen(values.only, ['load', 'kills']);
    const standIn = await makeStandIn(folder);
    const key = `sk-bench${randomBytes(20).toString('hex')}`;
    const results = [];
    if (wanted.includes('load')) {
      const bin = values['stand-in'] ? standIn : findLitellm();
      const name = values['stand-in'] ? 'a stand-in for LiteLLM' : 'a real LiteLLM';
      const runs = await measureRuns(join(folder, 'load'), { bin, key, effort });
      results.push(loadResults(runs, effort, name));
    }
    if (wanted.includes('kills')) {
      const options = { bin: standIn, key, kills: effort.kills };
      results.push(killResults(await measureKills(join(folder, 'kills'), options)));
    }
    return results;
  },
});
