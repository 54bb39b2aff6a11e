import { ANSWER_BODY, rawRequest } from '../payloads.js';
import { openConnection } from './connection.js';
import { createSamples } from './samples.js';

const BODY = Buffer.from(ANSWER_BODY);
const SEPARATOR = Buffer.from('\r\n\r\n');

/**
 * How long a whole answer is, head included; every answer of one peer has the same length but for
 * its head's details, so that the length is looked up rarely.
 * @param {Buffer} bytes
 * @returns {number} -1: the head is not complete; 0: not a right answer
 */
function answerLength(bytes) {
  const end = bytes.indexOf(SEPARATOR);
  if (end < 0) return -1;
  const head = bytes.latin1Slice(0, end);
  if (!head.startsWith('HTTP/1.1 200')) return 0;
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  return length === BODY.length ? end + 4 + length : 0;
}

/**
 * A reader of one connection's answers: feed it bytes, it says when an answer is whole.
 * @returns {(bytes: Buffer) => 'more' | 'whole' | 'wrong'}
 */
function createReader() {
  /** @type {Buffer[]} */
  let parts = [];
  return (bytes) => {
    const all = parts.length === 0 ? bytes : Buffer.concat([...parts, bytes]);
    const length = answerLength(all);
    if (length === 0 || (length > 0 && all.length > length)) return 'wrong';
    if (length < 0 || all.length < length) {
      parts.push(Buffer.from(bytes));
      return 'more';
    }
    parts = [];
    return all.subarray(length - BODY.length).equals(BODY) ? 'whole' : 'wrong';
  };
}

/**
 * A closed loop: each of the connections sends its next request when its answer is whole. Each
 * answer is compared byte for byte.
 * @param {{port: number, key: string, connections: number, warmMs: number, measureMs: number}} job
 */
export async function runJson({ port, key, connections, warmMs, measureMs }) {
  const request = Buffer.from(rawRequest({ key, mode: 'json' }));
  const latencies = createSamples();
  /** @type {Map<string, number>} */
  const faults = new Map();
  const fault = (/** @type {string} */ what) => faults.set(what, (faults.get(what) ?? 0) + 1);
  let measuring = false;
  let running = true;

  const open = async () => {
    const read = createReader();
    let sentAt = 0;
    const send = () => {
      sentAt = performance.now();
      socket.write(request);
    };
    const socket = await openConnection({
      port,
      onBytes(bytes) {
        const state = read(bytes);
        if (state === 'more') return;
        if (state === 'wrong') fault('wrong answer');
        else if (measuring) latencies.add(performance.now() - sentAt);
        if (running && state === 'whole') send();
        else socket.destroy();
      },
      onEnd(why) {
        if (running) fault(why);
      },
    });
    return { send, socket };
  };

  const all = await Promise.all(Array.from({ length: connections }, open));
  for (const { send } of all) send();
  await new Promise((resolve) => setTimeout(resolve, warmMs));
  const from = performance.now();
  measuring = true;
  await new Promise((resolve) => setTimeout(resolve, measureMs));
  measuring = false;
  const seconds = (performance.now() - from) / 1000;
  running = false;
  for (const { socket } of all) socket.destroy();
  return {
    requests: latencies.length,
    perSecond: latencies.length / seconds,
    p50: latencies.percentile(50),
    p99: latencies.percentile(99),
    faults: Object.fromEntries(faults),
  };
}
