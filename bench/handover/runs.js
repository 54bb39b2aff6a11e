/** The same load beside handovers, and beside a second LiteLLM that only comes and goes. */
import { join } from 'node:path';
import { inspect } from './aftermath.js';
import { createClients } from './clients.js';
import { handOverInARow, startInARow } from './cycles.js';
import { startGateway } from './gateway.js';
import { watchMemory } from './memory.js';

/** Around a switch, and around the instant at which the second LiteLLM answers. */
const AROUND_MS = 1000;

/**
 * @typedef {object} RunFigures
 * @property {boolean} handingOver
 * @property {Awaited<ReturnType<import('./clients.js').Clients['end']>>} load in milliseconds;
 *   `during`: `switch`, or where there is none the start's end, and `starting`
 * @property {readonly import('./cycles.js').Cycle[]} cycles
 * @property {number} streams
 * @property {number} cut
 * @property {number} atSwitch streams that were under way at a switch
 * @property {{start: number, end: number}} memory MB
 * @property {readonly string[]} wrongAfterwards
 * @property {number} seconds
 */

/** @param {import('./options.js').Effort} effort */
const settingsFor = ({ streamSeconds }) => ({
  // The streams end by themselves; what has to be cut is a fault.
  SIDECAR_DRAIN: `${streamSeconds + 120}s`,
});

/** @param {readonly import('./cycles.js').Cycle[]} cycles */
function spansOf(cycles) {
  const around = cycles.map(({ switchedAt, starting }) => switchedAt ?? starting.to);
  return {
    switch: around.map((at) => ({ from: at - AROUND_MS, to: at + AROUND_MS })),
    starting: cycles.map(({ starting }) => starting),
  };
}

const seconds = (/** @type {import('./timed.js').Span} */ { from, to }) =>
  `${((to - from) / 1000).toFixed(1)} s`;

/**
 * What has been seen of a run so far, told cycle by cycle.
 * @param {import('./options.js').Effort} effort
 * @param {(text: string) => void} say
 */
function createLog({ handovers }, say) {
  /** @type {import('./streams.js').StreamEnd[]} */
  const streams = [];
  /** @type {import('./cycles.js').Cycle[]} */
  const cycles = [];
  let seen = { requests: 0, failed: 0 };
  const cut = () => streams.filter(({ fault }) => fault !== undefined);
  return {
    ...{ streams, cycles, cut },
    /** @param {Awaited<ReturnType<import('./clients.js').Clients['streams']>>} answer */
    onStreams(answer) {
      streams.push(...answer.streams);
      seen = answer.seen;
    },
    /** @param {import('./cycles.js').Cycle} cycle @param {number} number */
    onCycle(cycle, number) {
      cycles.push(cycle);
      const how = cycle.handover === undefined ? 'came and went' : cycle.handover.state;
      const fault = cycle.handover?.fault;
      const took = `${seconds(cycle.whole)}, of which the start ${seconds(cycle.starting)}`;
      const load = `so far ${seen.requests} requests, ${seen.failed} failed`;
      const whole = `${streams.length - cut().length} of ${streams.length} streams whole`;
      const what = fault === undefined ? how : `${how} (${fault})`;
      say(`  ${number}/${handovers} ${what} in ${took}; ${load}, ${whole}`);
    },
  };
}

/** Streams that were under way at a switch. @param {ReturnType<typeof createLog>} log */
function overSwitch({ streams, cycles }) {
  const switches = cycles.flatMap(({ switchedAt }) => switchedAt ?? []);
  return streams.filter(({ from, to }) => switches.some((at) => at > from && at < to)).length;
}

/** From the second handover on: in the first one code is compiled and buffers grow. */
function growth(
  /** @type {readonly import('./cycles.js').Cycle[]} */ cycles,
  /** @type {ReturnType<typeof watchMemory>} */ memory,
) {
  const [first, second = first] = cycles;
  const last = cycles.at(-1);
  return {
    start: second === undefined ? Number.NaN : memory.during(second.whole),
    end: last === undefined ? Number.NaN : memory.during(last.whole),
  };
}

/**
 * @param {string} folder
 * @param {boolean} handingOver
 * @param {import('./options.js').Effort} effort
 * @param {{key: string, say: (text: string) => void}} given
 * @returns {Promise<RunFigures>}
 */
async function runOnce(folder, handingOver, effort, { key, say }) {
  const from = performance.now();
  const gateway = await startGateway(folder, { key, settings: settingsFor(effort) });
  const clients = await createClients();
  const { port } = gateway;
  await clients.begin({ port, key, clients: effort.clients, warmMs: effort.warmMs });
  const memory = watchMemory(gateway.sidecarPid());
  const log = createLog(effort, say);
  const { cycles, onCycle } = log;
  const job = { port, key, count: effort.streams, seconds: effort.streamSeconds };
  const streams = async () => log.onStreams(await clients.streams(job));

  const round = { gateway, count: effort.handovers, streams, onCycle };
  await (handingOver ? handOverInARow(round) : startInARow(round));
  const load = await clients.end(spansOf(cycles));
  memory.stop();
  const wrongAfterwards = await inspect(gateway);
  const cut = log.cut();
  if (load.failed + cut.length + wrongAfterwards.length > 0) {
    for (const line of gateway.lastWords()) say(`  ${line}`);
  }
  await clients.stop();
  await gateway.stop();
  for (const { fault } of cut) say(`  a stream: ${fault}`);
  if (load.failed > 0) say(`  faults: ${JSON.stringify(load.faults)}`);
  for (const wrong of wrongAfterwards) say(`  afterwards: ${wrong}`);
  return {
    ...{ handingOver, load, cycles, wrongAfterwards, memory: growth(cycles, memory) },
    ...{ streams: log.streams.length, cut: cut.length, atSwitch: overSwitch(log) },
    seconds: (performance.now() - from) / 1000,
  };
}

/**
 * In turns, every pair in the other order, each run with a gateway of its own.
 * @param {string} folder
 * @param {import('./options.js').Effort} effort
 * @param {{key: string, say: (text: string) => void}} given
 */
export async function measureRuns(folder, effort, given) {
  /** @type {RunFigures[]} */
  const runs = [];
  for (let pair = 0; pair < effort.runs; pair += 1) {
    for (const handingOver of pair % 2 === 0 ? [false, true] : [true, false]) {
      const number = runs.length + 1;
      const kind = handingOver ? 'handovers' : 'baseline';
      given.say(`run ${number} of ${effort.runs * 2}: ${kind}`);
      runs.push(await runOnce(join(folder, `run-${number}`), handingOver, effort, given));
    }
  }
  return runs;
}
