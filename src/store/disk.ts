import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createTurns } from '../turns.ts';
import {
  doJob,
  errorOf,
  type Failure,
  failureOf,
  type JobName,
  type RequestOf,
  type ResultOf,
} from './disk-jobs.ts';
import { type FaultPoint, noFaults } from './durable-file.ts';

/** What a thread is started with. */
export interface ThreadData {
  /** Where it waits at a fault point; undefined: there are none. */
  readonly gate: SharedArrayBuffer | undefined;
}
export interface Question {
  readonly name: JobName;
  readonly request: unknown;
}
export type Answer =
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'fault'; readonly name: string };
/** What became of a fault point; undefined: nothing, go on. */
export interface Verdict {
  readonly failure: Failure | undefined;
}

/** One thread that works on the disk; asked one question at a time. */
export interface DiskLink {
  /** Rejects where the job fails, or the thread ends. */
  ask(question: Question): Promise<unknown>;
  /** It ended by itself, or could not begin: another one is needed. */
  isOver(): boolean;
  /** Whatever it does; a system call that hangs is not waited for. */
  end(): void;
}

/**
 * Starts a thread. It ends with the process, and keeps it alive only while it has work.
 *
 * @param script the program of the thread
 */
export function startDiskThread(script: URL, fault: FaultPoint | undefined): DiskLink {
  const gate = fault && new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const worker = new Worker(script, {
    name: 'disk',
    // Neither the settings nor the secrets of the environment are its business.
    env: {},
    execArgv: [],
    workerData: { gate } satisfies ThreadData,
  });
  worker.unref();
  let waiting: { resolve(result: unknown): void; reject(error: Error): void } | undefined;
  let ended: Error | undefined;
  const settle = (): typeof waiting => {
    const asked = waiting;
    waiting = undefined;
    worker.unref();
    return asked;
  };
  const onEnd = (error: Error): void => {
    ended ??= error;
    settle()?.reject(ended);
  };
  worker.on('message', (answer: Answer) => {
    if (answer.kind === 'done') settle()?.resolve(answer.result);
    else if (answer.kind === 'failed') settle()?.reject(errorOf(answer.failure));
    else {
      worker.postMessage(passFault(fault, answer.name));
      if (gate !== undefined) open(gate);
    }
  });
  worker.on('error', onEnd);
  worker.on('exit', () => onEnd(new Error('the thread that writes has ended')));

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

function passFault(fault: FaultPoint | undefined, name: string): Verdict {
  try {
    fault?.(name);
    return { failure: undefined };
  } catch (error) {
    return { failure: failureOf(error) };
  }
}

function open(gate: SharedArrayBuffer): void {
  const flag = new Int32Array(gate);
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

export interface DiskOptions {
  readonly fault?: FaultPoint;
  /** Asked before each job: where nobody is served yet it is done here, and no thread starts. */
  readonly isServing?: () => boolean;
}

/**
 * Work that waits for a disk, one piece after the other. A durable write is two dozen system calls:
 * each of them as an asynchronous one costs the thread that serves ten times as much as the whole
 * of it on a thread of its own does. That thread starts with the first job, and ends when there was
 * none for a minute: it holds 10 MB.
 */
export interface Disk {
  /** Rejects with what the job throws; where its thread ends, it may be done or not. */
  run<Name extends JobName>(name: Name, request: RequestOf<Name>): Promise<ResultOf<Name>>;
  /** From now on no thread is kept longer than its work takes. */
  close(): void;
}

const IDLE_MS = 60_000;
const SCRIPT = new URL('./disk-thread.js', import.meta.url);
/** Of TypeScript sources a thread knows nothing: tests of those do the work here. */
const CAN_START = import.meta.url.endsWith('.js');

export function createDisk({ fault, isServing = () => true }: DiskOptions = {}): Disk {
  const inTurn = createTurns();
  let link: DiskLink | undefined;
  let idle: NodeJS.Timeout | undefined;
  let isBusy = false;
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
        const here = !CAN_START || (link === undefined && !isServing());
        if (!here) return (await onThread(name, request)) as ResultOf<Name>;
        // Others have their turn between two jobs, as they have while a thread works.
        await setImmediate();
        return doJob(name, request, fault ?? noFaults) as ResultOf<Name>;
      }),
    close() {
      closed = true;
      if (!isBusy) end();
    },
  };
}
