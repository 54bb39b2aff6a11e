/** `npm run bench:rotation`: does a rotation disturb anybody? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { chosen, runBench } from './harness/bench.ts';
import { pinLoad } from './harness/machine.ts';
import { startProgram, stop } from './harness/processes.ts';
import { startSidecar } from './harness/sidecar.ts';
import { measureDisturbance, RATE, STREAMS } from './rotation/disturb.ts';
import { measureKills } from './rotation/kills.ts';

const FULL = { row: 1000, paced: 60, everyMs: 5000, kills: 20 };
const QUICK: typeof FULL = { row: 100, paced: 12, everyMs: 4000, kills: 5 };

const HELP = `npm run bench:rotation -- [options]

  Does a rotation disturb anybody? A built sidecar serves ${RATE} requests a second and ${STREAMS} SSE
  streams, while its key is rotated ${FULL.row} times without a rest, then every ${FULL.everyMs / 1000} s ${FULL.paced} times; another
  one is killed ${FULL.kills} times while keys rotate. Eight minutes, on a machine that does nothing else.

  --quick             ${QUICK.row} rotations, then ${QUICK.paced}, and ${QUICK.kills} kills, in 90 s; writes nothing
  --only load|kills   one part; writes nothing
  --help

  A whole run replaces its section of bench/RESULTS.md. Exit code 1: a target is missed.
`;

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
      results.push(await measureDisturbance(sidecar, key, effort));
      await stop(sidecar.child);
    }
    if (wanted.includes('kills')) {
      // Ended keys are tried by the dozen; the limit on wrong ones would answer in their place.
      const env = { SIDECAR_FAILURES_PER_MINUTE: '0' };
      const begin = () => startSidecar({ ...given, folder: join(folder, 'kills'), env });
      results.push(await measureKills(begin, key, effort.kills));
    }
    return results;
  },
});
