/** `npm run bench:start`: what does a start cost, beside that of another build? */
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runBench } from './harness/bench.ts';
import { NODE_HELP, type Node, pinLoad, residentBytes } from './harness/machine.ts';
import { progress, ROOT, startProgram, stop } from './harness/processes.ts';
import { atMost, figure, least, median, spread, table } from './harness/report.ts';
import { mainOf, startSidecar } from './harness/sidecar.ts';

const HELP = `npm run bench:start -- [options]

What a start costs: processor time and wall time to the ready line (the least of 20 starts), and
resident memory of a sidecar that nobody has asked anything for 5 s (the median).
A run takes 2 minutes for each build on each Node, and writes that Node's section of bench/RESULTS.md.

  --against <folder>  a checkout of another version that is built: its starts alternate with those of
                    this one, and the targets are judged
  --quick           5 starts and 1 s of rest, which writes nothing
${NODE_HELP}
  --help
`;

/** The starts of a build; the time of rest in milliseconds. */
const FULL = { starts: 20, restMs: 5000 };
type Effort = typeof FULL;

const newBuild = (name: string, checkout: string) => ({
  ...{ name, checkout },
  /** Milliseconds to the ready line, of each start. */
  cpuMs: [] as number[],
  ms: [] as number[],
  /** Resident once it was idle. */
  idleMB: [] as number[],
});
type Build = ReturnType<typeof newBuild>;

/** Starts of all builds in turn, each with a state folder that the one before it left. */
async function measure(folder: string, node: Node, builds: readonly Build[], effort: Effort) {
  const core = pinLoad();
  const upstream = await startProgram<{ port: number }>('bench/harness/upstream-process.ts');
  // The first start makes the state folder and fills the page cache; it does not count.
  for (let at = 0; at <= effort.starts; at += 1) {
    for (const { name, checkout, cpuMs, ms, idleMB } of builds) {
      progress(`start ${at} of ${effort.starts}, ${name}`);
      const { child, ready } = await startSidecar({
        ...{ folder: join(folder, `${node.version}-${name}`), checkout },
        ...{ upstreamPort: upstream.first.port, node: node.path, core },
        key: 'sk-bench0123456789abcdef0123456789',
      });
      await sleep(effort.restMs);
      const idle = residentBytes([child.pid ?? 0]) / 1e6;
      await stop(child, 'SIGKILL');
      if (at === 0) continue;
      cpuMs.push(ready.cpuMs);
      ms.push(ready.ms);
      idleMB.push(idle);
    }
  }
  await stop(upstream.child);
}

await runBench({
  ...{ name: 'bench:start', title: 'What a start costs', help: HELP },
  ...{ full: FULL, quick: { starts: 5, restMs: 1000 }, options: ['against', 'node'] },
  async measure({ folder, effort, node, values: { against } }) {
    const own = newBuild('this', ROOT);
    const other = against === undefined ? [] : [newBuild('the other', resolve(against))];
    for (const { checkout } of other) mainOf(checkout);
    const builds = [own, ...other];
    await measure(folder, node, builds, effort);
    const ratio = least(own.cpuMs) / least(other.flatMap(({ cpuMs }) => cpuMs));
    // Held on Node 20; 24 takes more by itself.
    const idle = node.name === 'Node 20' ? median(own.idleMB) : undefined;
    const targets = [
      atMost('processor time to the ready line, against the other build', 0.55, '×', ratio),
      atMost('resident memory when idle', 80, 'MB', idle),
    ];
    const rows = builds.map(({ name, cpuMs, ms, idleMB }) => [
      ...[name, ...spread(cpuMs, 0), figure(least(ms)), figure(median(idleMB), 1)],
    ]);
    const head = ['build', 'processor ms', 'quartiles', 'wall ms', 'idle MB'];
    return [{ targets, text: [table(head, rows)] }];
  },
});
