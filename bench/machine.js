/**
 * What the bench asks of the machine: which core a process runs on, what processor time and memory
 * it took, and who else was busy. Linux's /proc and taskset; elsewhere the figures are NaN.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** Clock ticks a second in /proc: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS = 100;

const read = (/** @type {string} */ path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

export const hasCommand = (/** @type {string} */ name) =>
  spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name]).status === 0;

/** The cores this process may use, lowest first. */
export function allowedCores() {
  const list = /Cpus_allowed_list:\s*(\S+)/.exec(read('/proc/self/status'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [from = Number.NaN, to = from] = range.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** One core for the proxy, one for the rest; undefined where processes cannot be pinned. */
export function pickCores() {
  const [rest, proxy] = allowedCores();
  if (rest === undefined || proxy === undefined || !hasCommand('taskset')) return undefined;
  return { rest, proxy };
}

/** The limit on open files that a child can raise itself to. */
export function fileLimit() {
  const text = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout.trim();
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
}

/**
 * The process and all that descend from it.
 * @param {number} root
 */
export function family(root) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      const stat = read(`/proc/${name}/stat`);
      return {
        pid: Number(name),
        parent: Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]),
      };
    });
  const found = new Set([root]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const { pid, parent } of parents) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}

/** Seconds of processor time that these processes took so far. @param {readonly number[]} pids */
export function processorSeconds(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`);
    // After the command's closing bracket the third field comes first; 14 and 15 are wanted.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** Resident KiB of these processes together. @param {readonly number[]} pids */
export function residentKiB(pids) {
  return pids
    .map((pid) => Number(/VmRSS:\s*(\d+)/.exec(read(`/proc/${pid}/status`))?.[1]))
    .reduce((a, b) => a + b, 0);
}

/** A line of /proc/stat as its numbers: user, nice, system, and so on. @param {string} name */
function statOf(name) {
  const line = read('/proc/stat')
    .split('\n')
    .find((text) => text.startsWith(`${name} `));
  return (line ?? '').split(/\s+/).slice(1).map(Number);
}

/** Seconds that a core has spent in processes so far, interrupts left aside. @param {number} core */
export function coreSeconds(core) {
  const [user = Number.NaN, nice = Number.NaN, system = Number.NaN] = statOf(`cpu${core}`);
  return (user + nice + system) / TICKS;
}

/** Seconds for which the host kept a core from this machine so far, all cores together. */
export function stolenSeconds() {
  const [, , , , , , , stolen = Number.NaN] = statOf('cpu');
  return stolen / TICKS;
}

export function describeMachine() {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    // Not availableParallelism(): this process may keep to one of them.
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: read('/proc/sys/kernel/osrelease').trim().split('-')[0] || process.platform,
  };
}
