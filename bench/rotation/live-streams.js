import { openConnection } from '../load/connection.js';
import { createSamples } from '../load/samples.js';
import { delays } from '../load/sse.js';
import { rawRequest } from '../payloads.js';
import { createTallies } from './tallies.js';

/** Between two chunks of a stream; one that is silent ten times as long counts as cut. */
const GAP_MS = 100;

/**
 * SSE streams that are opened with one key and go on.
 * @param {{port: number, key: string, count: number}} given
 */
export async function openLiveStreams({ port, key, count }) {
  const request = Buffer.from(rawRequest({ key, mode: `hold ${GAP_MS}` }));
  const tallies = createTallies(
    () => ({ times: createSamples(1 << 11), cut: 0 }),
    (all, more) => {
      all.times.addAll(more.times);
      all.cut += more.cut;
    },
  );
  let running = true;

  const open = async () => {
    let lastAt = performance.now();
    let ended = false;
    const socket = await openConnection({
      port,
      onBytes: (bytes) =>
        delays(bytes, (ms) => {
          lastAt = performance.now();
          tallies.now().times.add(ms);
        }),
      onEnd() {
        ended = true;
        if (running) tallies.now().cut += 1;
      },
    });
    socket.write(request);
    return { socket, isSilent: () => !ended && performance.now() - lastAt > 10 * GAP_MS };
  };

  const all = await Promise.all(Array.from({ length: count }, open));
  return {
    turnTo: tallies.turnTo,
    settle: tallies.settle,
    close() {
      running = false;
      tallies.now().cut += all.filter(({ isSilent }) => isSilent()).length;
      // A reset leaves no TIME_WAIT.
      for (const { socket } of all) socket.resetAndDestroy();
      return tallies.figures(({ times, cut }) => ({ cut, chunkP99: times.percentile(99) }));
    },
  };
}
