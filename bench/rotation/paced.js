import { openConnection } from '../load/connection.js';
import { createSamples } from '../load/samples.js';
import { rawRequest } from '../payloads.js';
import { createReader } from './answer.js';
import { createTallies } from './tallies.js';

/**
 * @typedef {object} Holder the key that one connection's client holds
 * @property {() => string} key
 *
 * @typedef {object} PhaseFigures
 * @property {number} perSecond
 * @property {number} requests
 * @property {number} refused
 * @property {number} p50 milliseconds
 * @property {number} p99
 * @property {Record<string, number>} faults
 */

/** How long an answer may be waited for after the last request, in milliseconds. */
const PATIENCE_MS = 10_000;

const createSeen = () => ({
  latencies: createSamples(),
  refused: 0,
  /** @type {Map<string, number>} */
  faults: new Map(),
});

/** @typedef {ReturnType<typeof createSeen>} Seen */

/** @param {Seen} all @param {Seen} more */
function addSeen(all, more) {
  all.latencies.addAll(more.latencies);
  all.refused += more.refused;
  for (const [what, count] of more.faults) {
    all.faults.set(what, (all.faults.get(what) ?? 0) + count);
  }
}

/**
 * An open loop: each connection has its turn at fixed instants, whatever became of the request
 * before. What is late is sent as soon as the connection is free, and its latency counts from its
 * turn, so that a stall is seen by all whom it would have met.
 *
 * @param {{port: number, perSecond: number, holders: readonly Holder[]}} given
 */
export async function createPacedLoad({ port, perSecond, holders }) {
  const tallies = createTallies(createSeen, addSeen);
  const fault = (/** @type {string} */ what) => {
    const { faults } = tallies.now();
    faults.set(what, (faults.get(what) ?? 0) + 1);
  };
  const everyAt = (/** @type {number} */ rate) => (holders.length / rate) * 1000;
  let everyMs = everyAt(perSecond);
  let running = true;

  const open = async (/** @type {Holder} */ holder) => {
    let read = createReader();
    let dueAt = Number.POSITIVE_INFINITY;
    /** The next turn where it is another one than `everyMs` after this one. */
    let turnAt = Number.NaN;
    let busy = false;
    let ofKey = '';
    let request = Buffer.alloc(0);
    /** @type {import('node:net').Socket | undefined} */
    let socket;
    const finish = () => {
      dueAt = Number.isNaN(turnAt) ? dueAt + everyMs : turnAt;
      turnAt = Number.NaN;
      busy = false;
    };
    const onBytes = (/** @type {Buffer} */ bytes) => {
      const answer = read(bytes);
      if (answer === undefined) return;
      const seen = tallies.now();
      seen.latencies.add(performance.now() - dueAt);
      if (answer.status === 401 || answer.status === 429) seen.refused += 1;
      else if (!answer.right) fault(`answer ${answer.status}`);
      finish();
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
        finish();
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
    return {
      send,
      isBusy: () => busy,
      /** @param {number} at of `performance.now()` */
      turn(at) {
        if (busy) turnAt = at;
        else dueAt = at;
      },
      end: () => socket?.destroy(),
    };
  };

  const all = await Promise.all(holders.map(open));
  /** Evenly from now on. */
  const spread = () => {
    const from = performance.now() + 10;
    for (const [at, { turn }] of all.entries()) turn(from + (at / all.length) * everyMs);
  };
  spread();
  // One timer for all: its grain of a millisecond is in every latency, of every run alike.
  const timer = setInterval(() => {
    const now = performance.now();
    for (const { send } of all) send(now);
  }, 1);

  return {
    turnTo: tallies.turnTo,
    settle: tallies.settle,
    pace(/** @type {number} */ rate) {
      everyMs = everyAt(rate);
      spread();
    },
    async stop() {
      tallies.turnTo('between');
      clearInterval(timer);
      const until = performance.now() + PATIENCE_MS;
      running = false;
      while (all.some(({ isBusy }) => isBusy()) && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const { isBusy, end } of all) {
        if (isBusy()) fault('no answer');
        end();
      }
    },
    /** Once it has stopped: sorting them takes seconds in which nothing else is heard. */
    figures: () =>
      tallies.figures(
        ({ latencies, refused, faults }, ms) =>
          /** @type {PhaseFigures} */ ({
            ...{ perSecond: (latencies.length / ms) * 1000, requests: latencies.length, refused },
            ...{ p50: latencies.percentile(50), p99: latencies.percentile(99) },
            faults: Object.fromEntries(faults),
          }),
      ),
  };
}
