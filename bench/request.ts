/** `npm run bench`: what does a request cost, beside other proxies and the floor of Node? */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { truncateSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { AdmissionFigures } from './admission.ts';
import type { JsonFigures, StreamFigures } from './harness/load.ts';
import { findNodes, NODE_HELP, type Node, pickCores, residentBytes } from './harness/machine.ts';
import type { HeaderSet } from './harness/payloads.ts';
import { ask, progress, reason, runBench, say, startProgram, stop } from './harness/processes.ts';
import { missed, writeSection } from './harness/report.ts';
import { mainOf } from './harness/sidecar.ts';
import { PEERS, type Peer, REFERENCE, type Running, SUBJECT, validate } from './peers.ts';
import { readProfile } from './profile.ts';
import { type Figures, type Samples, sectionText, targetsOf } from './request-report.ts';

const HELP = `npm run bench -- [options]

What a request costs: processor time from the kernel's books at 32 connections, with LiteLLM's
headers and with three; the median latency at one connection; the delay of a stream's chunks; memory
for each open stream; admission by itself. Other proxies have their turn in each round, and the
least of the rounds counts. nginx and HAProxy take part where they are installed.
A run takes up to 8 minutes for each Node, and writes that Node's section of bench/RESULTS.md.

  --quick           a run of up to 2 minutes, which writes nothing
  --only a,b        these alone, which writes nothing: ${PEERS.map(({ name }) => name).join(', ')}
${NODE_HELP}
  --profile <folder>  instead: where the processor time of each Node proxy goes, function by function;
                    the profiles stay in the folder
  --help
`;

/** How often and how long; times in milliseconds unless the name says otherwise. */
const FULL = {
  warmUp: { longestMs: 8000, roundMs: 400 },
  json: { rounds: 20, warmMs: 100, measureMs: 300 },
  one: { rounds: 15, warmMs: 50, measureMs: 300 },
  chunks: { rounds: 5, settleMs: 400, ms: 1000 },
  memory: { count: 5000, settleMs: 2000, ms: 6000, everyone: true },
};
type Effort = typeof FULL;
const QUICK: Effort = {
  warmUp: { longestMs: 4000, roundMs: 300 },
  json: { rounds: 8, warmMs: 50, measureMs: 250 },
  one: { rounds: 6, warmMs: 50, measureMs: 200 },
  chunks: { rounds: 3, settleMs: 200, ms: 500 },
  memory: { count: 1000, settleMs: 500, ms: 2000, everyone: false },
};

const HEADER_SETS: readonly HeaderSet[] = ['litellm', 'three'];

/** The processes of a run that are not measured, and how a peer is. */
type Stage = Awaited<ReturnType<typeof createStage>>;

async function createStage(folder: string) {
  const cores = pickCores();
  const rest = { core: cores.rest };
  const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts', rest);
  const load = await startProgram('bench/harness/load-process.ts', rest);
  const key = `sk-bench${randomBytes(20).toString('hex')}`;
  let started = 0;
  return {
    ...{ cores, key },
    start(peer: Peer, node: Node, nodeArgs: readonly string[] = []): Promise<Running> {
      started += 1;
      const own = join(folder, `${started}-${peer.name}`);
      const given = { key, core: cores.measured, folder: own, upstreamPort: upstream.first.port };
      return peer.start({ ...given, node: node.path, nodeArgs });
    },
    /** Gives the load a job; what the peer logged meanwhile is dropped. */
    async ask<Result>({ port, pids, log }: Running, job: object): Promise<Result> {
      const result = await ask<Result>(load.child, { key, port, pids, ...job });
      if (log !== undefined) truncateSync(log);
      return result;
    },
  };
}

type Contestant = Peer & { readonly running: Running };

/** Starts those that are installed, and leaves out who does not do the work. */
async function assemble(stage: Stage, peers: readonly Peer[], node: Node): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  for (const peer of peers) {
    if (peer.version === undefined) {
      say(`${peer.name} is not installed: apt-get install ${peer.name}`);
      continue;
    }
    const running = await stage.start(peer, node);
    try {
      await validate(running, stage.key);
      contestants.push({ ...peer, running });
    } catch (error) {
      const why = `${peer.name} does not do the work: ${reason(error)}`;
      if (peer.name === SUBJECT) throw new Error(why, { cause: error });
      say(`left out: ${why}`);
      await stop(running.child);
    }
  }
  return contestants;
}

