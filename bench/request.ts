/** `npm run bench`: what does a request cost, beside other proxies and the floor of Node? */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, truncateSync } from 'node:fs';
import type { Profiler } from 'node:inspector';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdmissionFigures } from './admission.ts';
import { type Measured, runBench } from './harness/bench.ts';
import { openStreams, runJson } from './harness/load.ts';
import { NODE_HELP, type Node, pinLoad, residentBytes } from './harness/machine.ts';
import type { HeaderSet } from './harness/payloads.ts';
import { progress, reason, say, startProgram, stop } from './harness/processes.ts';
import {
  atLeast,
  atMost,
  figure,
  least,
  median,
  most,
  spread,
  type Target,
  table,
} from './harness/report.ts';
import type { MetricsFigures } from './metrics.ts';
import { FLOOR, PEERS, type Peer, REFERENCE, type Running, SUBJECT, validate } from './peers.ts';

const HELP = `npm run bench -- [options]

What a request costs: processor time from the kernel's books at 32 connections, with LiteLLM's
headers and with three; the median latency at one connection; the delay of a stream's chunks; memory
for each open stream; admission and metrics by themselves. Other proxies have their turn in each round, and the
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
  memory: { count: 5000, settleMs: 2000, ms: 6000 },
};
type Effort = typeof FULL;
const QUICK: Effort = {
  warmUp: { longestMs: 4000, roundMs: 300 },
  json: { rounds: 8, warmMs: 50, measureMs: 250 },
  one: { rounds: 6, warmMs: 50, measureMs: 200 },
  chunks: { rounds: 3, settleMs: 200, ms: 500 },
  memory: { count: 1000, settleMs: 500, ms: 2000 },
};

const KEY = `sk-bench${randomBytes(20).toString('hex')}`;

/** How a peer is started, beside the upstream that all share. */
type Begin = (peer: Peer, nodeArgs?: readonly string[]) => Promise<Running>;
type Contestant = Peer & { readonly running: Running };

/** Starts those that are installed. @throws where one does not do the work */
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
    } catch (error) {
      throw new Error(`${peer.name} does not do the work: ${reason(error)}`, { cause: error });
    }
    contestants.push({ ...peer, running });
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

/** The rounds of each peer, by its name. */
type Samples<Figure> = ReadonlyMap<string, readonly Figure[]>;

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

/** A field of a peer's rounds; empty where it was not measured. */
const column = <Figure>(samples: Samples<Figure>, name: string, field: keyof Figure) =>
  samples.get(name)?.map((sample) => Number(sample[field])) ?? [];

/** Processor time of a request. */
async function measureRequests(all: readonly Contestant[], effort: Effort['json']) {
  const rounds = (headers: HeaderSet) =>
    inTurn(`32 connections, ${headers} headers`, all, effort.rounds, (running) =>
      jsonRound(running, 32, headers, effort),
    );
  const [litellm, three] = [await rounds('litellm'), await rounds('three')];
  type Rounds = typeof litellm;
  const cost = (samples: Rounds, name: string) => least(column(samples, name, 'us'));
  const subject = cost(litellm, SUBJECT);
  const aboveFloor = subject / cost(litellm, FLOOR);
  const belowReference = cost(litellm, REFERENCE) / subject;
  const costs = (samples: Rounds, name: string) => [
    ...spread(column(samples, name, 'us'), 1),
    figure(cost(samples, name) / cost(samples, FLOOR), 2),
  ];
  const rows = all.map(({ name }) => [
    ...[name, ...costs(litellm, name), ...costs(three, name)],
    figure(least(column(litellm, name, 'p99')), 2),
    figure(most(column(litellm, name, 'perSecond'))),
  ]);
  const head = ['peer', "LiteLLM's headers, µs", 'quartiles', '× undici'];
  head.push('three, µs', 'quartiles', '× undici', 'p99 ms', 'requests/s');
  return {
    targets: [
      atMost("processor time of a request, against bare undici's", 1.25, '×', aboveFloor),
      atLeast("http-proxy's processor time, against the sidecar's", 1.5, '×', belowReference),
    ],
    text: [
      "Processor time of a 1 KB JSON POST at 32 connections; p99 and throughput with LiteLLM's headers, the best of the rounds:",
      table(head, rows),
    ],
  };
}

async function measureLatency(all: readonly Contestant[], effort: Effort['one']) {
  const samples = await inTurn('1 connection', all, effort.rounds, (running) =>
    jsonRound(running, 1, 'litellm', effort),
  );
  const reference = column(samples, REFERENCE, 'p50');
  const ratio = (name: string) =>
    median(column(samples, name, 'p50').map((p50, at) => p50 / (reference[at] ?? Number.NaN)));
  const rows = all.map(({ name }) => [
    ...[name, figure(least(column(samples, name, 'p50')), 3), figure(ratio(name), 2)],
  ]);
  return {
    targets: [atMost('p50 at 1 connection, against http-proxy', 1, '×', ratio(SUBJECT))],
    text: [
      "Latency at one connection, with LiteLLM's headers; the least of the rounds, and the median of their own ratios:",
      table(['peer', 'p50 ms', '× http-proxy'], rows),
    ],
  };
}

async function measureChunks(all: readonly Contestant[], effort: Effort['chunks']) {
  const samples = await inTurn('streams', all, effort.rounds, async (running) => {
    const job = { ...running, key: KEY, count: 100, ticking: 100, gapMs: 10 };
    const streams = await openStreams(job);
    await sleep(effort.settleMs);
    const watched = await streams.watch(effort.ms, running.pids);
    streams.close();
    return watched;
  });
  const fields = ['firstP50', 'firstP99', 'p50', 'p99', 'us'] as const;
  const rows = all.map(({ name }) => [
    ...[name, ...fields.map((field) => figure(least(column(samples, name, field)), 2))],
  ]);
  const head = ['peer', 'first chunk p50 ms', 'p99', 'chunk delay p50 ms', 'p99', 'µs a chunk'];
  return {
    targets: [],
    text: [
      '100 SSE streams, opened 4 at a time, with a chunk each 10 ms; the least of the rounds:',
      table(head, rows),
    ],
  };
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
  const { p50, p99 } = await streams.watch(ms, running.pids);
  const most = Math.max(opened, residentBytes(running.pids));
  streams.close();
  await stop(running.child);
  return { p50, p99, idleMB: idle / 1e6, streamKB: (most - idle) / 1e3 / count };
}

async function measureMemory(begin: Begin, peers: readonly Peer[], effort: Effort['memory']) {
  const rows: string[][] = [];
  const targets: Target[] = [];
  for (const peer of peers) {
    progress(`open streams through ${peer.name}`);
    const { idleMB, streamKB, p50, p99 } = await weighStreams(await begin(peer), effort);
    rows.push([peer.name, figure(idleMB, 1), figure(streamKB, 1), figure(p50, 2), figure(p99, 2)]);
    if (peer.name !== SUBJECT) continue;
    targets.push(atMost('resident memory for each open stream', 28, 'KB', streamKB));
    targets.push(atMost('p99 of the delay of a chunk among the open streams', 50, 'ms', p99));
  }
  const text = [
    `${figure(effort.count)} open SSE streams, a tenth of which receive a chunk each second:`,
    table(['peer', 'idle MB', 'KB/stream', 'chunk delay p50 ms', 'p99'], rows),
  ];
  return { targets, text };
}

async function measureAdmission(node: Node, core: number | undefined) {
  progress('admission');
  const options = { node: node.path, core };
  const { first } = await startProgram<AdmissionFigures>('bench/admission.ts', options);
  const { one, many } = first;
  return {
    targets: [atMost('admission with 8,000 keys, above that with one', 100, 'ns', many - one)],
    text: [`Admission by itself: ${figure(one)} ns with one key, ${figure(many)} ns with 8,000.`],
  };
}

async function measureMetrics(node: Node, core: number | undefined) {
  progress('metrics');
  const options = { node: node.path, core };
  const { first } = await startProgram<MetricsFigures>('bench/metrics.ts', options);
  const { counted, usual, full } = first;
  const [less, more] = [usual, full].map(({ series, ms }) => `${figure(ms, 2)} ms of ${series}`);
  return {
    targets: [atMost('a scrape of 300 series and more', 5, 'ms', usual.ms)],
    text: [
      `Metrics by themselves: ${figure(counted)} ns for each exchange; a scrape takes ${less} ` +
        `series, and ${more}.`,
    ],
  };
}

/** So many functions are shown, those with the most time of their own. */
const SHOWN = 40;

/** A table of the last `ms` of a profile; `us` is what one request cost in them altogether. */
function readProfile(file: string, { us, ms }: { us: number; ms: number }): string {
  const profile: Profiler.Profile = JSON.parse(readFileSync(file, 'utf8'));
  const { nodes, samples = [], timeDeltas = [] } = profile;
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const own = new Map<string, number>();
  let [spent, all] = [0, 0];
  for (let at = samples.length - 1; at >= 0 && spent < ms * 1000; at -= 1) {
    const delta = timeDeltas[at] ?? 0;
    spent += delta;
    const frame = frames.get(samples[at] ?? 0);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    const where = frame.url.split('/').slice(-2).join('/');
    const name = `${frame.functionName || '(anonymous)'} ${where}`.trim();
    own.set(name, (own.get(name) ?? 0) + delta);
    all += delta;
  }
  const rows = [...own]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, time]) => [name, figure((us * time) / all, 2), figure((100 * time) / all, 1)]);
  return table([`function, of ${figure(us, 1)} µs a request`, 'own µs', '%'], rows);
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
    const wanted = only?.split(',') ?? PEERS.map(({ name }) => name);
    const unknown = wanted.find((name) => !PEERS.some((peer) => peer.name === name));
    if (unknown !== undefined) throw new Error(`--only ${unknown}: no such peer; see --help`);
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
    const contestants = await assemble(begin, peers);
    for (const { name, running } of contestants) {
      progress(`warming ${name}`);
      await warmUp(running, effort.warmUp);
    }
    const results: Measured[] = [
      await measureRequests(contestants, effort.json),
      await measureLatency(contestants, effort.one),
      await measureChunks(contestants, effort.chunks),
    ];
    for (const { running } of contestants) await stop(running.child);
    results.push(await measureMemory(begin, contestants, effort.memory));
    results.push(await measureAdmission(node, core));
    results.push(await measureMetrics(node, core));
    await stop(upstream.child);
    const rows = contestants.map(({ name, version = '', about }) => [name, version, about]);
    const text = [table(['peer', 'version', 'as measured'], rows)];
    if (core === undefined) text.push('Nothing was pinned to a core: no `taskset`, or one core.');
    return [...results, { targets: [], text }];
  },
});
