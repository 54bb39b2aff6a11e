/** `npm run bench:rotation`: does a rotation disturb anybody? */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pickCores } from './harness/machine.ts';
import { runBench, say, startProgram, stop } from './harness/processes.ts';
import {
  figure,
  missed,
  runLine,
  type Target,
  table,
  targetsTable,
  writeSection,
} from './harness/report.ts';
import { mainOf, startSidecar } from './harness/sidecar.ts';
import {
  AROUND_MS,
  CONNECTIONS,
  type Disturbance,
  type Effort,
  GRACE_MS,
  measureDisturbance,
  STREAMS,
} from './rotation/disturb.ts';
import { type KillFigures, measureKills } from './rotation/kills.ts';

const FULL: Effort = { row: 1000, paced: 60, everyMs: 5000, kills: 20, rate: 2000 };
const QUICK: Effort = { ...FULL, row: 100, paced: 12, everyMs: 4000, kills: 5 };

const HELP = `npm run bench:rotation -- [options]

  Does a rotation disturb anybody? A built sidecar serves ${CONNECTIONS} connections at a fixed rate and
  ${STREAMS} SSE streams, while its key is rotated ${FULL.row} times without a rest, then every ${FULL.everyMs / 1000} s
  ${FULL.paced} times; another one is killed ${FULL.kills} times while keys rotate. About eight minutes.

  --quick             ${QUICK.row} rotations, then ${QUICK.paced}, and ${QUICK.kills} kills, in 90 s; writes nothing
  --only load|kills   one part; writes nothing
  --rate <n>          requests a second (${FULL.rate}); less where the machine is slow; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

type Part = 'load' | 'kills';

/** @throws on an unknown option, or a value that cannot be */
function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({ options: { quick: flag, help: flag, only: text, rate: text } });
  const { quick, help, only } = values;
  if (only !== undefined && only !== 'load' && only !== 'kills') {
    throw new Error(`--only ${only}: known are load, kills`);
  }
  const standard = quick ? QUICK : FULL;
  const rate = Number(values.rate ?? standard.rate);
  if (!(Number.isInteger(rate) && rate >= 100 && rate <= 20_000)) {
    throw new Error(`--rate ${values.rate}: a whole number from 100 to 20000`);
  }
  const isWhole = !quick && only === undefined && values.rate === undefined;
  return {
    help,
    isWhole,
    wants: (part: Part) => only === undefined || only === part,
    effort: { ...standard, rate },
  };
}

interface Figures {
  readonly load: Disturbance | undefined;
  readonly kills: KillFigures | undefined;
}

const targetsOf = ({ load, kills }: Figures): readonly Target[] => {
  const none = { sense: 'at most', limit: 0, unit: '', digits: 0 } as const;
  const faults = load && [...load.harm.faults.values()].reduce((sum, count) => sum + count, 0);
  return [
    {
      ...none,
      what: 'requests refused to clients that moved within the grace',
      value: load?.harm.refused,
    },
    { ...none, what: 'requests that failed in another way', value: faults },
    { ...none, what: 'streams cut', value: load?.harm.cut },
    {
      what: 'p99 of the seconds around a rotation, against the others',
      ...{ sense: 'at most', limit: 1.1, unit: '×', digits: 2 },
      value: load && load.around.p99 / load.others.p99,
    },
    {
      ...none,
      what: 'afterwards: keys taken past their grace, newest ones refused',
      value: load?.wrongAfterwards,
    },
    {
      ...none,
      what: 'after kills -9: keys lost or back, deadlines moved, audits broken',
      value: kills?.violations.length,
    },
  ];
};

function sentences({ load, kills }: Figures, effort: Effort): string {
  const lines: string[] = [];
  if (load !== undefined) {
    const { row, paced } = load;
    lines.push(
      `- Load: an open loop of ${figure(effort.rate)} requests a second over ${CONNECTIONS} connections, beside ${STREAMS} SSE streams that stay on the first key. Latency counts from the instant at which a request was due, and holds up to a millisecond of the load's timer.`,
      `- Without a rest: ${figure(effort.row)} rotations over the admin socket, each asked for when the one before was answered, with a grace of ${GRACE_MS} ms; eight keys are valid at a time at most, so that it took ${figure(row.seconds)} s. A call took ${figure(row.p50, 1)} ms (p99 ${figure(row.p99, 1)}). Each connection moved to each new key at a moment of its own in the first half of the grace, ${figure(load.moves)} times in all, one in four by reading the published file.`,
      `- At a pace: ${effort.paced} rotations, one each ${effort.everyMs / 1000} s, in the same process. "Around" are the ${AROUND_MS / 1000} s after the start of each, with its saves, the moves of all clients, and the end of the grace; "others" is the rest. ${paced.all - paced.calm} of ${paced.all} are left out because the host kept more than 1 % of the cores for others meanwhile.`,
    );
  }
  if (kills !== undefined) {
    lines.push(
      `- Kills: ${kills.kills} times -9 at a random moment of ${figure(kills.rotations)} rotations as fast as they go with graces from 0 to an hour, and of ${figure(kills.revoked)} revocations; of the rotations that were cut off, ${kills.cutOff}, ${kills.completed} had shown their key and were completed at the next start. After the starts ${figure(kills.working)} keys that had to work did, ${figure(kills.refused)} that had not to were refused, ${figure(kills.deadlines)} printed deadlines were compared, and the audit was verified.`,
    );
  }
  return lines.join('\n');
}

