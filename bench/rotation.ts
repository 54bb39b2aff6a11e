/** `npm run bench:rotation`: does a rotation disturb anybody? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { chosen, runBench } from './harness/bench.ts';
import { pinLoad } from './harness/machine.ts';
import { say, startProgram, stop } from './harness/processes.ts';
import { atMost, figure, none, table } from './harness/report.ts';
import { startSidecar } from './harness/sidecar.ts';
import {
  AROUND_MS,
  CONNECTIONS,
  type Disturbance,
  type Effort,
  GRACE_MS,
  measureDisturbance,
  RATE,
  STREAMS,
} from './rotation/disturb.ts';
import { type KillFigures, measureKills } from './rotation/kills.ts';

const FULL: Effort = { row: 1000, paced: 60, everyMs: 5000, kills: 20 };
const QUICK: Effort = { row: 100, paced: 12, everyMs: 4000, kills: 5 };

const HELP = `npm run bench:rotation -- [options]

  Does a rotation disturb anybody? A built sidecar serves ${RATE} requests a second and ${STREAMS} SSE
  streams, while its key is rotated ${FULL.row} times without a rest, then every ${FULL.everyMs / 1000} s ${FULL.paced} times; another
  one is killed ${FULL.kills} times while keys rotate. Eight minutes, on a machine that does nothing else.

  --quick             ${QUICK.row} rotations, then ${QUICK.paced}, and ${QUICK.kills} kills, in 90 s; writes nothing
  --only load|kills   one part; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

function loadResults(load: Disturbance, effort: Effort) {
  const { harm, row, around, others } = load;
  for (const [what, count] of harm.faults) say(`fault: ${what} (${count})`);
  const faults = [...harm.faults.values()].reduce((sum, count) => sum + count, 0);
  const p99 = around.p99 / others.p99;
  const targets = [
    none('requests refused to clients that moved in the grace', harm.refused),
    none('requests that failed in another way', faults),
    none('streams cut', harm.cut),
    atMost('p99 of the seconds around a rotation, against the others', 1.1, '×', p99),
    none('afterwards: keys taken past their grace, newest ones refused', load.wrongAfterwards),
  ];
  const sentences = [
    `- Load: ${figure(RATE)} requests a second over ${CONNECTIONS} connections, whatever became of those before, beside ${STREAMS} SSE streams that stay on the first key. Latency counts from the instant at which a request was due, and holds up to a millisecond of the load's timer.`,
    `- Without a rest: ${figure(effort.row)} rotations over the admin socket, each asked for when the one before was answered, with a grace of ${GRACE_MS} ms; eight keys are valid at a time at most, so that it took ${figure(row.seconds)} s. A call took ${figure(row.p50, 1)} ms (p99 ${figure(row.p99, 1)}). Each client read the published key again at a moment of its own in the first half of the grace, ${figure(load.reads)} times in all.`,
    `- At a pace: ${effort.paced} rotations, one each ${effort.everyMs / 1000} s, in the same process. "Around" are the ${AROUND_MS / 1000} s after the start of each, with its saves, the moves of all clients and the end of the grace. The seconds of ${load.leftOut} are left out: the host kept more than 1 % of the cores for others, or the load itself stood still for 20 ms.`,
  ];
  const seen = { 'around a rotation': around, others };
  const rows = Object.entries(seen).map(([name, { requests, p50, p99, slowest, usual }]) => [
    ...[name, figure(requests), figure(p50, 2), figure(p99, 2)],
    ...[figure(slowest, 1), figure(usual, 2)],
  ]);
  const head = [
    'seconds',
    'requests',
    'p50 ms',
    'p99 ms',
    'slowest ms',
    'p99 of the median second',
  ];
  return { targets, text: [sentences.join('\n'), table(head, rows)] };
}

function killResults(kills: KillFigures, count: number) {
  const what = 'after kills -9: keys lost or back, deadlines moved, audits broken';
  const targets = [none(what, kills.violations.length)];
  const sentence = `- Kills: ${count} times -9 at a random moment of ${figure(kills.rotations)} rotations as fast as they go with a grace of 0 or an hour, and of ${figure(kills.revoked)} revocations; of the rotations that were cut off, ${kills.cutOff}, ${kills.completed} had shown their key and were completed at the next start. After the starts ${figure(kills.working)} keys that had to work did, ${figure(kills.refused)} that had not to were refused, printed deadlines were compared with those before, and the audit was verified.`;
  return { targets, text: [sentence] };
}

await runBench({
  ...{ name: 'bench:rotation', title: 'Rotation under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: ['only'] },
  async measure({ folder, effort, values }) {
    const wanted = chosen(values.only, ['load', 'kills']);
    // Load and operator are this process, and share a core with the upstream.
    const core = pinLoad();
    const { first } = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
    const key = `sk-bench${randomBytes(20).toString('hex')}`;
    const given = { upstreamPort: first.port, key, core };
    const results = [];
    if (wanted.includes('load')) {
      const sidecar = await startSidecar({ ...given, folder: join(folder, 'load') });
      results.push(loadResults(await measureDisturbance(sidecar, key, effort), effort));
      await stop(sidecar.child);
    }
    if (wanted.includes('kills')) {
      // Ended keys are tried by the dozen; the limit on wrong ones would answer in their place.
      const env = { SIDECAR_FAILURES_PER_MINUTE: '0' };
      const begin = () => startSidecar({ ...given, folder: join(folder, 'kills'), env });
      results.push(killResults(await measureKills(begin, key, effort.kills), effort.kills));
    }
    return results;
  },
});
