import { parseArgs } from 'node:util';
import { PEERS } from './peers.js';
import { SCENARIOS } from './scenarios.js';

const HELP = `npm run bench -- [options]

  --quick             a run of about 40 seconds: fewer rounds, 1,000 streams through
                      http-proxy and the sidecar alone; writes nothing
  --only a,b          these peers: ${PEERS.map(({ name }) => name).join(', ')}
  --scenario a,b      these scenarios: ${SCENARIOS.join(', ')}
  --help
`;

/** How often and how long; times in milliseconds unless the name says otherwise. */
const FULL = {
  rounds: { json: 5, sse: 3, start: 7 },
  burnInMs: 8000,
  json: { warmMs: 250, measureMs: 950 },
  sse: { warmMs: 400, measureMs: 1200 },
  streams: { everyone: true, count: 9_500, ticking: 200, settleMs: 2000, watchSeconds: 8 },
};

/** @type {typeof FULL} */
const QUICK = {
  rounds: { json: 2, sse: 1, start: 3 },
  burnInMs: 500,
  json: { warmMs: 150, measureMs: 350 },
  sse: { warmMs: 200, measureMs: 500 },
  streams: { everyone: false, count: 1_000, ticking: 200, settleMs: 500, watchSeconds: 2 },
};

/**
 * @param {string | undefined} list
 * @param {readonly string[]} known
 * @param {string} option
 */
function pick(list, known, option) {
  if (list === undefined) return known;
  const names = list.split(',');
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return known.filter((name) => names.includes(name));
  throw new Error(`${option} ${unknown}: known are ${known.join(', ')}`);
}

/**
 * @param {readonly string[]} argv
 * @throws {Error} on an unknown option, peer or scenario
 */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      scenario: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    help: values.help ? HELP : undefined,
    /** Only a whole run is worth keeping. */
    keep: !values.quick && values.only === undefined && values.scenario === undefined,
    peers: pick(
      values.only,
      PEERS.map(({ name }) => name),
      '--only',
    ),
    scenarios: pick(values.scenario, SCENARIOS, '--scenario'),
    effort: values.quick ? QUICK : FULL,
  };
}

/** @typedef {ReturnType<typeof readOptions>} Options */
