/** The figures as Markdown: what the terminal shows and what RESULTS.md keeps. */
import { judgedTable, runLine } from '../judged.js';
import { median } from '../load/percentile.js';
import { table } from '../report.js';
import { STEPS } from './follow.js';
import { judge, medianOf, ofKind } from './targets.js';

/** @typedef {import('./targets.js').Figures} Figures */
/** @typedef {import('./targets.js').RunFigures} RunFigures */
/** @typedef {import('./options.js').Effort} Effort */

const whole = (/** @type {number} */ value) =>
  Number.isFinite(value) ? Math.round(value).toLocaleString('en-GB') : '–';
const tenth = (/** @type {number} */ value) => (Number.isFinite(value) ? value.toFixed(1) : '–');

/** @param {readonly RunFigures[]} runs */
function runsTable(runs) {
  const head = ['run', 'requests', 'req/s', 'p50 ms', 'p99 ms', 'slowest ms'];
  const more = ['p99 ±1 s', 'slowest ±1 s', 'p99 starting', 'failed'];
  const rest = ['streams', 'over a switch', 'cut', 'MB, then'];
  const rows = runs.map(({ handingOver, load, memory, ...run }) => [
    handingOver ? 'handovers' : 'baseline',
    whole(load.requests),
    whole(load.perSecond),
    whole(load.p50),
    whole(load.p99),
    whole(load.slowest),
    whole(load.during.switch?.p99 ?? Number.NaN),
    whole(load.during.switch?.slowest ?? Number.NaN),
    whole(load.during.starting?.p99 ?? Number.NaN),
    whole(load.failed),
    whole(run.streams),
    handingOver ? whole(run.atSwitch) : '–',
    whole(run.cut),
    `${tenth(memory.start)}, ${tenth(memory.end)}`,
  ]);
  return table([...head, ...more, ...rest], rows);
}

/** How long the steps took, in all runs. @param {readonly RunFigures[]} runs */
function stepsTable(runs) {
  const handovers = runs.flatMap(({ cycles }) => cycles).flatMap(({ handover }) => handover ?? []);
  const rows = STEPS.map((step) => {
    const took = handovers.flatMap(({ stepMs }) => stepMs[step] ?? []);
    const most = took.length === 0 ? Number.NaN : Math.max(...took);
    return [step, whole(took.length), whole(median(took)), whole(most)];
  });
  return table(['step', 'seen', 'median ms', 'longest ms'], rows);
}

/** @param {readonly RunFigures[]} runs @param {Effort} effort */
function loadSentences(runs, effort) {
  const { clients, streams, streamSeconds, handovers } = effort;
  const start = (/** @type {boolean} */ handingOver) =>
    median(
      ofKind(runs, handingOver)
        .flatMap(({ cycles }) => cycles)
        .map(({ starting }) => (starting.to - starting.from) / 1000),
    );
  const starting = (/** @type {boolean} */ handingOver) =>
    medianOf(runs, handingOver, ({ load }) => load.during.starting?.p99 ?? Number.NaN);
  return [
    `- Load: ${clients} clients in a closed loop of small chat completions on a mock model, whose answers are compared, beside ${streams} SSE streams of ${streamSeconds} s, which count in chunks 250 ms apart and are whole where every number came, then \`[DONE]\`, then the end. A request failed where its status was not 200 or its connection broke.`,
    `- Handovers: ${whole(handovers)} in a row in each run. The streams of one begin together; the next one is asked for while the one before drains, waits, and begins when those streams have ended; the last one of a run also waits for SIDECAR_PROBATION to be over. \`over a switch\` counts the streams that were under way at a switch.`,
    `- Baseline: the same load while a second LiteLLM is started beside the first, by a launcher of its own, and, once it answers, stopped, ${whole(handovers)} times and without a switch; streams follow each other. Its starts take a larger part of a shorter run than those of the handovers, whose drains last as long as a stream: compare the figures of the starts alone (\`p99 starting\`, ${whole(starting(false))} ms without and ${whole(starting(true))} ms with a handover) and those around the switch, or around the instant at which the second LiteLLM answers (\`±1 s\`). A start took ${tenth(start(false))} s without, ${tenth(start(true))} s with (until the switch); medians.`,
    `- Targets compare medians of the runs: p99 ${whole(medianOf(runs, false, ({ load }) => load.p99))} ms without and ${whole(medianOf(runs, true, ({ load }) => load.p99))} ms with handovers, slowest request ${whole(medianOf(runs, false, ({ load }) => load.slowest))} ms and ${whole(medianOf(runs, true, ({ load }) => load.slowest))} ms. Every request counts.`,
    '- Memory is VmRSS of the sidecar, read each second: the median over the second handover, so after the first one as a warm-up, then that over the last one.',
  ];
}

/** @param {import('./kills.js').KillFigures} kills */
function killSentence({ hits, others, done, rolledBack }) {
  const steps = STEPS.map((step) => `${step} ${hits[step]}`).join(', ');
  const total = STEPS.reduce((sum, step) => sum + hits[step], 0);
  return `- Kills: the sidecar ${total} times -9, by the step that was seen last: ${steps}; launcher and either LiteLLM ${others} times, while the new one started and while the old one was drained. What was killed was started again; ${done} of these handovers were finished, ${rolledBack} rolled back. After each, what stands in the slots folder and in state/upstream was compared, LiteLLMs were counted, and the client key was tried. For these SIDECAR_PROBATION was 3 s.`;
}

/** @param {Figures} figures @param {Effort} effort */
export function figuresText(figures, effort) {
  const { runs, kills } = figures;
  const sentences = [
    ...(runs === undefined ? [] : loadSentences(runs, effort)),
    ...(kills === undefined ? [] : [killSentence(kills)]),
  ];
  const parts = [judgedTable(judge(figures)), sentences.join('\n')];
  return [...parts, ...(runs === undefined ? [] : [runsTable(runs), stepsTable(runs)])].join(
    '\n\n',
  );
}

/**
 * @param {object} given
 * @param {Figures} given.figures
 * @param {Effort} given.effort
 * @param {ReturnType<typeof import('../machine.js').describeMachine>} given.machine
 * @param {Date} given.date
 * @param {number} given.seconds of the whole run
 */
export const sectionText = ({ figures, effort, machine, date, seconds }) =>
  `## Handovers under load: \`npm run bench:handover\`

${runLine({ machine, date, seconds })} Nothing was pinned to a core: both LiteLLMs, the sidecar, clients and provider share ${machine.cores} of them. One LiteLLM under this load takes one core by itself, and another one that starts takes what is left.

${figuresText(figures, effort)}`;
