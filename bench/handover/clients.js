import { fileURLToPath } from 'node:url';
import { nextMessage, start, stop } from '../children.js';
import { asking } from '../jobs.js';

/** The clients of one run; see load.js for what they do. */
export async function createClients() {
  const child = start(process.execPath, [fileURLToPath(new URL('./load.js', import.meta.url))], {
    core: undefined,
    ipc: true,
  });
  await nextMessage(child);

  const ask = asking(child);

  return {
    /** @param {{port: number, key: string, clients: number, warmMs: number}} job */
    begin: (job) => ask({ kind: 'begin', ...job }),
    /**
     * @param {{port: number, key: string, count: number, seconds: number}} job
     * @returns {Promise<{streams: import('./streams.js').StreamEnd[],
     *   seen: {requests: number, failed: number}}>} when all of them have ended
     */
    streams: (job) => ask({ kind: 'streams', ...job }),
    /**
     * @param {Record<string, import('./timed.js').Span[]>} spans
     * @returns {Promise<Awaited<ReturnType<import('./load.js').ClosedLoop['end']>>>}
     */
    end: (spans) => ask({ kind: 'end', spans }),
    stop: () => stop(child),
  };
}

/** @typedef {Awaited<ReturnType<typeof createClients>>} Clients */
