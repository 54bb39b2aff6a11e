/** `npm run bench:rotation`: what rotating keys costs those who are being served meanwhile. */
import { randomBytes } from 'node:crypto';
import { keepTo } from './children.js';
import { describeMachine, pickCores } from './machine.js';
import { runInFolder, say } from './own-folder.js';
import { measureAdmission } from './rotation/admission.js';
import { measureKills } from './rotation/kills.js';
import { readOptions } from './rotation/options.js';
import { figuresText, sectionText } from './rotation/report.js';
import { measureLoad } from './rotation/steady.js';
import { judge } from './rotation/targets.js';
import { measureThroughput } from './rotation/throughput.js';
import { ROTATION } from './sections.js';
import { createStage } from './stage.js';

/**
 * @param {string} folder
 * @param {ReturnType<typeof readOptions>} options
 * @param {ReturnType<typeof pickCores>} cores
 * @returns {Promise<import('./rotation/targets.js').Figures>}
 */
async function measure(folder, { parts, before, effort }, cores) {
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  // A thread that serves and is moved to the load's core waits for the load: that is no latency of
  // the sidecar's. Its other threads go where there is room, as they do where nothing is pinned.
  const stage = await createStage({ cores, pinned: 'main thread', key, folder });
  /** @template T @param {import('./rotation/options.js').Part} name @param {() => Promise<T>} run */
  const part = async (name, run) => {
    if (!parts.includes(name)) return undefined;
    say(`measuring ${name}`);
    return await run();
  };
  const load = await part('load', () => measureLoad(stage, effort, { key, cores, say }));
  const kill = await part('kill', () => measureKills(stage, effort.kills, { key, say }));
  const admission = await part('admission', () => measureAdmission(cores?.proxy));
  if (before === undefined) return { load, kill, admission, throughput: undefined };
  const throughput = await part('throughput', () => measureThroughput(stage, before, effort, say));
  return { load, kill, admission, throughput };
}

/** @param {string} folder */
async function main(folder) {
  const options = readOptions(process.argv.slice(2));
  if (options.help !== undefined) {
    process.stdout.write(options.help);
    return;
  }
  const from = performance.now();
  const cores = pickCores();
  // It rotates, and so is one of the load's processes.
  if (cores !== undefined) keepTo(cores.rest);
  const figures = await measure(folder, options, cores);
  const { effort } = options;
  process.stdout.write(`\n${figuresText(figures, effort)}\n`);
  if (options.keep) {
    const section = sectionText({
      ...{ figures, effort, machine: describeMachine(), pinned: cores !== undefined },
      ...{ date: new Date(), seconds: (performance.now() - from) / 1000 },
    });
    ROTATION.keep(section);
    say('wrote its part of bench/RESULTS.md');
  }
  const missed = judge(figures).filter(({ met }) => !met);
  if (missed.length > 0) say(`targets missed: ${missed.length}`);
}

await runInFolder(main);
