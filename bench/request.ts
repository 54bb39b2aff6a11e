/** `npm run bench`: what does a request cost, beside other proxies and the floor of Node? */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { truncateSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdmissionFigures } from './admission.ts';
import { chosen, runBench } from './harness/bench.ts';
import { openStreams, runJson } from './harness/load.ts';
import { NODE_HELP, type Node, pinLoad, residentBytes } from './harness/machine.ts';
import type { HeaderSet } from './harness/payloads.ts';
import { progress, reason, say, startProgram, stop } from './harness/processes.ts';
import { PEERS, type Peer, REFERENCE, type Running, SUBJECT, validate } from './peers.ts';
import { readProfile } from './profile.ts';
import { resultsOf, type Samples } from './request-report.ts';

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

const KEY = `sk-bench${randomBytes(20).toString('hex')}`;

/** How a peer is started, beside the upstream that all share. */
type Begin = (peer: Peer, nodeArgs?: readonly string[]) => Promise<Running>;
type Contestant = Peer & { readonly running: Running };

/** Starts those that are installed, and leaves out who does not do the work. */
async function assemble(begin: Begin, peers: readonly Peer[]): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  for (const peer of peers) {
    if (peer.version === undefined) {
      say(`${peer.name} is not installed: apt-get install ${peer.name}`);
      continue;
    }
    const running = await begin(peer);
    try {
      await validate(running, KEY);
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

type Round = { readonly warmMs: number; readonly measureMs: number };

const jsonRound = (running: Running, connections: number, headers: HeaderSet, round: Round) =>
  runJson({ ...running, key: KEY, connections, headers, ...round });

/** Rounds until three in a row are less than 2 % better than the best before: V8 has compiled. */
async function warmUp(running: Running, { longestMs, roundMs }: Effort['warmUp']): Promise<void> {
  const until = performance.now() + longestMs;
  let best = Number.POSITIVE_INFINITY;
  for (let still = 0; still < 3 && performance.now() < until; ) {
    const { us } = await jsonRound(running, 32, 'litellm', { warmMs: 0, measureMs: roundMs });
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
      const { name, running } = contestant;
      progress(`${what}: round ${round + 1} of ${rounds}, ${name}`);
      try {
        samples.get(name)?.push(await measure(running));
      } catch (error) {
        throw new Error(`${name}, ${what}: ${reason(error)}`, { cause: error });
      }
      // What was logged meanwhile is dropped.
      if (running.log !== undefined) truncateSync(running.log);
    }
  }
  return samples;
}

/** Many open streams through a fresh process that was warmed by a second of JSON. */
async function weighStreams(running: Running, effort: Effort['memory']) {
  const { count, settleMs, ms } = effort;
  await jsonRound(running, 32, 'litellm', { warmMs: 0, measureMs: 1000 });
  await sleep(settleMs / 2);
  const idle = residentBytes(running.pids);
  const job = { ...running, key: KEY, count, ticking: count / 10, gapMs: 1000 };
  const streams = await openStreams(job);
  await sleep(settleMs);
  const opened = residentBytes(running.pids);
  const watched = await streams.watch(ms, running.pids);
  const most = Math.max(opened, residentBytes(running.pids));
  streams.close();
  await stop(running.child);
  return { ...watched, open: count, idleMB: idle / 1e6, streamKB: (most - idle) / 1e3 / count };
}

export type Figures = Awaited<ReturnType<typeof measure>>;

async function measure(begin: Begin, peers: readonly Peer[], effort: Effort) {
  const contestants = await assemble(begin, peers);
  for (const { name, running } of contestants) {
    progress(`warming ${name}`);
    await warmUp(running, effort.warmUp);
  }
  const at32 = (headers: HeaderSet) =>
    inTurn(`32 connections, ${headers} headers`, contestants, effort.json.rounds, (running) =>
      jsonRound(running, 32, headers, effort.json),
    );
  const json = { litellm: await at32('litellm'), three: await at32('three') };
  const one = await inTurn('1 connection', contestants, effort.one.rounds, (running) =>
    jsonRound(running, 1, 'litellm', effort.one),
  );
  const { rounds, settleMs, ms } = effort.chunks;
  const chunks = await inTurn('streams', contestants, rounds, async (running) => {
    const job = { ...running, key: KEY, count: 100, ticking: 100, gapMs: 10 };
    const streams = await openStreams(job);
    await sleep(settleMs);
    const watched = await streams.watch(ms, running.pids);
    streams.close();
    return watched;
  });
  for (const { running } of contestants) await stop(running.child);

  const memory = new Map<string, Awaited<ReturnType<typeof weighStreams>>>();
  for (const peer of contestants) {
    if (!effort.memory.everyone && peer.name !== SUBJECT && peer.name !== REFERENCE) continue;
    progress(`open streams through ${peer.name}`);
    memory.set(peer.name, await weighStreams(await begin(peer), effort.memory));
  }
  return { contestants, json, one, chunks, memory };
}

/** How long a profile is, in milliseconds. */
const PROFILED_MS = 8000;

/** Where the processor time of a warm peer goes, and the profile in the folder. */
async function profilePeer(begin: Begin, peer: Peer, node: Node, folder: string): Promise<string> {
  progress(`profiling ${peer.name}`);
  const name = `${peer.name}-${node.version}.cpuprofile`;
  const flags = ['--cpu-prof', '--cpu-prof-interval', '250', '--cpu-prof-dir', folder];
  const running = await begin(peer, [...flags, '--cpu-prof-name', name]);
  await warmUp(running, FULL.warmUp);
  const round = { warmMs: 0, measureMs: PROFILED_MS };
  const { us } = await jsonRound(running, 32, 'litellm', round);
  const ended = once(running.child, 'exit');
  // A peer ends with its channel, the sidecar by a signal; either writes the profile then.
  if (running.child.connected) running.child.disconnect();
  else running.child.kill('SIGTERM');
  await ended;
  return `${peer.name}, ${node.name}\n${readProfile(join(folder, name), { us, ms: PROFILED_MS })}`;
}

await runBench({
  ...{ name: 'bench', title: 'What a request costs', help: HELP, full: FULL, quick: QUICK },
  options: ['only', 'node', 'profile'],
  async measure({ folder, effort, node, values: { only, profile } }) {
    const names = PEERS.map(({ name }) => name);
    const wanted = chosen(only, names);
    const peers = PEERS.filter(({ name }) => wanted.includes(name));
    const core = pinLoad();
    const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
    let started = 0;
    const begin: Begin = (peer, nodeArgs = []) => {
      started += 1;
      const own = join(folder, `${node.version}-${started}-${peer.name}`);
      const given = { key: KEY, core, folder: own, upstreamPort: upstream.first.port };
      return peer.start({ ...given, node: node.path, nodeArgs });
    };
    if (profile !== undefined) {
      const text = [];
      for (const peer of peers.filter(({ inNode }) => inNode)) {
        text.push(await profilePeer(begin, peer, node, resolve(profile)));
      }
      return [{ targets: [], text }];
    }
    const figures = await measure(begin, peers, effort);
    progress('admission');
    const admission = await startProgram<AdmissionFigures>('bench/admission.ts', {
      ...{ node: node.path, core },
    });
    await stop(upstream.child);
    return [resultsOf(figures, admission.first, core !== undefined)];
  },
});