const latencyTable = ({ around, others }: Disturbance): string =>
  table(
    ['seconds', 'requests', 'p50 ms', 'p99 ms', 'slowest ms', 'p99 of the median second'],
    Object.entries({ 'around a rotation': around, others }).map(([name, seen]) => [
      name,
      ...[figure(seen.requests), figure(seen.p50, 2), figure(seen.p99, 2), figure(seen.slowest, 1)],
      figure(seen.usual, 2),
    ]),
  );

async function main(folder: string): Promise<void> {
  const { help, isWhole, wants, effort } = readOptions();
  if (help) {
    process.stdout.write(HELP);
    return;
  }
  mainOf();
  const from = performance.now();
  const { rest, measured } = pickCores();
  // Load and operator are this process, and share a core with the upstream.
  if (rest !== undefined) spawnSync('taskset', ['-a', '-cp', String(rest), String(process.pid)]);
  const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  const begin = (name: string, env: NodeJS.ProcessEnv = {}) =>
    startSidecar({
      ...{ folder: join(folder, name), upstreamPort: upstream.first.port, key, env },
      core: measured,
    });

  let load: Disturbance | undefined;
  if (wants('load')) {
    const sidecar = await begin('load');
    load = await measureDisturbance(sidecar, key, effort);
    await stop(sidecar.child);
    for (const [what, count] of load.harm.faults) say(`fault: ${what} (${count})`);
  }
  // Ended keys are tried by the dozen; the limit on wrong ones would answer in their place.
  const calm = { SIDECAR_FAILURES_PER_MINUTE: '0' };
  const kills = wants('kills')
    ? await measureKills(() => begin('kills', calm), key, effort.kills)
    : undefined;

  const figures = { load, kills };
  const targets = targetsOf(figures);
  const parts = [targetsTable(targets), sentences(figures, effort)];
  if (load !== undefined) parts.push(latencyTable(load));
  const text = parts.join('\n\n');
  process.stdout.write(`\n${text}\n`);
  if (isWhole) {
    const seconds = (performance.now() - from) / 1000;
    const line = runLine({ node: process.versions.node, seconds });
    writeSection(
      'bench:rotation',
      `## Rotation under load: \`npm run bench:rotation\`\n\n${line}\n\n${text}`,
    );
    say('wrote its part of bench/RESULTS.md');
  }
  if (missed(targets) > 0) process.exitCode = 1;
}

await runBench(main);
