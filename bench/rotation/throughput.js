/** Closed loops through two builds in turns: what one costs more than the other. */
import { median, percentile } from '../load/percentile.js';
import { MAIN } from '../peers/sidecar.js';
import { createSidecar } from './sidecar.js';

const JOB = { kind: 'json', connections: 32 };

/**
 * @typedef {object} ThroughputFigures
 * @property {number} before requests a second, the median of all pairs
 * @property {number} now
 * @property {number} ratio the median of the pairs' own ratios
 * @property {number} lower the quartiles of those
 * @property {number} upper
 * @property {number} pairs
 */

/**
 * Both builds as fresh processes: two processes of one build differ by up to a tenth from each
 * other for as long as they live, so that one pair says little.
 *
 * @param {import('../stage.js').Stage} stage
 * @param {readonly string[]} mains in the order in which they start
 * @param {import('./options.js').Effort['throughput']} effort
 * @returns {Promise<Map<string, number>>} requests a second of each
 */
async function measurePair(stage, mains, { rounds, burnInMs, warmMs, measureMs }) {
  const builds = [];
  for (const main of mains) {
    const running = await stage.start(createSidecar({ main }).peer);
    builds.push({ main, running, perSecond: /** @type {number[]} */ ([]) });
  }
  for (const { running } of builds) {
    await stage.loop(running, { ...JOB, warmMs: burnInMs, measureMs: 0 });
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const build of round % 2 === 0 ? builds : [...builds].reverse()) {
      const seen = await stage.loop(build.running, { ...JOB, warmMs, measureMs });
      if (Object.keys(seen.faults).length > 0) throw new Error(JSON.stringify(seen.faults));
      build.perSecond.push(seen.perSecond);
    }
  }
  for (const { running } of builds) await stage.stop(running);
  return new Map(builds.map(({ main, perSecond }) => [main, median(perSecond)]));
}

/**
 * @param {import('../stage.js').Stage} stage
 * @param {string} beforeMain
 * @param {import('./options.js').Effort} effort
 * @param {(text: string) => void} say
 * @returns {Promise<ThroughputFigures>}
 */
export async function measureThroughput(stage, beforeMain, { throughput }, say) {
  const pairs = [];
  for (let pair = 0; pair < throughput.pairs; pair += 1) {
    const mains = pair % 2 === 0 ? [beforeMain, MAIN] : [MAIN, beforeMain];
    const seen = await measurePair(stage, mains, throughput);
    const [before = Number.NaN, now = Number.NaN] = [seen.get(beforeMain), seen.get(MAIN)];
    pairs.push({ before, now, ratio: now / before });
    say(`pair ${pair + 1} of ${throughput.pairs}: ${(now / before).toFixed(3)} x`);
  }
  const ratios = pairs.map(({ ratio }) => ratio).sort((a, b) => a - b);
  return {
    before: median(pairs.map(({ before }) => before)),
    now: median(pairs.map(({ now }) => now)),
    ratio: median(ratios),
    lower: percentile(ratios, 25),
    upper: percentile(ratios, 75),
    pairs: pairs.length,
  };
}
