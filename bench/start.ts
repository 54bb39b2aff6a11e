/** `npm run bench:start`: what does a start cost, beside that of another build? */
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { findNodes, NODE_HELP, type Node, pickCores, residentBytes } from './harness/machine.ts';
import { progress, ROOT, runBench, say, startProgram, stop } from './harness/processes.ts';
import {
  figure,
  least,
  median,
  missed,
  quantile,
  runLine,
  type Target,
  table,
  targetsTable,
  writeSection,
} from './harness/report.ts';
import { mainOf, startSidecar } from './harness/sidecar.ts';

const HELP = `npm run bench:start -- [options]

What a start costs: processor time and wall time to the ready line (the least of 20 starts), resident
memory of a sidecar that nobody has asked anything for 5 s (the median), and the size of dist/.
A run takes up to 3 minutes for each Node, and writes that Node's section of bench/RESULTS.md.

  --against <folder>  a checkout of another version that is built: its starts alternate with those of
                    this one, and the targets are judged
  --quick           5 starts and 1 s of rest, which writes nothing
${NODE_HELP}
  --help
`;

interface Start {
  /** To the ready line, in milliseconds. */
  readonly cpuMs: number;
  readonly ms: number;
  /** Resident once it was idle. */
  readonly idleMB: number;
}

/** The name of a build in tables, and its starts. */
type Builds = ReadonlyMap<string, { checkout: string; starts: Start[] }>;

/** Starts of all builds in turn, each with a state folder that the one before it left. */
async function measure(folder: string, node: Node, builds: Builds, count: number, restMs: number) {
  const cores = pickCores();
  const { child, first } = await startProgram<{ port: number }>(
    'bench/harness/upstream-process.ts',
    { core: cores.rest },
  );
  // The first start makes the state folder and fills the page cache; it does not count.
  for (let at = 0; at <= count; at += 1) {
    for (const [name, { checkout, starts }] of builds) {
      progress(`start ${at} of ${count}, ${name}`);
      const running = await startSidecar({
        ...{ folder: join(folder, `${node.version}-${name}`), upstreamPort: first.port, checkout },
        ...{ node: node.path, core: cores.measured, key: 'sk-bench0123456789abcdef0123456789' },
      });
      await sleep(restMs);
      const idleMB = residentBytes([running.child.pid ?? 0]) / 1e6;
      await stop(running.child, 'SIGKILL');
      if (at > 0) starts.push({ ...running.ready, idleMB });
    }
  }
  await stop(child);
}

/** Bytes of all files under a folder, and how many there are. */
function sizeOf(folder: string): { bytes: number; files: number } {
  const files = readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return { bytes: files.reduce((sum, file) => sum + statSync(file).size, 0), files: files.length };
}

function targetsOf(builds: Builds, node: Node): readonly Target[] {
  const [own = [], other = []] = [...builds.values()].map(({ starts }) => starts);
  const cpu = (starts: readonly Start[]) => least(starts.map(({ cpuMs }) => cpuMs));
  return [
    {
      ...{ what: 'processor time to the ready line, against the other build', sense: 'at most' },
      ...{ limit: 0.55, unit: '×', digits: 2, value: cpu(own) / cpu(other) },
    },
    {
      ...{ what: 'resident memory when idle', sense: 'at most', limit: 80, unit: 'MB', digits: 1 },
      // Held on Node 20; 24 takes more by itself.
      value: node.name === 'Node 20' ? median(own.map(({ idleMB }) => idleMB)) : undefined,
    },
  ];
}

function textOf(builds: Builds, node: Node, seconds: number): string {
  const rows = [...builds].map(([name, { checkout, starts }]) => {
    const cpu = starts.map(({ cpuMs }) => cpuMs);
    const size = sizeOf(join(checkout, 'dist'));
    return [
      ...[
        name,
        figure(least(cpu)),
        `${figure(quantile(cpu, 0.25))}–${figure(quantile(cpu, 0.75))}`,
      ],
      figure(least(starts.map(({ ms }) => ms))),
      figure(median(starts.map(({ idleMB }) => idleMB)), 1),
      ...[figure(size.bytes / 1e6, 1), figure(size.files)],
    ];
  });
  const head = ['build', 'processor ms', 'quartiles', 'wall ms', 'idle MB', 'dist/ MB', 'files'];
  return [
    `## What a start costs, on ${node.name}: \`npm run bench:start\``,
    runLine({ node: node.version, seconds }),
    targetsTable(targetsOf(builds, node)),
    table(head, rows),
  ].join('\n\n');
}

await runBench(async (folder) => {
  const { values } = parseArgs({
    options: {
      ...{ against: { type: 'string' }, quick: { type: 'boolean' } },
      ...{ node: { type: 'string', multiple: true }, help: { type: 'boolean' } },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const checkouts = new Map([['this', ROOT]]);
  if (values.against !== undefined) checkouts.set('the other', resolve(values.against));
  for (const checkout of checkouts.values()) mainOf(checkout);
  for (const node of findNodes(values.node)) {
    const from = performance.now();
    const builds: Builds = new Map(
      [...checkouts].map(([name, checkout]) => [name, { checkout, starts: [] }]),
    );
    await measure(folder, node, builds, values.quick ? 5 : 20, values.quick ? 1000 : 5000);
    const text = textOf(builds, node, (performance.now() - from) / 1000);
    progress('');
    console.log(`${text}\n`);
    if (missed(targetsOf(builds, node)) > 0) process.exitCode = 1;
    if (values.quick) continue;
    writeSection(`bench:start on ${node.name}`, text);
    say('wrote the section of bench/RESULTS.md');
  }
});
