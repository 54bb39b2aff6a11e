import { parseArgs } from 'node:util';

const HELP = `npm run bench:handover -- [options]

  A real LiteLLM (LITELLM_BIN, or the one in .local/litellm) behind the built sidecar, under load,
  while LiteLLM is handed over from slot to slot; in turns with runs in which a second LiteLLM only
  comes and goes. A handover lasts about as long as a stream: with the defaults that is three times
  20 minutes, three times 5 for the baseline, and 10 for the kills.

  --runs <n>            of each kind (3); 0: the kills alone
  --handovers <n>       in a row, in each run (20)
  --stream-seconds <n>  how long each stream lasts (60)
  --clients <n>         in the closed loop (16)
  --streams <n>         beside it, of each handover (10)
  --kills, --no-kills   kill -9 at each step, and of launcher and LiteLLM (yes; with --quick no)
  --quick               1 run, 3 handovers, streams of 15 s: about 4 minutes
  --out <file>          all figures as JSON, each handover's steps among them
  --help

  A run with nothing changed but --out is written to bench/RESULTS.md.
`;

/** How often and how long; times in milliseconds unless the name says otherwise. */
const FULL = {
  /** Of each kind: with handovers and without. */
  runs: 3,
  handovers: 20,
  streamSeconds: 60,
  clients: 16,
  streams: 10,
  warmMs: 10_000,
};

/** @type {typeof FULL} */
const QUICK = { ...FULL, runs: 1, handovers: 3, streamSeconds: 15, warmMs: 3000 };

/** @typedef {typeof FULL} Effort */

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} standard
 * @param {number} least
 */
function whole(name, text, standard, least) {
  const value = text === undefined ? standard : Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new Error(`--${name} ${text}: a whole number from ${least} on`);
}

/**
 * @param {readonly string[]} argv
 * @throws {Error} on an unknown option, or a value that cannot be
 */
export function readOptions(argv) {
  const text = /** @type {const} */ ({ type: 'string' });
  const { values } = parseArgs({
    args: [...argv],
    allowNegative: true,
    options: {
      ...{ runs: text, handovers: text, 'stream-seconds': text, clients: text, streams: text },
      ...{ out: text, kills: { type: 'boolean' }, quick: { type: 'boolean' } },
      help: { type: 'boolean' },
    },
  });
  const { help, quick = false, kills, out, ...changed } = values;
  const standard = quick ? QUICK : FULL;
  return {
    help: help ? HELP : undefined,
    /** Only a whole run is worth keeping. */
    keep: !quick && kills !== false && Object.keys(changed).length === 0,
    kills: kills ?? !quick,
    out,
    /** @type {Effort} */
    effort: {
      ...standard,
      runs: whole('runs', values.runs, standard.runs, 0),
      handovers: whole('handovers', values.handovers, standard.handovers, 1),
      streamSeconds: whole('stream-seconds', values['stream-seconds'], standard.streamSeconds, 1),
      clients: whole('clients', values.clients, standard.clients, 1),
      streams: whole('streams', values.streams, standard.streams, 1),
    },
  };
}
