import { spawnSync } from 'node:child_process';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { nextMessage, start } from '../children.js';

/**
 * Of the load's core the load comes first: a request that an operator's own processor time keeps
 * waiting is no latency of the sidecar's. Linux has a class for it, which gives way at once, where
 * one that is merely nice keeps the core to the end of its slice.
 */
function giveWay(/** @type {number} */ pid) {
  const { status } = spawnSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(pid)]);
  if (status !== 0) setPriority(pid, NICE);
}

const NICE = 10;

/**
 * @typedef {object} Row
 * @property {string} socket
 * @property {string} keyFile
 * @property {number} rotations
 * @property {number} paceMs
 * @property {number} graceMs
 * @property {number} keysBefore
 *
 * @typedef {Awaited<ReturnType<import('./row.js').rotateInARow>>} Rotated
 */

/**
 * The operator as a process.
 * @param {number | undefined} core
 */
export async function startRotator(core) {
  const script = fileURLToPath(new URL('./rotator.js', import.meta.url));
  const child = start(process.execPath, [script], { core, ipc: true });
  await nextMessage(child);
  giveWay(child.pid ?? 0);
  return {
    /**
     * @param {Row} row
     * @param {(next: {key: string, number: number}) => void} onKey
     * @returns {Promise<Rotated>}
     */
    rotate: (row, onKey) =>
      new Promise((resolve, reject) => {
        const settle = (/** @type {() => void} */ end) => {
          child.off('message', onMessage).off('exit', onExit);
          end();
        };
        const onExit = () => settle(() => reject(new Error('who rotates has ended')));
        const onMessage = (/** @type {any} */ { result, failed, ...next }) => {
          if (result !== undefined) settle(() => resolve(result));
          else if (failed !== undefined) settle(() => reject(new Error(failed)));
          else onKey(next);
        };
        child.on('message', onMessage).once('exit', onExit);
        child.send(row);
      }),
  };
}

/** @typedef {Awaited<ReturnType<typeof startRotator>>} Rotator */
