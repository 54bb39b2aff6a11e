import { fileURLToPath } from 'node:url';
import { nextMessage, start } from '../children.js';
import { asking } from '../jobs.js';

export const CONNECTIONS = 64;
export const STREAMS = 20;

/**
 * @typedef {object} RunSeen
 * @property {Record<import('./tallies.js').Phase, import('./paced.js').PhaseFigures>} requests
 * @property {Record<import('./tallies.js').Phase, {cut: number, chunkP99: number}>} streams
 * @property {number} moves
 */

/**
 * The load as a process of its own.
 * @param {number | undefined} core
 */
export async function startLoad(core) {
  const child = start(process.execPath, [fileURLToPath(new URL('./load.js', import.meta.url))], {
    core,
    ipc: true,
  });
  await nextMessage(child);
  const ask = asking(child);
  return {
    /** @param {Omit<import('./load.js').Job, 'connections' | 'streams'>} job */
    open: (job) => ask({ kind: 'open', ...job, connections: CONNECTIONS, streams: STREAMS }),
    /** @param {{key: string, number: number}} next */
    tell: (next) => void child.send({ kind: 'key', ...next }),
    turnTo: (/** @type {import('./tallies.js').Phase} */ phase) => ask({ kind: 'phase', phase }),
    /** Whether what was seen since the last time counts, or lies between what counts. */
    settle: (/** @type {boolean} */ counts) => ask({ kind: 'settle', counts }),
    pace: (/** @type {number} */ perSecond) => ask({ kind: 'pace', perSecond }),
    /** @returns {Promise<RunSeen>} */
    end: () => ask({ kind: 'end' }),
  };
}

/** @typedef {Awaited<ReturnType<typeof startLoad>>} Load */
