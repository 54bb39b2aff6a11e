/** `npm run bench:handover`: what does a handover between two LiteLLMs cost those who are served? */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { findLitellm, makeStandIn } from './handover/gateway.ts';
import { measureKills } from './handover/kills.ts';
import { measureRuns } from './handover/runs.ts';
import { chosen, runBench } from './harness/bench.ts';

const FULL = { cycles: 5, streamSeconds: 10, clients: 16, streams: 10, warmMs: 8000, kills: 10 };
const QUICK: typeof FULL = { ...FULL, cycles: 3, streamSeconds: 5, warmMs: 3000, kills: 5 };

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

await runBench({
  ...{ name: 'bench:handover', title: 'Handovers under load', help: HELP },
  ...{ full: FULL, quick: QUICK, options: ['only', 'stand-in'] },
  async measure({ folder, effort, values }) {
    const wanted = chosen(values.only, ['load', 'kills']);
    const standIn = await makeStandIn(folder);
    const key = `sk-bench${randomBytes(20).toString('hex')}`;
    const results = [];
    if (wanted.includes('load')) {
      const litellm = values['stand-in']
        ? { bin: standIn, name: 'a stand-in for LiteLLM' }
        : { bin: findLitellm(), name: 'a real LiteLLM' };
      results.push(await measureRuns(join(folder, 'load'), { ...litellm, key, effort }));
    }
    if (wanted.includes('kills')) {
      const options = { bin: standIn, key, kills: effort.kills };
      results.push(await measureKills(join(folder, 'kills'), options));
    }
    return results;
  },
});
