/** Starts the bench's processes, each on its core, and ends all of them whatever happens. */
import { spawn, spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { allowedCores } from './machine.js';

/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();

/** Once all are told to end, whoever still runs starts no other. */
let over = false;

/** Where those may run that are given no core, once this process keeps to one. */
/** @type {string | undefined} */
let everywhere;

/** From now on this process stays on a core; its children may still use the others. */
export function keepTo(/** @type {number} */ core) {
  everywhere = allowedCores().join(',');
  spawnSync('taskset', ['-a', '-p', '-c', String(core), String(process.pid)]);
}

/**
 * Keeps the main thread of a process to a core, and lets the others that it has use all of them.
 * One that it starts later begins where the main thread is: call this again then.
 * @param {number} pid
 * @param {number} core
 */
export function keepMainThread(pid, core) {
  spawnSync('taskset', ['-a', '-p', '-c', everywhere ?? allowedCores().join(','), String(pid)]);
  spawnSync('taskset', ['-p', '-c', String(core), String(pid)]);
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{core: number | undefined, env?: NodeJS.ProcessEnv, cwd?: string, output?: string,
 *   ipc?: boolean}} options `output` is a file that stdout and stderr are appended to
 */
export function start(command, args, { core, env, cwd, output, ipc = false }) {
  if (over) throw new Error('the bench has ended');
  const log = output === undefined ? 'ignore' : openSync(output, 'a');
  const where = core === undefined ? everywhere : String(core);
  const pinned = where === undefined ? [] : ['taskset', '-c', where];
  // Node raises its soft limit on files by itself, nginx and HAProxy from their configuration.
  const [file = command, ...rest] = [...pinned, command, ...args];
  const child = spawn(file, rest, {
    stdio: [
      'ignore',
      log,
      output === undefined ? 'inherit' : log,
      ...(ipc ? [/** @type {const} */ ('ipc')] : []),
    ],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.on('error', () => children.delete(child));
  return child;
}

/**
 * The next message of a child over IPC.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<any>} rejects where the child ends first
 */
export function nextMessage(child) {
  return new Promise((resolve, reject) => {
    const gone = (/** @type {number | null} */ code) =>
      reject(new Error(`${child.spawnargs.join(' ')} ended with ${code}`));
    child.once('exit', gone);
    child.once('error', reject);
    child.once('message', (message) => {
      child.off('exit', gone);
      child.off('error', reject);
      resolve(message);
    });
  });
}

/** @param {import('node:child_process').ChildProcess} child @returns {Promise<void>} */
export function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    // nginx's master takes its worker along on SIGTERM only; whoever drains is not waited for.
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 300).unref();
  });
}

export const stopAll = () => {
  over = true;
  return Promise.all([...children].map(stop));
};
