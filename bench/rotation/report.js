/** The figures as Markdown: what the terminal shows and what RESULTS.md keeps. */
import { judgedTable, runLine } from '../judged.js';
import { percent, table } from '../report.js';
import { MOST_BUSY, MOST_STOLEN, WANTED_PER_SECOND } from './run.js';
import { medianOf } from './steady.js';
import { judge } from './targets.js';

/** @typedef {import('./targets.js').Figures} Figures */

const whole = (/** @type {number} */ value) => Math.round(value).toLocaleString('en-GB');

/** @param {import('./steady.js').LoadFigures} load */
function loadTable({ halves }) {
  const head = ['run', 'req/s', 'p50 ms', 'p99 ms', 'chunk p99 ms', 'proxy CPU', 'stolen'];
  const more = ['rotations/s', 'call p50 ms', 'p99 ms', 'moves', 'refused', 'cut'];
  const rows = halves.map((run, at) => [
    `${(at >> 1) + 1}, ${run.rotating ? 'with rotations' : 'without'}`,
    whole(run.perSecond),
    run.p50.toFixed(2),
    run.p99.toFixed(2),
    run.chunkP99.toFixed(2),
    percent(run.proxyBusy),
    percent(run.stolen),
    run.rotations?.perSecond.toFixed(1) ?? '–',
    run.rotations?.p50.toFixed(1) ?? '–',
    run.rotations?.p99.toFixed(1) ?? '–',
    run.rotations === undefined ? '–' : whole(run.rotations.moves),
    whole(run.refused),
    whole(run.cut),
  ]);
  return table([...head, ...more], rows);
}

/** @param {import('./steady.js').LoadFigures} load */
function calmTurns({ turns: { taken, calm } }) {
  const limit = percent(MOST_STOLEN);
  if (taken === calm)
    return `In no turn did the host keep more than ${limit} of the cores for others.`;
  return `In ${taken - calm} of ${taken} turns the host kept more than ${limit} of the cores for others, in one half or the other: those are in no latency, and others took their place.`;
}

/** @param {Figures} figures @param {import('./options.js').Effort} effort */
function sentences({ load, kill, throughput }, effort) {
  const lines = [];
  if (load !== undefined) {
    const { lowest, highest } = load;
    const { turns, rotationsPerTurn, paceMs, graceMs, steadyMs, row, warmRotations } = effort;
    const rate = lowest === highest ? whole(lowest) : `${whole(lowest)} to ${whole(highest)}`;
    lines.push(
      `- Load: an open loop of ${rate} requests a second over 64 connections, beside 20 SSE streams with a chunk each 100 ms. It was fitted to the machine, whose speed wanders, again and again: at most ${whole(WANTED_PER_SECOND)} a second, and no more than keep the sidecar busy for ${percent(MOST_BUSY)} of a core. Latency counts from the instant at which a request was due, so that a stall meets all who were due in it; the load's timers add up to a millisecond to every figure.`,
      `- Rotations, over the admin socket, with a grace of ${graceMs} ms: each connection moves to each new key at a moment of its own, one in four by reading the published file. The streams stay on the first key. A run begins with a process and a keyring for ${whole(row.rotations)} rotations in a row, one each ${row.paceMs} ms without a rest, of which no request may be refused or fail and no stream be cut.`,
      `- p99: then another process and keyring for ${whole(turns * rotationsPerTurn)} rotations, one each ${paceMs} ms, in ${turns} turns of ${rotationsPerTurn}, each beside ${steadyMs / 1000} s of the same load without, every second turn in the other order: so both see the same minutes of a machine whose speed wanders. Before them ${warmRotations} that do not count, so that V8 has compiled what they do. ${calmTurns(load)} p99 is that of all requests of a run's turns of one kind, compared by the medians of the runs: ${medianOf(load, false, 'p99').toFixed(2)} ms without, ${medianOf(load, true, 'p99').toFixed(2)} ms with.`,
    );
  }
  if (kill !== undefined) {
    lines.push(
      `- Kills: ${kill.kills} times -9 at a random moment of ${whole(kill.rotations)} rotations as fast as they go with graces from 0 to an hour, and of ${whole(kill.revoked)} revocations; of the rotations that were cut off, ${kill.cutOff}, ${kill.completed} had shown their key and were completed at the next start. After the starts ${whole(kill.working)} keys that had to work did, ${whole(kill.refused)} that had not to were refused, ${whole(kill.deadlines)} printed deadlines were compared, and the audit was verified.`,
    );
  }
  if (throughput !== undefined) {
    const { before, now, lower, upper, pairs } = throughput;
    const { rounds, measureMs } = effort.throughput;
    lines.push(
      `- Throughput: ${whole(before)} requests a second before rotation came, ${whole(now)} now; medians of ${pairs} pairs of fresh processes, one of each build, with ${rounds} rounds in turns of ${measureMs} ms each. What is judged is the median of the pairs' own ratios, half of which lie between ${lower.toFixed(3)} and ${upper.toFixed(3)}: two processes of one build differ by as much.`,
    );
  }
  return lines.join('\n');
}

/** @param {Figures} figures @param {import('./options.js').Effort} effort */
export const figuresText = (figures, effort) =>
  [
    judgedTable(judge(figures)),
    sentences(figures, effort),
    figures.load === undefined ? '' : loadTable(figures.load),
  ]
    .filter((text) => text !== '')
    .join('\n\n');

/**
 * @param {object} given
 * @param {Figures} given.figures
 * @param {import('./options.js').Effort} given.effort
 * @param {ReturnType<import('../machine.js').describeMachine>} given.machine
 * @param {boolean} given.pinned
 * @param {Date} given.date
 * @param {number} given.seconds of the whole run
 */
export const sectionText = ({ figures, effort, machine, pinned, date, seconds }) =>
  `## Rotation under load: \`npm run bench:rotation\`

${runLine({ machine, date, seconds })} ${
    pinned
      ? "Load, rotating and upstream share one core. The sidecar's main thread keeps to the other one; its disk thread and V8's helpers may use both."
      : 'Processes were not pinned to cores.'
  }

${figuresText(figures, effort)}`;
