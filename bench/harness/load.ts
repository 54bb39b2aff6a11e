/**
 * Load over raw sockets with requests that were made beforehand; each answer is compared. What is
 * counted lies between two readings of the kernel's books.
 */
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorNs } from './machine.ts';
import { ANSWER_BODY, delays, type HeaderSet, rawRequest } from './payloads.ts';
import { summary } from './report.ts';

/**
 * A raw socket that reads into one buffer of its own, so that the load makes no garbage.
 * @param options.onBytes must be done with the bytes when it returns
 * @param options.onEnd comes at most once, with what ended it
 * @returns connected; rejects where it cannot connect
 */
async function openConnection(options: {
  port: number;
  bufferSize?: number;
  onBytes: (bytes: Buffer) => void;
  onEnd: (why: string) => void;
}): Promise<Socket> {
  const { port, bufferSize = 16_384, onBytes, onEnd } = options;
  const buffer = Buffer.allocUnsafeSlow(bufferSize);
  const callback = (length: number) => {
    onBytes(buffer.subarray(0, length));
    return true;
  };
  const onread = { buffer, callback };
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
  let why = 'closed';
  socket.on('error', ({ message }) => {
    why = message;
  });
  socket.once('close', () => onEnd(why));
  await once(socket, 'connect');
  return socket;
}

const BODY = Buffer.from(ANSWER_BODY);
const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * Reads one connection's JSON answers: says when one is whole, and that it is wrong where it is not
 * byte for byte what the upstream sends.
 */
function createAnswerReader(): (bytes: Buffer) => 'more' | 'whole' | 'wrong' {
  let parts: Buffer[] = [];
  return (bytes) => {
    const all = parts.length === 0 ? bytes : Buffer.concat([...parts, bytes]);
    const end = all.indexOf(HEAD_END);
    const length = end + HEAD_END.length + BODY.length;
    if (end < 0 || all.length < length) {
      parts.push(Buffer.from(bytes));
      return 'more';
    }
    parts = [];
    const right =
      all.length === length &&
      all.toString('latin1', 0, 12) === 'HTTP/1.1 200' &&
      all.subarray(length - BODY.length).equals(BODY);
    return right ? 'whole' : 'wrong';
  };
}

/**
 * A closed loop: each connection sends its next request when its answer is whole.
 *
 * @param job.pids whose processor time is counted
 * @returns latencies in milliseconds, and `us`, the processor time of a request in microseconds
 * @throws where an answer is wrong, or a connection ends
 */
export async function runJson(job: {
  readonly port: number;
  readonly key: string;
  readonly headers: HeaderSet;
  readonly connections: number;
  /** Thousands of bytes of each request's body; undefined: 1. */
  readonly bodyKB?: number | undefined;
  readonly warmMs: number;
  readonly measureMs: number;
  readonly pids: readonly number[];
}) {
  const request = rawRequest({ key: job.key, mode: `json ${job.headers}`, bodyKB: job.bodyKB });
  const latencies: number[] = [];
  const state = { measuring: false, running: true, fault: '' };

  const open = async () => {
    const take = createAnswerReader();
    let sentAt = 0;
    const send = () => {
      sentAt = performance.now();
      socket.write(request);
    };
    const socket = await openConnection({
      port: job.port,
      onBytes(bytes) {
        const answer = take(bytes);
        if (answer === 'more') return;
        if (answer === 'wrong') state.fault = `a wrong answer: ${bytes.toString('latin1', 0, 200)}`;
        if (state.measuring) latencies.push(performance.now() - sentAt);
        if (state.running && answer === 'whole') send();
        else socket.destroy();
      },
      onEnd(why) {
        if (state.running) state.fault ||= `a connection ended: ${why}`;
      },
    });
    return { send, socket };
  };

  const all = await Promise.all(Array.from({ length: job.connections }, open));
  for (const { send } of all) send();
  await sleep(job.warmMs);
  const from = { at: performance.now(), ns: processorNs(job.pids) };
  state.measuring = true;
  await sleep(job.measureMs);
  state.measuring = false;
  const ns = processorNs(job.pids) - from.ns;
  const seconds = (performance.now() - from.at) / 1000;
  state.running = false;
  for (const { socket } of all) socket.destroy();
  if (state.fault !== '') throw new Error(state.fault);
  const { count, p50, p99 } = summary(latencies);
  return { p50, p99, perSecond: count / seconds, us: ns / 1000 / count };
}

/** How many streams are being opened at a time: their first chunks wait for each other. */
const OPENING = 4;
/** How long a stream may take to its first chunk, in milliseconds. */
const PATIENCE = 20_000;

/**
 * Streams that stay open, some of which receive a chunk each `gapMs`.
 * @throws where one has no first chunk
 */
export async function openStreams(job: {
  readonly port: number;
  readonly key: string;
  readonly count: number;
  readonly ticking: number;
  readonly gapMs: number;
}) {
  const { port, key, count, ticking, gapMs } = job;
  /** Those that are open, and when each was heard last. */
  const heard = new Map<Socket, number>();
  const first: number[] = [];
  let late: number[] = [];
  let ended = 0;

  const openOne = async (request: Buffer) => {
    const began = new EventEmitter();
    const socket = await openConnection({
      ...{ port, bufferSize: 4096 },
      onBytes(bytes) {
        delays(bytes, (ms) => {
          began.emit('begin');
          heard.set(socket, performance.now());
          late.push(ms);
        });
      },
      onEnd() {
        if (heard.delete(socket)) ended += 1;
      },
    });
    const sentAt = performance.now();
    heard.set(socket, sentAt);
    socket.write(request);
    const timer = setTimeout(() => socket.destroy(), PATIENCE);
    await Promise.race([once(began, 'begin'), once(socket, 'close')]);
    clearTimeout(timer);
    if (socket.destroyed) throw new Error(`stream ${heard.size} had no first chunk`);
    first.push(performance.now() - sentAt);
  };
  const quiet = rawRequest({ key, mode: 'hold 0' });
  const loud = rawRequest({ key, mode: `hold ${gapMs}` });
  // Every nth stream ticks, so that their beats lie spread over the time of opening.
  const ticks = (at: number) => at % Math.round(count / ticking) === 0;
  let next = 0;
  const worker = async () => {
    while (next < count) await openOne(ticks(next++) ? loud : quiet);
  };
  await Promise.all(Array.from({ length: OPENING }, worker));

  return {
    /**
     * @returns milliseconds from the request to the first chunk, and from the upstream's sending of
     *   a chunk to its arrival; `us`: the processor time of a chunk in microseconds
     * @throws where a stream has ended by itself
     */
    async watch(ms: number, pids: readonly number[]) {
      late = [];
      const before = processorNs(pids);
      await sleep(ms);
      const ns = processorNs(pids) - before;
      if (ended > 0) throw new Error(`${ended} streams were cut`);
      const { p50: firstP50, p99: firstP99 } = summary(first);
      const { count: chunks, p50, p99 } = summary(late);
      return { firstP50, firstP99, p50, p99, us: ns / 1000 / chunks };
    },
    /** How many have ended by themselves, or were silent for so many milliseconds. */
    cut(silentMs: number): number {
      const since = performance.now() - silentMs;
      return ended + [...heard.values()].filter((at) => at < since).length;
    },
    close() {
      for (const socket of heard.keys()) {
        heard.delete(socket);
        // A reset leaves no TIME_WAIT: the next peer needs the ports.
        socket.resetAndDestroy();
      }
    },
  };
}
