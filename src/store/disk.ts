import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createTurns } from '../turns.ts';
import {
  type CopiedError,
  copyError,
  doJob,
  type JobName,
  type RequestOf,
  type ResultOf,
  restoreError,
} from './disk-jobs.ts';
import { type FaultPoint, noFaults } from './durable-file.ts';

/** The data that a thread is started with. */
export interface ThreadData {
  /** The thread waits here at a fault point; undefined: there are no fault points. */
  readonly gate: SharedArrayBuffer | undefined;
}
export interface DiskQuestion {
  readonly name: JobName;
  readonly request: unknown;
}
export type DiskAnswer =
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly failure: CopiedError }
  | { readonly kind: 'fault'; readonly name: string };
/** What the function of a fault point threw; undefined: it returned. */
export interface FaultOutcome {
  readonly failure: CopiedError | undefined;
}

/** A thread that works on the disk, and is asked one question at a time. */
interface DiskLink {
  /** Rejects where the job fails, or the thread ends. */
  ask(question: DiskQuestion): Promise<unknown>;
  /** Whether the thread ended by itself or could not begin, so that another one is needed. */
  isOver(): boolean;
  /** Ends the thread whatever it does; a system call that hangs is not waited for. */
  end(): void;
}

/**
 * Starts a thread. It ends with the process, and keeps it alive only while it has work.
 *
 * @param script the program of the thread
 */
function startDiskThread(script: URL, fault: FaultPoint | undefined): DiskLink {
  const gate = fault && new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const worker = new Worker(script, {
    name: 'disk',
    // The thread needs neither the settings nor the secrets of the environment.
    env: {},
    execArgv: [],
    workerData: { gate } satisfies ThreadData,
  });
  worker.unref();
  let waiting: { resolve(result: unknown): void; reject(error: Error): void } | undefined;
  let ended: Error | undefined;
  const settle = (): typeof waiting => {
    const question = waiting;
    waiting = undefined;
    worker.unref();
    return question;
  };
  const onEnd = (error: Error): void => {
    ended ??= error;
    settle()?.reject(ended);
  };
  worker.on('message', (answer: DiskAnswer) => {
    if (answer.kind === 'done') settle()?.resolve(answer.result);
    else if (answer.kind === 'failed') settle()?.reject(restoreError(answer.failure));
    else {
      worker.postMessage(passFault(fault, answer.name));
      if (gate !== undefined) open(gate);
    }
  });
  worker.on('error', onEnd);
  worker.on('exit', () => onEnd(new Error('the thread that writes to the disk has ended')));

  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        waiting = { resolve, reject };
        worker.ref();
        worker.postMessage(question);
      }),
    isOver: () => ended !== undefined,
    end() {
      void worker.terminate();
    },
  };
}

function passFault(fault: FaultPoint | undefined, name: string): FaultOutcome {
  try {
    fault?.(name);
    return { failure: undefined };
  } catch (error) {
    return { failure: copyError(error) };
  }
}

function open(gate: SharedArrayBuffer): void {
  const flag = new Int32Array(gate);
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

interface DiskOptions {
  readonly fault?: FaultPoint;
  /** `later`: until `allowThread` is called, jobs are done by the caller's thread. */
  readonly thread?: 'now' | 'later';
}

/**
 * Work that waits for a disk, one job after the other. A durable write is two dozen system calls.
 * As asynchronous calls they would cost the thread that serves requests ten times as much as one
 * message to a thread of their own does. That thread holds 10 MB: it starts with the first job, and
 * ends after a minute without one.
 */
export interface Disk {
  /** Rejects with what the job throws. Where its thread ends, the job may be done or not. */
  run<Name extends JobName>(name: Name, request: RequestOf<Name>): Promise<ResultOf<Name>>;
  /** From now on jobs are done on a thread, because requests are served beside them. */
  allowThread(): void;
  /** Ends the thread, now or at the end of the job that it has in hand. */
  close(): void;
}

const IDLE_MS = 60_000;
const SCRIPT = new URL('./disk-thread.js', import.meta.url);
/** A thread cannot run TypeScript, so tests of the sources do the work on their own thread. */
const CAN_START = import.meta.url.endsWith('.js');

export function createDisk({ fault, thread = 'now' }: DiskOptions = {}): Disk {
  const inTurn = createTurns();
  let link: DiskLink | undefined;
  let idle: NodeJS.Timeout | undefined;
  let isBusy = false;
  let isAllowed = thread === 'now';
  let closed = false;

  const end = (): void => {
    clearTimeout(idle);
    link?.end();
    link = undefined;
  };
  const onThread = async (name: JobName, request: unknown): Promise<unknown> => {
    clearTimeout(idle);
    link ??= startDiskThread(SCRIPT, fault);
    isBusy = true;
    try {
      return await link.ask({ name, request });
    } finally {
      isBusy = false;
      if (closed || link.isOver()) end();
      else idle = setTimeout(end, IDLE_MS).unref();
    }
  };

  return {
    run: <Name extends JobName>(name: Name, request: RequestOf<Name>) =>
      inTurn(async () => {
        if (CAN_START && isAllowed) return (await onThread(name, request)) as ResultOf<Name>;
        // Other work has its turn between two jobs, as it has while the other thread works.
        await setImmediate();
        return doJob(name, request, fault ?? noFaults) as ResultOf<Name>;
      }),
    allowThread() {
      isAllowed = true;
    },
    close() {
      closed = true;
      if (!isBusy) end();
    },
  };
}
