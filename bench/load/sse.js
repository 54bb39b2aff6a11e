import { rawRequest, SSE_END, STAMP_DIGITS, STAMP_MARK } from '../payloads.js';
import { openConnection } from './connection.js';
import { createSamples } from './samples.js';

const MARK = Buffer.from(STAMP_MARK);
const LAST = Buffer.from(SSE_END.slice(-5));

/**
 * Milliseconds since each stamped chunk in these bytes was sent.
 * @param {Buffer} bytes
 * @param {(ms: number) => void} each
 */
export function delays(bytes, each) {
  let at = bytes.indexOf(MARK);
  if (at < 0) return;
  const now = Number(process.hrtime.bigint() / 1000n);
  while (at >= 0) {
    const from = at + MARK.length;
    const to = from + STAMP_DIGITS;
    // A stamp that two reads share goes unseen; `latin1Slice` throws on it.
    if (to > bytes.length) return;
    each((now - Number(bytes.latin1Slice(from, to))) / 1000);
    at = bytes.indexOf(MARK, from);
  }
}

/**
 * A closed loop of streams: each connection asks for its next stream when the last one has ended.
 * @param {{port: number, key: string, connections: number, chunks: number, gapMs: number,
 *   warmMs: number, measureMs: number}} job
 */
export async function runSse({ port, key, connections, chunks, gapMs, warmMs, measureMs }) {
  const request = Buffer.from(rawRequest({ key, mode: `sse ${chunks} ${gapMs}` }));
  const times = createSamples();
  /** @type {Map<string, number>} */
  const faults = new Map();
  const fault = (/** @type {string} */ what) => faults.set(what, (faults.get(what) ?? 0) + 1);
  let streams = 0;
  let measuring = false;
  let running = true;

  const open = async () => {
    let seen = 0;
    let tail = Buffer.alloc(0);
    const socket = await openConnection({
      port,
      onBytes(bytes) {
        delays(bytes, (ms) => {
          seen += 1;
          if (measuring) times.add(ms);
        });
        tail = Buffer.concat([tail, bytes.subarray(-LAST.length)]).subarray(-LAST.length);
        if (!tail.equals(LAST)) return;
        // Those that two reads share went unseen.
        if (seen < chunks * 0.8) fault(`a stream of ${seen} chunks`);
        if (measuring) streams += 1;
        seen = 0;
        tail = Buffer.alloc(0);
        if (running) socket.write(request);
        else socket.destroy();
      },
      onEnd(why) {
        if (running) fault(why);
      },
    });
    return socket;
  };

  const all = await Promise.all(Array.from({ length: connections }, open));
  for (const [i, socket] of all.entries()) {
    setTimeout(() => socket.write(request), (i / connections) * gapMs);
  }
  await new Promise((resolve) => setTimeout(resolve, warmMs));
  const from = performance.now();
  measuring = true;
  await new Promise((resolve) => setTimeout(resolve, measureMs));
  measuring = false;
  const seconds = (performance.now() - from) / 1000;
  running = false;
  for (const socket of all) socket.destroy();
  return {
    requests: streams,
    chunksPerSecond: times.length / seconds,
    perSecond: streams / seconds,
    p50: times.percentile(50),
    p99: times.percentile(99),
    faults: Object.fromEntries(faults),
  };
}
