import { openConnection } from '../load/connection.js';
import { rawRequest } from '../payloads.js';
import { createReader } from '../rotation/answer.js';
import { MOCK_ANSWER } from './chat.js';
import { createTimedSamples, wallMs } from './timed.js';

/** Before a client whose connection broke comes back, in milliseconds. */
const COME_BACK_MS = 50;

/** How long an answer may be waited for at the end: above what the sidecar holds a request. */
const PATIENCE_MS = 60_000;

const ANSWER = Buffer.from(MOCK_ANSWER);

/**
 * A closed loop: each client sends its next request when it has the answer to the one before. A
 * client whose connection broke comes back on a new one.
 *
 * @param {{port: number, key: string, clients: number}} given
 */
export async function createClosedLoop({ port, key, clients }) {
  const request = Buffer.from(rawRequest({ key, mode: 'json' }));
  const times = createTimedSamples();
  /** @type {Map<string, number>} */
  const faults = new Map();
  const fault = (/** @type {string} */ what) => faults.set(what, (faults.get(what) ?? 0) + 1);
  const failed = () => [...faults.values()].reduce((sum, count) => sum + count, 0);
  let from = wallMs();
  let running = true;

  const open = async () => {
    let read = createReader((body) => body.includes(ANSWER));
    let sentAt = 0;
    let busy = false;
    /** @type {import('node:net').Socket | undefined} */
    let socket;
    const send = () => {
      if (!running || socket === undefined) return;
      busy = true;
      sentAt = wallMs();
      socket.write(request);
    };
    const onBytes = (/** @type {Buffer} */ bytes) => {
      const answer = read(bytes);
      if (answer === undefined) return;
      busy = false;
      times.add(sentAt, wallMs() - sentAt);
      if (answer.status !== 200) fault(`status ${answer.status}`);
      else if (!answer.right) fault('another answer');
      send();
    };
    const connect = async () => {
      read = createReader((body) => body.includes(ANSWER));
      socket = await openConnection({ port, onBytes, onEnd });
      send();
    };
    const comeBack = () => {
      if (!running) return;
      connect().catch((/** @type {Error} */ error) => {
        fault(error.message);
        setTimeout(comeBack, COME_BACK_MS);
      });
    };
    function onEnd(/** @type {string} */ why) {
      // One that could not be opened ends as well; `comeBack` has it.
      if (socket === undefined) return;
      socket = undefined;
      if (busy) fault(why);
      busy = false;
      setTimeout(comeBack, COME_BACK_MS);
    }
    await connect();
    return { isBusy: () => busy, end: () => socket?.destroy() };
  };

  const all = await Promise.all(Array.from({ length: clients }, open));

  return {
    /** What was measured before was warming up; what went wrong in it still counts. */
    begin() {
      times.clear();
      from = wallMs();
    },
    seen: () => ({ requests: times.length, failed: failed() }),
    /** @param {Record<string, readonly import('./timed.js').Span[]>} spans by their names */
    async end(spans) {
      const perSecond = (times.length / (wallMs() - from)) * 1000;
      running = false;
      const until = wallMs() + PATIENCE_MS;
      while (all.some(({ isBusy }) => isBusy()) && wallMs() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const silent = all.filter(({ isBusy }) => isBusy()).length;
      if (silent > 0) faults.set('no answer', silent);
      for (const { end } of all) end();
      const during = Object.entries(spans).map(([name, some]) => [name, times.during(some)]);
      return {
        requests: times.length,
        perSecond,
        p50: times.percentile(50),
        p99: times.percentile(99),
        slowest: times.percentile(100),
        during: Object.fromEntries(during),
        failed: failed(),
        faults: Object.fromEntries(faults),
      };
    },
  };
}
