/** The clients of `bench/rotation.ts`: holders of keys at a fixed pace, and streams that go on. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openConnection } from '../harness/load.ts';
import { ANSWER_BODY, rawRequest } from '../harness/payloads.ts';
import { reason } from '../harness/processes.ts';

/** Every fourth client reads the published file; the others are told the key. */
const READERS = 4;

/** Of a grace, the part in which clients move; the rest is for what is on its way meanwhile. */
const MOVING = 0.5;

/** How long an answer may be waited for after the last request, in milliseconds. */
const PATIENCE_MS = 10_000;

/** Between two chunks of a stream, and how long one may be silent before it counts as cut. */
const GAP_MS = 100;
const SILENT_MS = 2000;

/** What went wrong for clients, by what was said of it. */
export interface Harm {
  /** 401 and 429. */
  refused: number;
  cut: number;
  readonly faults: Map<string, number>;
}

/** Milliseconds of `performance.now()`: when a request was due, and when it was answered. */
export interface Sample {
  readonly due: number;
  readonly ms: number;
}

interface Move {
  readonly at: number;
  readonly number: number;
  readonly key: () => string;
}

/** A client that holds a key, and moves to each new one at a moment of its own. */
function createHolder(first: string) {
  let current = { key: first, number: 1 };
  let planned: Move[] = [];
  let moves = 0;
  return {
    plan: (move: Move) => planned.push(move),
    moves: () => moves,
    /** Asked at the time of a request: a timer that is late makes no client late. */
    key(): string {
      const now = performance.now();
      const due = planned.filter(({ at, number }) => at <= now && number > current.number);
      const newest = due.reduce<Move | undefined>(
        (found, move) => (found !== undefined && found.number > move.number ? found : move),
        undefined,
      );
      if (newest === undefined) return current.key;
      current = { key: newest.key(), number: newest.number };
      planned = planned.filter(({ number }) => number > newest.number);
      moves += 1;
      return current.key;
    },
  };
}

/** Holders that hear of each new key, and move to it within a part of the grace. */
export function createHolders(count: number, first: string, keyFile: string, graceMs: number) {
  const holders = Array.from({ length: count }, () => createHolder(first));
  let number = 1;
  /** When a key was first read before it was heard of: from then on the grace runs. */
  const seenAt = new Map<string, number>();
  const read = (): string => {
    const key = readFileSync(keyFile, 'utf8').trim();
    if (!seenAt.has(key)) seenAt.set(key, performance.now());
    return key;
  };
  return {
    holders,
    moves: () => holders.reduce((sum, holder) => sum + holder.moves(), 0),
    heard(key: string): void {
      const now = performance.now();
      const leftMs = Math.max(0, (seenAt.get(key) ?? now) + graceMs * MOVING - now);
      seenAt.clear();
      number += 1;
      for (const [at, holder] of holders.entries()) {
        const reads = at % READERS === 0;
        const when = now + Math.random() * leftMs;
        holder.plan({ at: when, number, key: reads ? read : () => key });
      }
    },
  };
}

const BODY = Buffer.from(ANSWER_BODY);

/** A reader of one connection's answers: the status of one that is whole, 0 where a 200 is wrong. */
function createStatusReader(): (bytes: Buffer) => number | undefined {
  let pending: Buffer = Buffer.alloc(0);
  return (bytes) => {
    const all = Buffer.concat([pending, bytes]);
    const end = all.indexOf('\r\n\r\n');
    const head = all.toString('latin1', 0, Math.max(0, end));
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    const isWhole = end >= 0 && all.length >= end + 4 + length;
    pending = isWhole ? Buffer.alloc(0) : all;
    if (!isWhole) return undefined;
    const status = Number(head.slice(9, 12));
    return status === 200 && !all.subarray(end + 4).equals(BODY) ? 0 : status;
  };
}

/**
 * An open loop: each connection has its turn at fixed instants, whatever became of the request
 * before. What is late is sent as soon as the connection is free, and its latency counts from its
 * turn, so that a stall is seen by all whom it would have met. The timer's grain of a millisecond
 * is in every latency.
 */
export function createPacedLoad(
  port: number,
  perSecond: number,
  holders: readonly { key(): string }[],
  harm: Harm,
) {
  const everyMs = (holders.length / perSecond) * 1000;
  const samples: Sample[] = [];
  const from = performance.now() + 100;
  let running = true;
  const fault = (what: string) => harm.faults.set(what, (harm.faults.get(what) ?? 0) + 1);

  const createClient = (holder: { key(): string }, firstTurn: number) => {
    let due = firstTurn;
    let busy = false;
    let ofKey = '';
    let request: Buffer = Buffer.alloc(0);
    let socket: Socket | undefined;
    const finish = (): void => {
      due += everyMs;
      busy = false;
    };
    const send = (now: number): void => {
      if (!running || busy || socket === undefined || now < due) return;
      const key = holder.key();
      if (key !== ofKey) request = rawRequest({ key, mode: 'json litellm' });
      ofKey = key;
      busy = true;
      socket.write(request);
    };
    const onStatus = (status: number | undefined): void => {
      if (status === undefined) return;
      samples.push({ due, ms: performance.now() - due });
      if (status === 401 || status === 429) harm.refused += 1;
      else if (status !== 200) fault(status === 0 ? 'another answer' : `status ${status}`);
      finish();
      send(performance.now());
    };
    const onEnd = (why: string): void => {
      socket = undefined;
      if (!running) return;
      if (busy) fault(why);
      if (busy) finish();
      open();
    };
    const open = (): void => {
      const read = createStatusReader();
      openConnection({ port, onBytes: (bytes) => onStatus(read(bytes)), onEnd }).then(
        (opened) => {
          socket = opened;
        },
        // One that could not be opened ends as well, and `onEnd` tries again.
        (error) => fault(reason(error)),
      );
    };
    open();
    return { send, isBusy: () => busy, end: () => socket?.destroy() };
  };

  const all = holders.map((holder, at) =>
    createClient(holder, from + (at / holders.length) * everyMs),
  );
  const timer = setInterval(() => {
    const now = performance.now();
    for (const { send } of all) send(now);
  }, 1);
  return {
    samples,
    async stop(): Promise<void> {
      clearInterval(timer);
      running = false;
      const until = performance.now() + PATIENCE_MS;
      while (all.some(({ isBusy }) => isBusy()) && performance.now() < until) await sleep(20);
      for (const { isBusy, end } of all) {
        if (isBusy()) fault('no answer');
        end();
      }
    },
  };
}

/** SSE streams that are opened with one key and go on. @returns what ends them */
export async function openLiveStreams(
  port: number,
  key: string,
  count: number,
  harm: Harm,
): Promise<() => void> {
  let running = true;
  const open = async () => {
    let lastAt = performance.now();
    let ended = false;
    const socket = await openConnection({
      port,
      onBytes() {
        lastAt = performance.now();
      },
      onEnd() {
        ended = true;
        if (running) harm.cut += 1;
      },
    });
    socket.write(rawRequest({ key, mode: `hold ${GAP_MS}` }));
    return { socket, isSilent: () => !ended && performance.now() - lastAt > SILENT_MS };
  };
  const all = await Promise.all(Array.from({ length: count }, open));
  return () => {
    running = false;
    harm.cut += all.filter(({ isSilent }) => isSilent()).length;
    // A reset leaves no TIME_WAIT.
    for (const { socket } of all) socket.resetAndDestroy();
  };
}
