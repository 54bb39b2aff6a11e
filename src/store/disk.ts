import { setImmediate } from 'node:timers/promises';
import { createTurns } from '../turns.ts';
import { doJob, type JobName, type RequestOf, type ResultOf } from './disk-jobs.ts';
import { type DiskLink, startDiskThread } from './disk-link.ts';
import { type FaultPoint, noFaults } from './durable-file.ts';

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