/** Rounds until three in a row are less than 2 % better than the best before: V8 has compiled. */
async function warmUp(stage: Stage, running: Running, effort: Effort['warmUp']): Promise<void> {
  const { longestMs, roundMs } = effort;
  const until = performance.now() + longestMs;
  let best = Number.POSITIVE_INFINITY;
  for (let still = 0; still < 3 && performance.now() < until; ) {
    const job = {
      kind: 'json',
      headers: 'litellm',
      connections: 32,
      warmMs: 0,
      measureMs: roundMs,
    };
    const { us } = await stage.ask<JsonFigures>(running, job);
    still = us < best * 0.98 ? 0 : still + 1;
    best = Math.min(best, us);
  }
}

/** Each contestant once in each round, in an order that moves on: a slow minute meets all. */
async function inTurn<Figure>(
  what: string,
  contestants: readonly Contestant[],
  rounds: number,
  measure: (running: Running) => Promise<Figure>,
): Promise<Samples<Figure>> {
  const samples = new Map<string, Figure[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (let at = 0; at < contestants.length; at += 1) {
      const contestant = contestants[(at + round) % contestants.length];
      if (contestant === undefined) continue;
      progress(`${what}: round ${round + 1} of ${rounds}, ${contestant.name}`);
      try {
        samples.get(contestant.name)?.push(await measure(contestant.running));
      } catch (error) {
        throw new Error(`${contestant.name}, ${what}: ${reason(error)}`, { cause: error });
      }
    }
  }
  return samples;
}

/** Many open streams through a fresh process that was warmed by a second of JSON. */
async function weighStreams(stage: Stage, peer: Peer, node: Node, effort: Effort['memory']) {
  const { count, settleMs, ms } = effort;
  const running = await stage.start(peer, node);
  const json = { kind: 'json', headers: 'litellm', connections: 32, warmMs: 0, measureMs: 1000 };
  await stage.ask(running, json);
  await sleep(settleMs / 2);
  const idle = residentBytes(running.pids);
  await stage.ask(running, { kind: 'open', count, ticking: count / 10, gapMs: 1000 });
  await sleep(settleMs);
  const opened = residentBytes(running.pids);
  const watched = await stage.ask<StreamFigures>(running, { kind: 'watch', ms });
  const most = Math.max(opened, residentBytes(running.pids));
  await stage.ask(running, { kind: 'close' });
  await stop(running.child);
  return { ...watched, open: count, idleMB: idle / 1e6, streamKB: (most - idle) / 1e3 / count };
}

