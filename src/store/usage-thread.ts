import { Worker } from 'node:worker_threads';
import { type UsageDatabase, UsageStoreError, type UsageStoreFault } from './usage-database.ts';

type UsageVerb = Exclude<keyof UsageDatabase, 'close'>;

/** What the thread is asked. It comes as JSON: that costs a third of what a copied object does. */
export interface UsageQuestion {
  readonly number: number;
  readonly verb: UsageVerb;
  readonly args: readonly unknown[];
}

export interface UsageReply {
  readonly number: number;
  readonly result?: unknown;
  readonly fault?: { readonly fault: UsageStoreFault; readonly message: string };
  /** Where a damaged file was moved to. */
  readonly moved: string | undefined;
}

/** Asks the usage database in its thread; rejects with `UsageStoreError`. */
export type AskUsage = <V extends UsageVerb>(
  verb: V,
  ...args: Parameters<UsageDatabase[V]>
) => Promise<ReturnType<UsageDatabase[V]>>;

interface UsageThreadOptions {
  /** The built `usage-worker.ts`. */
  readonly program: URL;
  /** Of `usage.db`. */
  readonly path: string;
  /** Told where a damaged file was moved to; a new one was begun. */
  readonly onMoved: (where: string) => void;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: UsageStoreError) => void;
  readonly timer: NodeJS.Timeout;
}

/** More than any report needs. Beyond it the thread ends, and not the process. */
const MEMORY = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 128 } as const;

/** Longer than a lock is waited for: a disk that hangs must not hold up a drain for ever. */
const ANSWER_WITHIN_MS = 15_000;

/**
 * The thread that writes `usage.db`. It begins with the first question and not before: library and
 * thread take 18 MB, and once 5 ms of the serving thread's time. One that died begins anew with the
 * next question; whether it had carried out the last one, nobody knows then.
 */
export function createUsageThread({ program, path, onMoved }: UsageThreadOptions) {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let last = 0;

  const settle = (number: number): Waiting | undefined => {
    const asked = waiting.get(number);
    clearTimeout(asked?.timer);
    waiting.delete(number);
    // A thread that has nothing to do keeps no process alive.
    if (waiting.size === 0) worker?.unref();
    return asked;
  };
  const fail = (numbers: Iterable<number>, message: string): void => {
    for (const number of [...numbers])
      settle(number)?.reject(new UsageStoreError('failed', message));
  };
  const start = (): Worker => {
    const begun = new Worker(program, { workerData: path, resourceLimits: MEMORY });
    const onEnd = (why: string) => (): void => {
      if (worker !== begun) return;
      worker = undefined;
      fail(waiting.keys(), why);
    };
    begun.on('message', ({ number, result, fault, moved }: UsageReply) => {
      if (moved !== undefined) onMoved(moved);
      const asked = settle(number);
      if (fault === undefined) asked?.resolve(result);
      else asked?.reject(new UsageStoreError(fault.fault, fault.message));
    });
    begun.on('error', ({ message }) => onEnd(`the thread of ${path} failed: ${message}`)());
    begun.on('exit', onEnd(`the thread of ${path} ended`));
    return begun;
  };
  const ask = (verb: UsageVerb, ...args: readonly unknown[]): Promise<unknown> => {
    worker ??= start();
    last += 1;
    const number = last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => fail([number], `${path} is not answered for`),
        ANSWER_WITHIN_MS,
      );
      waiting.set(number, { resolve, reject, timer });
      worker?.ref();
      worker?.postMessage(JSON.stringify({ number, verb, args } satisfies UsageQuestion));
    });
  };
  return {
    ask: ask as AskUsage,
    /** Ends the thread; what it had begun is rolled back, and who waits is told. */
    close(): void {
      const ending = worker;
      worker = undefined;
      fail(waiting.keys(), 'the sidecar ends');
      void ending?.terminate();
    },
  };
}
