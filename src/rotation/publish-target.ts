import { type PublishTarget, showPlace } from '../config/kinds.ts';
import type { Secret } from '../secret.ts';
import { RETRY_WAITS, waitAfter } from './retry-table.ts';
import type { TargetView } from './views.ts';

export interface TargetOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Calls `work` once nobody else writes the same file, and resolves or rejects as it does. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  readonly write: (key: Secret) => Promise<void>;
  /** It has the newest key now. */
  readonly onWritten: () => void;
  readonly onFailure: (error: Error) => void;
  /** Milliseconds. */
  readonly waits?: readonly number[];
  /** How long one try may take, in milliseconds. */
  readonly limitMs: number;
}

/** One place that keys are written to. */
export interface TargetTries {
  readonly target: PublishTarget;
  /** From now on it lacks this key. Resolves when the first try is over, or taking too long. */
  publish(key: Secret): Promise<void>;
  /** Whether it lacks nothing. */
  hasKey(): boolean;
  view(): TargetView;
  /** It lacks nothing any more, whatever it holds. */
  forget(): void;
  /** Nothing is tried again. */
  close(): void;
}

/** A key that the target lacks; it is let go of once it is there. */
interface Job {
  readonly key: Secret;
  failures: number;
  /** The try that is under way, be it that nobody waits for it any more. */
  writing: Promise<void> | undefined;
}

/**
 * Writes of one file stand in a row, and each writes only what is still the newest key when its
 * turn comes: a try that hangs and ends late cannot bring an old key back.
 */
export function createPublishTarget(target: PublishTarget, options: TargetOptions): TargetTries {
  const { now, inTurn, write, onWritten, onFailure, limitMs, waits = RETRY_WAITS } = options;
  let job: Job | undefined;
  let error: Error | undefined;
  const retry = createRetry(now);

  const replaceJob = (next: Job | undefined): void => {
    retry.clear();
    job = next;
    error = undefined;
  };
  const writeNewest = async (mine: Job): Promise<void> => {
    try {
      await inTurn(async () => {
        if (job === mine) await write(mine.key);
      });
    } finally {
      mine.writing = undefined;
    }
    if (job !== mine) return;
    replaceJob(undefined);
    onWritten();
  };
  const attempt = async (mine: Job): Promise<void> => {
    // One that hangs is waited for again: a second one behind it would change nothing.
    mine.writing ??= writeNewest(mine);
    const failure = await failureWithin(limitMs, mine.writing);
    if (failure === undefined || job !== mine) return;
    mine.failures += 1;
    error = failure;
    retry.after(waitAfter(mine.failures, waits), () => void attempt(mine));
    onFailure(failure);
  };

  return {
    target,
    async publish(key) {
      const mine: Job = { key, failures: 0, writing: undefined };
      replaceJob(mine);
      await attempt(mine);
    },
    hasKey: () => job === undefined,
    view: () => ({
      target: showPlace(target),
      state: job === undefined ? 'published' : 'pending',
      error: error?.message ?? null,
      nextTryAt: retry.at(),
    }),
    forget: () => replaceJob(undefined),
    close: retry.close,
  };
}

/** One timer for the next try. */
function createRetry(now: () => number) {
  let next: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined;
  let closed = false;
  const clear = (): void => {
    clearTimeout(next?.timer);
    next = undefined;
  };
  return {
    clear,
    after(ms: number, again: () => void): void {
      clear();
      if (closed) return;
      const timer = setTimeout(() => {
        next = undefined;
        again();
      }, ms).unref();
      next = { at: now() + ms, timer };
    },
    /** In ISO 8601; null: nothing is tried again. */
    at: () => (next === undefined ? null : new Date(next.at).toISOString()),
    close(): void {
      closed = true;
      clear();
    },
  };
}

/** Why some work failed, or that it took too long; undefined: it is done. */
function failureWithin(ms: number, work: Promise<void>): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve(new Error(`no answer from the disk within ${ms / 1000} s`));
    }, ms).unref();
    const end = (failure?: Error): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    work.then(() => end(), end);
  });
}
