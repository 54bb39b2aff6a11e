/** Closed loops through two builds in turns: what one costs more than the other. */
import { median } from '../load/percentile.js';
import { MAIN } from '../peers/sidecar.js';
import { createSidecar } from './sidecar.js';

const CONNECTIONS = 32;

/**
 * @typedef {object} ThroughputFigures
 * @property {number} before requests a second, the median of all rounds
 * @property {number} now
 * @property {number} ratio of the medians
 * @property {number} paired the median of the rounds' own ratios
 * @property {number} rounds
 */

/**
 * @param {import('../stage.js').Stage} stage
 * @param {string} beforeMain
 * @param {import('./options.js').Effort} effort
 * @returns {Promise<ThroughputFigures>}
 */
export async function measureThroughput(stage, beforeMain, { burnInMs, throughput }) {
  const builds = [];
  for (const main of [beforeMain, MAIN]) {
    const running = await stage.start(createSidecar({ main }).peer);
    builds.push({ running, perSecond: /** @type {number[]} */ ([]) });
  }
  const job = { kind: 'json', connections: CONNECTIONS };
  for (const { running } of builds) {
    await stage.loop(running, { ...job, warmMs: burnInMs, measureMs: 0 });
  }
  const { rounds, warmMs, measureMs } = throughput;
  for (let round = 0; round < rounds; round += 1) {
    for (const build of round % 2 === 0 ? builds : [...builds].reverse()) {
      const seen = await stage.loop(build.running, { ...job, warmMs, measureMs });
      if (Object.keys(seen.faults).length > 0) throw new Error(JSON.stringify(seen.faults));
      build.perSecond.push(seen.perSecond);
    }
  }
  for (const { running } of builds) await stage.stop(running);
  const [of = [], own = []] = builds.map(({ perSecond }) => perSecond);
  const [before, now] = [median(of), median(own)];
  const paired = median(own.map((value, round) => value / (of[round] ?? Number.NaN)));
  return { before, now, ratio: now / before, paired, rounds };
}
