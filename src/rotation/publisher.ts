import { type PublishTarget, showPlace } from '../config/kinds.ts';
import type { Secret } from '../secret.ts';
import { publishToDotenv, publishToFile, tryTarget } from '../store/publish.ts';
import { createTurns, type Turns } from '../turns.ts';
import type { TargetView, WarningView } from './admin.ts';

/** Writes a key to a target: on the disk when it resolves. The error of a failure holds no key. */
type WriteTarget = (
  target: PublishTarget,
  key: Secret,
  onShortcoming: (shortcoming: string) => void,
) => Promise<void>;

export interface PublisherOptions {
  readonly targets: readonly PublishTarget[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Every target of the client has this generation now, after one of them lacked it at first. */
  readonly onPublished: (client: string, number: number) => void;
  /** A try to write a target failed; `error` holds no key. */
  readonly onFailure: (target: PublishTarget, error: Error) => void;
  /** Told once of each thing that a disk does not do, and of each target that cannot be written. */
  readonly onNote: (message: string) => void;
  /** For tests: what writes instead of the disk. */
  readonly write?: WriteTarget;
  /** Milliseconds, instead of `RETRY_WAITS`. */
  readonly waits?: readonly number[];
  /** Milliseconds that one try may take, instead of `LIMIT_MS`. */
  readonly limitMs?: number;
}

/** Writes keys to their targets, and goes on trying where that fails. */
export interface Publisher {
  /**
   * Tries each target of the client at once and resolves to whether all have the key. Those that
   * failed are tried again by a table of waits, until they have it or a newer one is published.
   * Never rejects.
   */
  publish(client: string, number: number, key: Secret): Promise<boolean>;
  /** In the order of the settings. Before a first `publish` they count as published. */
  targets(client: string): readonly TargetView[];
  /**
   * Sees whether each target could be written, and changes none; what cannot be is tried again each
   * minute. Never rejects.
   */
  tryAll(): Promise<void>;
  /** The targets that could not be written when they were tried last. */
  warnings(): readonly WarningView[];
  /** The client's newest key was withdrawn: no target is tried again for it. */
  forget(client: string): void;
  /** Nothing is tried again. */
  close(): void;
}

/** Milliseconds that one try may take: a disk that hangs must not hang a rotation. */
const LIMIT_MS = 5000;

export function createPublisher(options: PublisherOptions): Publisher {
  const { onPublished, onFailure, onNote, limitMs = LIMIT_MS } = options;
  const write = options.write ?? writeToDisk;
  const turns = createTurnsOfPaths();
  /** By client: what was published last, `late` where a target lacked it at first. */
  const newest = new Map<string, { readonly number: number; late: boolean }>();
  const noteOnce = onceEach(onNote);

  const all = options.targets.map((target) =>
    createPublishTarget(target, {
      now: options.now,
      inTurn: turns(target.path),
      write: (key) =>
        write(target, key, (shortcoming) => noteOnce(`a key is published, and ${shortcoming}`)),
      onUnwritable: ({ message }) => noteOnce(`${unwritable(target)}: ${message}`),
      onWritten: () => tellIfLate(target.client),
      onFailure: (error) => onFailure(target, error),
      limitMs,
      ...(options.waits !== undefined && { waits: options.waits }),
    }),
  );
  const targetsOf = (client: string) => all.filter(({ target }) => target.client === client);
  const allHave = (client: string): boolean => targetsOf(client).every(({ hasKey }) => hasKey());
  const tellIfLate = (client: string): void => {
    const last = newest.get(client);
    if (last?.late !== true || !allHave(client)) return;
    onPublished(client, last.number);
  };

  return {
    async publish(client, number, key) {
      const mine = { number, late: false };
      newest.set(client, mine);
      await Promise.all(targetsOf(client).map((each) => each.publish(key)));
      // A newer generation was published meanwhile: whether targets have this one is moot.
      if (newest.get(client) !== mine) return false;
      mine.late = !allHave(client);
      return !mine.late;
    },
    targets: (client) => targetsOf(client).map(({ view }) => view()),
    tryAll: async () => void (await Promise.all(all.map(({ trials }) => trials.try()))),
    warnings: () => all.flatMap(warningOf),
    forget(client) {
      newest.delete(client);
      for (const each of targetsOf(client)) each.forget();
    },
    close() {
      for (const each of all) each.close();
    },
  };
}

const writeToDisk: WriteTarget = ({ kind, path, variable }, key, onShortcoming) =>
  kind === 'file'
    ? publishToFile(path, key, onShortcoming)
    : publishToDotenv(path, variable, key, onShortcoming);

const unwritable = (target: PublishTarget): string =>
  `the next key of ${target.client} cannot be published to ${showPlace(target)}`;

/** Nothing of a target that lacks a key: the status says more of it. */
function warningOf({ target, trials, hasKey }: TargetTries): readonly WarningView[] {
  const why = trials.fault();
  if (why === undefined || !hasKey()) return [];
  const code = 'publish_target_unwritable';
  const hint = 'mend it before the next rotation: it is looked at each minute';
  return [{ code, message: `${unwritable(target)}: ${why}`, hint }];
}

/** Hands each message on once. */
function onceEach(tell: (message: string) => void): (message: string) => void {
  const told = new Set<string>();
  return (message) => {
    if (!told.has(message)) tell(message);
    told.add(message);
  };
}

/**
 * So many files are written at a time. A write that hangs keeps one of the four threads on which
 * Node waits for disks and names (UV_THREADPOOL_SIZE): two are left, whatever targets do.
 */
const MOST_WRITES = 2;

type InTurn = (work: () => Promise<void>) => Promise<void>;

/** Writes to one path happen in the order in which they were asked for. */
function createTurnsOfPaths(): (path: string) => InTurn {
  const byPath = new Map<string, Turns>();
  const waiting: (() => void)[] = [];
  let free = MOST_WRITES;
  const whenFree: InTurn = async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
  return (path) => {
    const inTurn = byPath.get(path) ?? createTurns();
    byPath.set(path, inTurn);
    return (work) => inTurn(() => whenFree(work));
  };
}

/** Milliseconds before the second try, the third and so on; the last holds for all that follow. */
export const RETRY_WAITS = [1000, 5000, 15_000, 60_000, 300_000] as const;

/** How long to wait after so many tries that failed, at least one; milliseconds. */
export const waitAfter = (failures: number, waits: readonly number[] = RETRY_WAITS): number =>
  waits[Math.min(failures, waits.length) - 1] ?? 0;

interface TargetOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Calls `work` once nobody else writes the same file, and resolves or rejects as it does. */
  readonly inTurn: InTurn;
  readonly write: (key: Secret) => Promise<void>;
  /** The target has the newest key now. */
  readonly onWritten: () => void;
  readonly onFailure: (error: Error) => void;
  /** A trial failed. */
  readonly onUnwritable: (error: Error) => void;
  /** Milliseconds. */
  readonly waits?: readonly number[];
  /** How long one try may take, in milliseconds. */
  readonly limitMs: number;
}

