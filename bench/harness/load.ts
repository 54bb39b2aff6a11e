/**
 * Load over raw sockets with requests that were made beforehand; each answer is compared. The jobs
 * run in a process of their own (`load-process.ts`) and read the kernel's books themselves, at the
 * instants between which they count.
 */
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorNs } from './machine.ts';
import { ANSWER_BODY, delays, type HeaderSet, rawRequest } from './payloads.ts';

/**
 * A raw socket that reads into one buffer of its own, so that the load makes no garbage.
 * @param options.onBytes must be done with the bytes when it returns
 * @param options.onEnd comes at most once, with what ended it
 * @returns connected; rejects where it cannot connect
 */
function openConnection(options: {
  port: number;
  bufferSize?: number;
  onBytes: (bytes: Buffer) => void;
  onEnd: (why: string) => void;
}): Promise<Socket> {
  const { port, bufferSize = 16_384, onBytes, onEnd } = options;
  const buffer = Buffer.allocUnsafeSlow(bufferSize);
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...{ port, host: '127.0.0.1', noDelay: true },
      onread: {
        buffer,
        callback(length) {
          onBytes(buffer.subarray(0, length));
          return true;
        },
      },
    });
    let why = 'closed';
    socket.once('connect', () => resolve(socket));
    socket.on('error', (error) => {
      why = error.message;
      reject(error);
    });
    socket.once('close', () => onEnd(why));
  });
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

/** Latencies in milliseconds, kept in nanoseconds to three digits. */
function createLatencies() {
  const histogram: RecordableHistogram = createHistogram();
  return {
    add: (ms: number) => histogram.record(Math.max(1, Math.round(ms * 1e6))),
    get count() {
      return histogram.count;
    },
    /** @param p 0 to 100 */
    percentile: (p: number) => (histogram.count === 0 ? Number.NaN : histogram.percentile(p) / 1e6),
    reset: () => histogram.reset(),
  };
}

export interface JsonFigures {
  readonly requests: number;
  readonly perSecond: number;
  /** Processor time of a request, in microseconds. */
  readonly us: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

interface JsonJob {
  readonly port: number;
  readonly key: string;
  readonly headers: HeaderSet;
  readonly connections: number;
  readonly warmMs: number;
  readonly measureMs: number;
  /** Whose processor time is counted. */
  readonly pids: readonly number[];
}

/**
 * A closed loop: each connection sends its next request when its answer is whole.
 * @throws where an answer is wrong, or a connection ends
 */
export async function runJson(job: JsonJob): Promise<JsonFigures> {
  const request = rawRequest({ key: job.key, mode: `json ${job.headers}` });
  const latencies = createLatencies();
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
        if (state.measuring) latencies.add(performance.now() - sentAt);
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
  const requests = latencies.count;
  return {
    ...{ requests, perSecond: requests / seconds, us: ns / 1000 / requests },
    ...{ p50: latencies.percentile(50), p99: latencies.percentile(99) },
  };
}

/** How many streams are being opened at a time: their first chunks wait for each other. */
const OPENING = 4;
/** How long a stream may take to its first chunk, in milliseconds. */
const PATIENCE = 20_000;

/** Times in milliseconds. */
export interface StreamFigures {
  /** From the request to the first chunk. */
  readonly firstP50: number;
  readonly firstP99: number;
  readonly chunks: number;
  /** From the upstream's sending of a chunk to its arrival. */
  readonly p50: number;
  readonly p99: number;
  /** Processor time of a chunk, in microseconds. */
  readonly us: number;
}

/** Streams that stay open, some of which receive a chunk each `gapMs`. */
export function createOpenStreams() {
  const sockets = new Set<Socket>();
  const [first, late] = [createLatencies(), createLatencies()];
  let lost = 0;

  const openOne = async (port: number, request: Buffer) => {
    const began = new EventEmitter();
    const socket = await openConnection({
      ...{ port, bufferSize: 4096 },
      onBytes(bytes) {
        delays(bytes, (ms) => {
          began.emit('begin');
          late.add(ms);
        });
      },
      onEnd() {
        if (sockets.delete(socket)) lost += 1;
      },
    });
    sockets.add(socket);
    const sentAt = performance.now();
    socket.write(request);
    const timer = setTimeout(() => socket.destroy(), PATIENCE);
    await Promise.race([once(began, 'begin'), once(socket, 'close')]);
    clearTimeout(timer);
    if (socket.destroyed) throw new Error(`stream ${sockets.size} had no first chunk`);
    first.add(performance.now() - sentAt);
  };

  return {
    async open(job: { port: number; key: string; count: number; ticking: number; gapMs: number }) {
      const { port, key, count, ticking, gapMs } = job;
      const quiet = rawRequest({ key, mode: 'hold 0' });
      const loud = rawRequest({ key, mode: `hold ${gapMs}` });
      // Every nth stream ticks, so that their beats lie spread over the time of opening.
      const ticks = (at: number) =>
        Math.floor((at * ticking) / count) !== Math.floor(((at + 1) * ticking) / count);
      let next = 0;
      const worker = async () => {
        while (next < count) await openOne(port, ticks(next++) ? loud : quiet);
      };
      first.reset();
      lost = 0;
      await Promise.all(Array.from({ length: OPENING }, worker));
    },
    /** @throws where a stream has ended by itself */
    async watch({ ms, pids }: { ms: number; pids: readonly number[] }): Promise<StreamFigures> {
      late.reset();
      const before = processorNs(pids);
      await sleep(ms);
      const ns = processorNs(pids) - before;
      if (lost > 0) throw new Error(`${lost} streams were cut`);
      return {
        ...{ firstP50: first.percentile(50), firstP99: first.percentile(99) },
        ...{ chunks: late.count, p50: late.percentile(50), p99: late.percentile(99) },
        us: ns / 1000 / late.count,
      };
    },
    close() {
      for (const socket of sockets) {
        sockets.delete(socket);
        // A reset leaves no TIME_WAIT: the next peer needs the ports.
        socket.resetAndDestroy();
      }
    },
  };
}
