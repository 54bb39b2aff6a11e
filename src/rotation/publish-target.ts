import { type PublishTarget, showPlace } from '../config/kinds.ts';
import { isoOrNull } from '../config/units.ts';
import type { Secret } from '../secret.ts';
import { publishToDotenv, publishToFile } from '../store/publish.ts';
import type { TargetView } from './admin.ts';

/** Does work when nobody else writes the same file, and resolves or rejects as the work does. */
export type InTurn = (work: () => Promise<void>) => Promise<void>;

/** Milliseconds that one try may take: a disk that hangs must not hang a rotation. */
const LIMIT_MS = 5000;
/** Milliseconds before the second try, the third and so on; the last holds for all that follow. */
const RETRY_WAITS = [1000, 5000, 15_000, 60_000, 300_000];
const waitAfter = (failures: number): number =>
  RETRY_WAITS[Math.min(failures, RETRY_WAITS.length) - 1] ?? 0;

interface TargetOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Calls `work` once nobody else writes the same file, and resolves or rejects as it does. */
  readonly inTurn: InTurn;
  /** The target has the newest key now. */
  readonly onWritten: () => void;
  readonly onFailure: (error: Error) => void;
  /** Told what the disk did not do; the key is written all the same. */
  readonly onShortcoming: (shortcoming: string) => void;
}

/** A key that the target lacks; the key is let go of once it is written. */
interface Job {
  readonly key: Secret;
  failures: number;
  /** Whether the turn to write it has come. */
  begun: boolean;
  /** The try that is under way, even after `LIMIT_MS`, when nobody waits for it any more. */
  writing: Promise<void> | undefined;
}

/**
 * One place that keys are written to. Writes of one file stand in a row, and each writes only what
 * is still the newest key when its turn comes: a try that hangs and ends late cannot bring an old
 * key back.
 */
export function createPublishTarget(target: PublishTarget, options: TargetOptions) {
  const { now, inTurn, onWritten, onFailure, onShortcoming } = options;
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
        mine.begun = true;
        if (job === mine) await writeTo(target, mine.key, onShortcoming);
      });
    } finally {
      mine.writing = undefined;
      mine.begun = false;
    }
    if (job !== mine) return;
    replaceJob(undefined);
    onWritten();
  };
  const attempt = async (mine: Job): Promise<void> => {
    // A write that hangs is waited for again: a second one behind it would change nothing.
    mine.writing ??= writeNewest(mine);
    const late = (): string => (mine.begun ? NO_ANSWER : OTHERS_HANG);
    const failure = await failureWithin(mine.writing, late);
    if (failure === undefined || job !== mine) return;
    error = failure;
    mine.failures += 1;
    retry.after(waitAfter(mine.failures), () => void attempt(mine));
    onFailure(failure);
  };

  return {
    target,
    /** Writes this key, and no key before it; resolves once the first try ends or hangs. */
    async publish(key: Secret): Promise<void> {
      const mine: Job = { key, failures: 0, begun: false, writing: undefined };
      replaceJob(mine);
      await attempt(mine);
    },
    /** Whether the target has the newest key. */
    hasKey: () => job === undefined,
    view: (): TargetView => ({
      target: showPlace(target),
      state: job === undefined ? 'published' : 'pending',
      error: error?.message ?? null,
      nextTryAt: isoOrNull(retry.at()),
    }),
    /** The key that the target lacks was withdrawn: the target counts as published. */
    forget: () => replaceJob(undefined),
    /** Nothing is tried again. */
    close: retry.close,
  };
}

/** The timer of the next try. */
export function createRetry(now: () => number) {
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
      const tryAgain = (): void => {
        next = undefined;
        again();
      };
      next = { at: now() + ms, timer: setTimeout(tryAgain, ms).unref() };
    },
    at: () => next?.at,
    close(): void {
      closed = true;
      clear();
    },
  };
}

/** Resolves when the key is on the disk; the error of a failure holds no key. */
const writeTo = (
  { kind, path, variable }: PublishTarget,
  key: Secret,
  onShortcoming: (shortcoming: string) => void,
): Promise<void> =>
  kind === 'file'
    ? publishToFile(path, key, onShortcoming)
    : publishToDotenv(path, variable, key, onShortcoming);

export const NO_ANSWER = `no answer from the disk within ${LIMIT_MS / 1000} s`;
const OTHERS_HANG = 'other writes are under way, and get no answer from their disks';

/** Why work failed, or that it took longer than `LIMIT_MS`; undefined: it succeeded in time. */
export function failureWithin(work: Promise<void>, late: () => string): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(new Error(late())), LIMIT_MS).unref();
    const end = (failure?: Error): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    work.then(() => end(), end);
  });
}
