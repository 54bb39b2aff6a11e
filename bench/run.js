/** `npm run bench`: the sidecar against its peers, in one run on one machine. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describeMachine, fileLimit, pickCores } from './machine.js';
import { readOptions } from './options.js';
import { reason, runInFolder, say } from './own-folder.js';
import { DIRECT, PEERS, REFERENCE, SUBJECT } from './peers.js';
import { figuresText, foreignShare, percent } from './report.js';
import { resultsText } from './results.js';
import { runLoop, runStart, runStreams } from './rounds.js';
import { LOOPS, START, STREAMS } from './scenarios.js';
import { createStage } from './stage.js';
import { judge } from './targets.js';
import { validate } from './validate.js';

/** Without these a run says nothing; of the others it takes what works. */
const MUST = [DIRECT, REFERENCE, SUBJECT];

/**
 * Starts and validates the peers that are here.
 * @param {import('./stage.js').Stage} stage
 * @param {readonly string[]} names
 * @param {string} key
 */
async function assemble(stage, names, key) {
  const contestants = [];
  const absent = [];
  for (const peer of PEERS.filter(({ name }) => names.includes(name))) {
    const version = peer.version();
    if (version === undefined) {
      absent.push(peer.name);
      continue;
    }
    const running = await stage.start(peer);
    try {
      await validate(peer.name, running, key);
    } catch (error) {
      if (MUST.includes(peer.name)) {
        throw new Error(`${peer.name} does not do the work: ${reason(error)}`, { cause: error });
      }
      say(`left out ${peer.name}, which does not do the work: ${reason(error)}`);
      await stage.stop(running);
      continue;
    }
    say(`validated ${peer.name} ${version}`);
    contestants.push({ name: peer.name, version, about: peer.about, peer, running });
  }
  return { contestants, absent };
}

/**
 * @param {import('./stage.js').Stage} stage
 * @param {Awaited<ReturnType<typeof assemble>>['contestants']} contestants
 * @param {import('./options.js').Options['effort']['streams']} effort
 */
async function measureStreams(stage, contestants, effort) {
  /** @type {import('./targets.js').Figures['streams']} */
  const streams = new Map();
  // Two files to a stream in the proxy, and a few of its own.
  const count = Math.min(effort.count, Math.floor((fileLimit() - 300) / 2));
  for (const { name, peer } of contestants) {
    if (name === DIRECT || !(effort.everyone || MUST.includes(name))) continue;
    say(`measuring ${STREAMS} of ${name}`);
    try {
      streams.set(name, await runStreams(stage, peer, { ...effort, count }));
    } catch (error) {
      if (MUST.includes(name)) throw error;
      say(`left out ${STREAMS} of ${name}: ${reason(error)}`);
    }
  }
  return streams;
}

/**
 * @param {import('./stage.js').Stage} stage
 * @param {Awaited<ReturnType<typeof assemble>>['contestants']} contestants
 * @param {import('./options.js').Options} options
 * @returns {Promise<import('./targets.js').Figures>}
 */
async function measure(stage, contestants, { scenarios, effort }) {
  const loops = new Map();
  // V8 compiles what is hot; nobody is measured before that has happened.
  for (const { running } of contestants) {
    await stage.loop(running, { ...LOOPS.json32, warmMs: effort.burnInMs, measureMs: 0 });
  }
  for (const loop of /** @type {import('./scenarios.js').Loop[]} */ (Object.keys(LOOPS))) {
    if (!scenarios.includes(loop)) continue;
    say(`measuring ${loop}`);
    loops.set(loop, await runLoop(stage, contestants, loop, effort));
  }
  for (const { running } of contestants) await stage.stop(running);

  const streams = scenarios.includes(STREAMS)
    ? await measureStreams(stage, contestants, effort.streams)
    : new Map();

  const subject = contestants.find(({ name }) => name === SUBJECT);
  const start =
    subject !== undefined && scenarios.includes(START)
      ? await runStart(stage, subject.peer, effort.rounds.start)
      : undefined;
  return { loops, streams, start };
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
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  const stage = await createStage({ cores, key, folder });
  const { contestants, absent } = await assemble(stage, options.peers, key);
  if (absent.length > 0) say(`not here: ${absent.join(', ')}`);
  const figures = await measure(stage, contestants, options);

  say(`others took ${percent(foreignShare(figures))} of the proxy's core\n`);
  process.stdout.write(`${figuresText(figures, contestants)}\n`);
  if (options.keep && contestants.some(({ name }) => name === SUBJECT)) {
    const text = resultsText({
      figures,
      peers: contestants,
      absent,
      machine: describeMachine(),
      pinned: cores !== undefined,
      effort: options.effort,
      date: new Date(),
      seconds: (performance.now() - from) / 1000,
    });
    writeFileSync(new URL('./RESULTS.md', import.meta.url), text);
    say('wrote bench/RESULTS.md');
  }
  const missed = judge(figures).filter(({ met }) => !met);
  if (missed.length > 0) say(`targets missed: ${missed.length}`);
}

await runInFolder(main);
