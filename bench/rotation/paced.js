import { openConnection } from '../load/connection.js';
import { createSamples } from '../load/samples.js';
import { rawRequest } from '../payloads.js';
import { createReader } from './answer.js';

/**
 * @typedef {object} Holder the key that one connection's client holds
 * @property {() => string} key
 */

/** How long an answer may be waited for after the last request, in milliseconds. */
const PATIENCE_MS = 10_000;

/**
 * An open loop: each connection has its turn at fixed instants, whatever became of the request
 * before. What is late is sent as soon as the connection is free, and its latency counts from its
 * turn, so that a stall is seen by all whom it would have met.
 *
 * @param {{port: number, perSecond: number, holders: readonly Holder[]}} given
 */
export async function createPacedLoad({ port, perSecond, holders }) {
  const latencies = createSamples(1 << 19);
  /** @type {Map<string, number>} */
  const faults = new Map();
  const fault = (/** @type {string} */ what) => faults.set(what, (faults.get(what) ?? 0) + 1);
  const everyMs = (holders.length / perSecond) * 1000;
  let refused = 0;
  let answered = 0;
  let running = true;

  const open = async (/** @type {Holder} */ holder, /** @type {number} */ firstAt) => {
    let read = createReader();
    let dueAt = firstAt;
    let busy = false;
    let ofKey = '';
    let request = Buffer.alloc(0);
    /** @type {import('node:net').Socket | undefined} */
    let socket;
    const onBytes = (/** @type {Buffer} */ bytes) => {
      const answer = read(bytes);
      if (answer === undefined) return;
      latencies.add(performance.now() - dueAt);
      answered += 1;
      dueAt += everyMs;
      busy = false;
      if (answer.status === 401 || answer.status === 429) refused += 1;
      else if (!answer.right) fault(`answer ${answer.status}`);
      send(performance.now());
    };
    const connect = async () => {
      read = createReader();
      socket = await openConnection({ port, onBytes, onEnd });
    };
    function onEnd(/** @type {string} */ why) {
      socket = undefined;
      if (!running) return;
      if (busy) {
        fault(why);
        dueAt += everyMs;
        busy = false;
      }
      connect().catch((/** @type {Error} */ error) => fault(error.message));
    }
    function send(/** @type {number} */ now) {
      if (!running || busy || socket === undefined || now < dueAt) return;
      const key = holder.key();
      if (key !== ofKey) {
        ofKey = key;
        request = Buffer.from(rawRequest({ key, mode: 'json' }));
      }
      busy = true;
      socket.write(request);
    }
    await connect();
    return { send, isBusy: () => busy, end: () => socket?.destroy() };
  };

  let from = performance.now() + 200;
  const all = await Promise.all(
    holders.map((holder, at) => open(holder, from + (at / holders.length) * everyMs)),
  );
  // One timer for all: its grain of a millisecond is in every latency, of every run alike.
  const timer = setInterval(() => {
    const now = performance.now();
    for (const { send } of all) send(now);
  }, 1);

  return {
    /** What was measured before was warming up; what went wrong in it still counts. */
    begin() {
      latencies.clear();
      answered = 0;
      from = performance.now();
    },
    async stop() {
      const perSecondSeen = (answered / (performance.now() - from)) * 1000;
      clearInterval(timer);
      const until = performance.now() + PATIENCE_MS;
      running = false;
      while (all.some(({ isBusy }) => isBusy()) && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const silent = all.filter(({ isBusy }) => isBusy()).length;
      if (silent > 0) faults.set('no answer', silent);
      for (const { end } of all) end();
      return {
        perSecond: perSecondSeen,
        requests: answered,
        refused,
        p50: latencies.percentile(50),
        p99: latencies.percentile(99),
        faults: Object.fromEntries(faults),
      };
    },
  };
}