async function measure(stage: Stage, peers: readonly Peer[], node: Node, effort: Effort) {
  const contestants = await assemble(stage, peers, node);
  for (const { name, running } of contestants) {
    progress(`warming ${name}`);
    await warmUp(stage, running, effort.warmUp);
  }
  const json = new Map<HeaderSet, Samples<JsonFigures>>();
  const loop = { kind: 'json', connections: 32, ...effort.json };
  for (const headers of HEADER_SETS) {
    const what = `32 connections, ${headers} headers`;
    const sample = (running: Running) => stage.ask<JsonFigures>(running, { ...loop, headers });
    json.set(headers, await inTurn(what, contestants, effort.json.rounds, sample));
  }
  const single = { kind: 'json', headers: 'litellm', connections: 1, ...effort.one };
  const one = await inTurn('1 connection', contestants, effort.one.rounds, (running) =>
    stage.ask<JsonFigures>(running, single),
  );
  const { rounds, settleMs, ms } = effort.chunks;
  const chunks = await inTurn('streams', contestants, rounds, async (running) => {
    await stage.ask(running, { kind: 'open', count: 100, ticking: 100, gapMs: 10 });
    await sleep(settleMs);
    const watched = await stage.ask<StreamFigures>(running, { kind: 'watch', ms });
    await stage.ask(running, { kind: 'close' });
    return watched;
  });
  for (const { running } of contestants) await stop(running.child);

  const memory: Figures['memory'] = new Map();
  for (const peer of contestants) {
    if (!effort.memory.everyone && peer.name !== SUBJECT && peer.name !== REFERENCE) continue;
    progress(`open streams through ${peer.name}`);
    memory.set(peer.name, await weighStreams(stage, peer, node, effort.memory));
  }
  progress('admission');
  const { first: admission } = await startProgram<AdmissionFigures>('bench/admission.ts', {
    ...{ node: node.path, core: stage.cores.measured },
  });
  return { contestants, figures: { json, one, chunks, memory, admission } };
}

/** How long a profile is, in milliseconds. */
const PROFILED_MS = 8000;

/** Where the processor time of a warm peer goes, and the profile in the folder. */
async function profilePeer(stage: Stage, peer: Peer, node: Node, folder: string): Promise<string> {
  const name = `${peer.name}-${node.version}.cpuprofile`;
  const flags = ['--cpu-prof', '--cpu-prof-interval', '250', '--cpu-prof-dir', folder];
  const running = await stage.start(peer, node, [...flags, '--cpu-prof-name', name]);
  await warmUp(stage, running, FULL.warmUp);
  const loop = { kind: 'json', headers: 'litellm', connections: 32, warmMs: 0 };
  const { us } = await stage.ask<JsonFigures>(running, { ...loop, measureMs: PROFILED_MS });
  const ended = once(running.child, 'exit');
  // A peer ends with its channel, the sidecar by a signal; either writes the profile then.
  if (running.child.connected) running.child.disconnect();
  else running.child.kill('SIGTERM');
  await ended;
  return `${peer.name}, ${node.name}\n${readProfile(join(folder, name), { us, ms: PROFILED_MS })}`;
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      ...{ quick: { type: 'boolean' }, only: { type: 'string' } },
      ...{ node: { type: 'string', multiple: true }, profile: { type: 'string' } },
      help: { type: 'boolean' },
    },
  });
  const names = PEERS.map(({ name }) => name);
  const wanted = values.only?.split(',') ?? names;
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: known are ${names.join(', ')}`);
  const peers = PEERS.filter(({ name }) => wanted.includes(name));
  return { ...values, peers, nodes: findNodes(values.node) };
}

await runBench(async (folder) => {
  const { help, quick, only, profile, peers, nodes } = readOptions();
  if (help) {
    process.stdout.write(HELP);
    return;
  }
  mainOf();
  const stage = await createStage(folder);
  for (const node of nodes) {
    if (profile !== undefined) {
      for (const peer of peers.filter(({ inNode }) => inNode)) {
        progress(`profiling ${peer.name}`);
        console.log(`${await profilePeer(stage, peer, node, resolve(profile))}\n`);
      }
      continue;
    }
    say(`measuring on ${node.name}`);
    const from = performance.now();
    const { contestants, figures } = await measure(stage, peers, node, quick ? QUICK : FULL);
    const seconds = (performance.now() - from) / 1000;
    const pinned = stage.cores.measured !== undefined;
    const text = sectionText({ figures, peers: contestants, node, seconds, pinned });
    progress('');
    console.log(text);
    if (missed(targetsOf(figures)) > 0) process.exitCode = 1;
    if (quick || only !== undefined) continue;
    writeSection(`bench on ${node.name}`, text);
    say('wrote the section of bench/RESULTS.md');
  }
});