/** One place that keys are written to. */
interface TargetTries {
  readonly target: PublishTarget;
  /** Writes this key, and no key before it; resolves once the first try ends or hangs. */
  publish(key: Secret): Promise<void>;
  readonly trials: ReturnType<typeof createTrials>;
  /** Whether the target has the newest key. */
  hasKey(): boolean;
  view(): TargetView;
  /** The key that the target lacks was withdrawn: the target counts as published. */
  forget(): void;
  /** Nothing is tried again. */
  close(): void;
}

/** A key that the target lacks; the key is let go of once it is written. */
interface Job {
  readonly key: Secret;
  failures: number;
  /** Whether the turn to write it has come. */
  begun: boolean;
  /** The try that is under way, even after `limitMs`, when nobody waits for it any more. */
  writing: Promise<void> | undefined;
}

/**
 * Writes of one file stand in a row, and each writes only what is still the newest key when its
 * turn comes: a try that hangs and ends late cannot bring an old key back.
 */
function createPublishTarget(target: PublishTarget, options: TargetOptions): TargetTries {
  const { now, inTurn, write, onWritten, onFailure, limitMs, waits = RETRY_WAITS } = options;
  let job: Job | undefined;
  let error: Error | undefined;
  const retry = createRetry(now);
  const trials = createTrials(target, options);

  const replaceJob = (next: Job | undefined): void => {
    retry.clear();
    job = next;
    error = undefined;
  };
  const writeNewest = async (mine: Job): Promise<void> => {
    try {
      await inTurn(async () => {
        mine.begun = true;
        if (job === mine) await write(mine.key);
      });
    } finally {
      Object.assign(mine, { writing: undefined, begun: false });
    }
    if (job !== mine) return;
    replaceJob(undefined);
    trials.written();
    onWritten();
  };
  const attempt = async (mine: Job): Promise<void> => {
    // A write that hangs is waited for again: a second one behind it would change nothing.
    mine.writing ??= writeNewest(mine);
    const late = (): string => (mine.begun ? noAnswer(limitMs) : OTHERS_HANG);
    const failure = await failureWithin(limitMs, mine.writing, late);
    if (failure === undefined || job !== mine) return;
    mine.failures += 1;
    error = failure;
    retry.after(waitAfter(mine.failures, waits), () => void attempt(mine));
    onFailure(failure);
  };

  return {
    target,
    async publish(key) {
      const mine: Job = { key, failures: 0, begun: false, writing: undefined };
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
    trials,
    close() {
      retry.close();
      trials.close();
    },
  };
}

const noAnswer = (limitMs: number): string => `no answer from the disk within ${limitMs / 1000} s`;
const OTHERS_HANG = 'other writes are under way, and get no answer from their disks';

/** A target that could not be written is looked at again after so many milliseconds. */
const TRY_AGAIN_MS = 60_000;

/** Looks whether a target could be written, before a key depends on it. */
function createTrials(target: PublishTarget, options: TargetOptions) {
  const { inTurn, limitMs, onUnwritable } = options;
  const retry = createRetry(options.now);
  let fault: string | undefined;
  const attempt = async (): Promise<void> => {
    const failure = await failureWithin(
      limitMs,
      inTurn(() => tryTarget(target)),
      () => noAnswer(limitMs),
    );
    fault = failure?.message;
    if (failure === undefined) return;
    onUnwritable(failure);
    retry.after(TRY_AGAIN_MS, () => void attempt());
  };
  return {
    /** Sees whether a key could be written; never rejects. */
    try: attempt,
    /** Why the last trial failed; undefined: it did not, or a key was written since. */
    fault: () => fault,
    /** A key was written: that says more than a trial. */
    written(): void {
      fault = undefined;
      retry.clear();
    },
    close: retry.close,
  };
}

/** The timer of the next try. */
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

/** Why some work failed, or that it took too long; undefined: it succeeded in time. */
function failureWithin(
  ms: number,
  work: Promise<void>,
  whyLate: () => string,
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(new Error(whyLate())), ms).unref();
    const end = (failure?: Error): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    work.then(() => end(), end);
  });
}
