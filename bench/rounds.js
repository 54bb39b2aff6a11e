/** The order of a run: interleaved, so that a machine that drifts does so under every peer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from './load/percentile.js';
import { LOOPS } from './scenarios.js';

/**
 * @typedef {{name: string, peer: import('./peers.js').Peer,
 *   running: Awaited<ReturnType<import('./stage.js').Stage['start']>>}} Contestant
 *
 * @typedef {object} LoopFigures medians over the rounds; times in milliseconds, shares of 1
 * @property {number} perSecond
 * @property {number} chunksPerSecond NaN: no stream
 * @property {number} p50
 * @property {number} p99
 * @property {number} proxyBusy
 * @property {number} restBusy
 * @property {number} foreign what others took of the proxy's core
 *
 * @typedef {object} StreamFigures
 * @property {number} open
 * @property {number} idleKiB resident before the streams
 * @property {number} perStreamKB resident bytes a stream, in thousands
 * @property {number} p50 of the delay of a chunk, in milliseconds
 * @property {number} p99
 * @property {number} chunks
 * @property {number} lost streams that ended by themselves
 */

const FIELDS = /** @type {const} */ ([
  'perSecond',
  'chunksPerSecond',
  'p50',
  'p99',
  'proxyBusy',
  'restBusy',
  'foreign',
]);

/**
 * @param {import('./stage.js').Stage} stage
 * @param {readonly Contestant[]} contestants
 * @param {import('./scenarios.js').Loop} loop
 * @param {import('./options.js').Options['effort']} effort
 * @returns {Promise<Map<string, LoopFigures>>}
 */
export async function runLoop(stage, contestants, loop, effort) {
  const scenario = LOOPS[loop];
  const kind = /** @type {'json' | 'sse'} */ (scenario.kind);
  /** @type {Map<string, any[]>} */
  const samples = new Map(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < effort.rounds[kind]; round += 1) {
    for (let i = 0; i < contestants.length; i += 1) {
      const contestant = contestants[(i + round) % contestants.length];
      if (contestant === undefined) continue;
      const { name, running } = contestant;
      const sample = await stage.loop(running, { ...scenario, ...effort[kind] });
      if (Object.keys(sample.faults).length > 0) {
        throw new Error(`${name}, ${loop}: ${JSON.stringify(sample.faults)}`);
      }
      samples.get(name)?.push(sample);
    }
  }
  return new Map(
    [...samples].map(([name, all]) => [
      name,
      /** @type {LoopFigures} */ (
        Object.fromEntries(FIELDS.map((field) => [field, median(all.map((s) => s[field]))]))
      ),
    ]),
  );
}

/**
 * Many open streams through one fresh process: what each costs in memory, and how late chunks come.
 * @param {import('./stage.js').Stage} stage
 * @param {import('./peers.js').Peer} peer
 * @param {import('./options.js').Options['effort']['streams']} effort
 * @returns {Promise<StreamFigures>}
 */
export async function runStreams(stage, peer, { count, ticking, settleMs, watchSeconds }) {
  const running = await stage.start(peer);
  const { port, pids } = running;
  try {
    await stage.ask({ kind: 'json', port, connections: 32, warmMs: 0, measureMs: 1000 });
    await sleep(settleMs / 2);
    const idleKiB = stage.resident(pids);
    const { open } = await stage.ask({ kind: 'streams-open', port, count, ticking });
    await sleep(settleMs);
    const opened = stage.resident(pids);
    const watched = await stage.ask({ kind: 'streams-watch', seconds: watchSeconds });
    const fullKiB = Math.max(opened, stage.resident(pids));
    const perStreamKB = ((fullKiB - idleKiB) * 1.024) / open;
    return { open, idleKiB, perStreamKB, ...watched };
  } finally {
    await stage.ask({ kind: 'streams-close' });
    await stage.stop(running);
  }
}

/**
 * How soon a peer is ready and how much it holds when nobody asks.
 * @param {import('./stage.js').Stage} stage
 * @param {import('./peers.js').Peer} peer
 * @param {number} times
 */
export async function runStart(stage, peer, times) {
  /** @type {number[]} */
  const ready = [];
  /** @type {number[]} */
  const idle = [];
  for (let i = 0; i < times; i += 1) {
    const running = await stage.start(peer);
    ready.push(running.readyMs ?? Number.NaN);
    await sleep(1000);
    idle.push((stage.resident(running.pids) * 1.024) / 1000);
    await stage.stop(running);
  }
  return { readyMs: median(ready), idleMB: median(idle), times };
}
