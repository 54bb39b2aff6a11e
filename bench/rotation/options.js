import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** What the bench measures, in this order. */
export const PARTS = /** @type {const} */ (['load', 'kill', 'admission', 'throughput']);
/** @typedef {(typeof PARTS)[number]} Part */

const HELP = `npm run bench:rotation -- [options]

  --quick             120 rotations, 3 kills, short rounds; writes nothing
  --only a,b          these parts: ${PARTS.join(', ')}; writes nothing
  --before <folder>   a checkout whose dist/ was built before rotation came: throughput
                      is measured against it; without it that part is left out
  --help

Takes about 65 minutes with --before, 60 without it, two with --quick; longer where the host is
busy with others.
`;

/** How often and how long; times in milliseconds. */
const FULL = {
  runs: 3,
  /**
   * Of a run, each with rotations and without them: short ones, so that a bad minute of a machine
   * that is shared falls in both.
   */
  turns: 50,
  /** Until so many were calm: see MOST_STOLEN in run.js. */
  mostTurns: 100,
  rotationsPerTurn: 20,
  /** The load is fitted to the machine before every so many of them. */
  turnsPerFit: 4,
  /** Without a rest, in a process and a keyring of their own: nothing may be refused or cut. */
  row: { rotations: 1000, paceMs: 150 },
  /**
   * Before the turns, at the pace of the row: V8 compiles what a rotation does over its first
   * hundred, and nothing is measured meanwhile.
   */
  warmRotations: 150,
  /** Between the starts of two rotations of a turn, and how long each older key stays good. */
  paceMs: 500,
  graceMs: 900,
  /** Of a turn without rotations. */
  steadyMs: 5000,
  burnInMs: 6000,
  /** How long the machine is watched before the load is fitted to it. */
  fitMs: 1500,
  kills: 20,
  /** Pairs of fresh processes, and how often each of a pair has its turn. */
  throughput: { pairs: 24, rounds: 6, burnInMs: 2500, warmMs: 100, measureMs: 300 },
};

/** @type {typeof FULL} */
const QUICK = {
  ...FULL,
  runs: 1,
  turns: 4,
  mostTurns: 12,
  row: { rotations: 40, paceMs: 150 },
  warmRotations: 10,
  burnInMs: 1500,
  kills: 3,
  throughput: { pairs: 2, rounds: 4, burnInMs: 1500, warmMs: 100, measureMs: 300 },
};

/** @typedef {typeof FULL} Effort */

/** @param {string | undefined} list @returns {readonly Part[]} */
function pickParts(list) {
  if (list === undefined) return PARTS;
  const names = list.split(',');
  const unknown = names.find((name) => !PARTS.some((part) => part === name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: known are ${PARTS.join(', ')}`);
  return PARTS.filter((part) => names.includes(part));
}

/** @param {string | undefined} folder @returns {string | undefined} its main.js */
function mainIn(folder) {
  if (folder === undefined) return undefined;
  const main = join(resolve(folder), 'dist', 'main.js');
  if (existsSync(main)) return main;
  throw new Error(`--before ${folder}: no dist/main.js there; run npm ci and npm run build in it`);
}

/**
 * @param {readonly string[]} argv
 * @throws {Error} on an unknown option or part, or a folder without a build
 */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      before: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    help: values.help ? HELP : undefined,
    /** Only a whole run is worth keeping. */
    keep: !values.quick && values.only === undefined,
    parts: pickParts(values.only),
    before: mainIn(values.before),
    effort: values.quick ? QUICK : FULL,
  };
}
