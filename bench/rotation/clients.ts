/** The clients of `bench/rotation.ts`: holders of keys at a fixed pace, and streams that go on. */
import { readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANSWER_BODY, PATH, REQUEST_BODY } from '../harness/payloads.ts';

/** Of a grace, the part in which clients move; the rest is for what is on its way meanwhile. */
const MOVING = 0.5;

/** How long an answer may be waited for after the last request, in milliseconds. */
const PATIENCE_MS = 10_000;

/** Between two chunks of a stream, and how long one may be silent before it counts as cut. */
const GAP_MS = 100;
const SILENT_MS = 2000;

/** Where the load's own timer is later than this, the machine stood still. Milliseconds. */
const STALL_MS = 20;

/** What went wrong for clients. */
export interface Harm {
  /** 401 and 429. */
  refused: number;
  cut: number;
  /** How often, by what it was. */
  readonly faults: Map<string, number>;
}

/** A request; milliseconds of `performance.now()`. */
export interface Sample {
  readonly due: number;
  readonly ms: number;
}

/** Clients that read the published key again at a moment of their own, once there is a new one. */
export function createHolders(count: number, first: string, keyFile: string, graceMs: number) {
  const holders = Array.from({ length: count }, () => ({
    key: first,
    readsAt: Number.POSITIVE_INFINITY,
  }));
  let reads = 0;
  let newest = first;
  /** Who is about to read anyway reads the newest. */
  const heard = (key: string): void => {
    if (key === newest) return;
    newest = key;
    const now = performance.now();
    for (const holder of holders) {
      holder.readsAt = Math.min(holder.readsAt, now + Math.random() * graceMs * MOVING);
    }
  };
  return {
    heard,
    reads: () => reads,
    /** The key that a holder has now: a timer that is late makes no client late. */
    keyOf(index: number): string {
      const holder = holders[index % count];
      if (holder === undefined) return first;
      if (holder.readsAt <= performance.now()) {
        holder.key = readFileSync(keyFile, 'utf8').trim();
        holder.readsAt = Number.POSITIVE_INFINITY;
        reads += 1;
        // It may stand there before its rotation is answered, and the grace begins with its use.
        heard(holder.key);
      }
      return holder.key;
    },
  };
}

/** Sends one chat completion. @returns what comes of it; rejects where there is no answer */
const ask = (agent: Agent, port: number, key: string, mode: string): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'x-bench': mode,
      'content-length': Buffer.byteLength(REQUEST_BODY),
    };
    const options = { host: '127.0.0.1', port, method: 'POST', path: PATH, headers, agent };
    request(options, resolve).once('error', reject).end(REQUEST_BODY);
  });

/**
 * An open loop: requests leave at fixed instants, whatever became of those before, and a latency
 * counts from that instant, so that a stall is seen by all whom it met. The timer's grain of a
 * millisecond is in every latency.
 */
export function createPacedLoad(
  port: number,
  perSecond: number,
  connections: number,
  keyOf: (index: number) => string,
  harm: Harm,
) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'fifo' });
  const everyMs = 1000 / perSecond;
  const samples: Sample[] = [];
  const stalls: number[] = [];
  let open = 0;
  let sent = 0;
  let due = performance.now();
  let lookedAt = due;
  const fault = (what: string) => harm.faults.set(what, (harm.faults.get(what) ?? 0) + 1);

  const send = async (at: number): Promise<void> => {
    open += 1;
    try {
      const response = await ask(agent, port, keyOf(sent++), 'json litellm');
      const said = await text(response);
      samples.push({ due: at, ms: performance.now() - at });
      const { statusCode: status } = response;
      if (status === 401 || status === 429) harm.refused += 1;
      else if (status !== 200) fault(`status ${status}`);
      else if (said !== ANSWER_BODY) fault('another answer');
    } catch (error) {
      fault(String(error));
    }
    open -= 1;
  };
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - lookedAt > STALL_MS) stalls.push(now);
    lookedAt = now;
    for (; due <= now; due += everyMs) void send(due);
  }, 1);
  return {
    samples,
    /** When this process stood still, for the machine had something else to do. */
    stalls,
    async stop(): Promise<void> {
      clearInterval(timer);
      const until = performance.now() + PATIENCE_MS;
      while (open > 0 && performance.now() < until) await sleep(20);
      if (open > 0) fault(`no answer (${open})`);
      agent.destroy();
    },
  };
}

/** SSE streams that are opened with one key and go on. @returns what ends and judges them */
export async function openLiveStreams(port: number, key: string, count: number, harm: Harm) {
  const agent = new Agent();
  let running = true;
  const open = async () => {
    const response = await ask(agent, port, key, `hold ${GAP_MS}`);
    const stream = { lastAt: performance.now(), isCut: response.statusCode !== 200 };
    const cut = (): void => {
      stream.isCut ||= running;
    };
    response
      .once('close', cut)
      .once('error', cut)
      .on('data', () => {
        stream.lastAt = performance.now();
      });
    return stream;
  };
  const all = await Promise.all(Array.from({ length: count }, open));
  return (): void => {
    running = false;
    const now = performance.now();
    harm.cut += all.filter(({ isCut, lastAt }) => isCut || now - lastAt > SILENT_MS).length;
    agent.destroy();
  };
}
