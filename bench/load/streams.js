import { once } from 'node:events';
import { rawRequest } from '../payloads.js';
import { openConnection } from './connection.js';
import { createSamples } from './samples.js';
import { delays } from './sse.js';

/** How many connections are being opened at a time: below the backlog of every peer. */
const OPENING = 128;

/** How long a stream may take to its first chunk, in milliseconds. */
const PATIENCE = 20_000;

/** Many streams that stay open, a part of which receives a chunk each second. */
export function createStreams() {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  const times = createSamples();
  let lost = 0;
  let listening = false;

  const openOne = async (/** @type {number} */ port, /** @type {Buffer} */ request) => {
    /** @type {() => void} */
    let begun = () => {};
    const first = new Promise((resolve) => {
      begun = () => resolve(undefined);
    });
    const socket = await openConnection({
      port,
      bufferSize: 4096,
      onBytes(bytes) {
        delays(bytes, (ms) => {
          begun();
          if (listening) times.add(ms);
        });
      },
      onEnd() {
        if (sockets.delete(socket)) lost += 1;
      },
    });
    sockets.add(socket);
    socket.write(request);
    const late = setTimeout(() => socket.destroy(), PATIENCE);
    await Promise.race([first, once(socket, 'close')]);
    clearTimeout(late);
    if (socket.destroyed) throw new Error(`stream ${sockets.size} had no first chunk`);
  };

  return {
    /** @param {{port: number, key: string, count: number, ticking: number}} job */
    async open({ port, key, count, ticking }) {
      const quiet = Buffer.from(rawRequest({ key, mode: 'hold 0' }));
      const loud = Buffer.from(rawRequest({ key, mode: 'hold 1000' }));
      let next = 0;
      const worker = async () => {
        while (next < count) {
          const i = next;
          next += 1;
          // Every nth stream ticks, so that their beats lie spread over the time of opening.
          const ticks =
            Math.floor((i * ticking) / count) !== Math.floor(((i + 1) * ticking) / count);
          await openOne(port, ticks ? loud : quiet);
        }
      };
      await Promise.all(Array.from({ length: OPENING }, worker));
      return { open: sockets.size };
    },
    /** @param {{seconds: number}} job */
    async watch({ seconds }) {
      times.clear();
      listening = true;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      listening = false;
      const { length } = times;
      return { chunks: length, p50: times.percentile(50), p99: times.percentile(99), lost };
    },
    close() {
      for (const socket of sockets) {
        sockets.delete(socket);
        // A reset leaves no TIME_WAIT: the next peer needs the ports.
        socket.resetAndDestroy();
      }
      lost = 0;
      return {};
    },
  };
}
