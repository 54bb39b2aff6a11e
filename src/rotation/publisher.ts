import { type PublishTarget, showPlace } from '../config/kinds.ts';
import { isoOrNull } from '../config/units.ts';
import type { Secret } from '../secret.ts';
import { publishToDotenv, publishToFile, tryTarget } from '../store/publish.ts';
import { createTurns, type Turns } from '../turns.ts';
import type { TargetView, WarningView } from './admin.ts';

interface PublisherOptions {
  readonly targets: readonly PublishTarget[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Every target of the client has this generation now, after one of them lacked it at first. */
  readonly onPublished: (client: string, number: number) => void;
  /** A try to write a target failed; `error` holds no key. */
  readonly onFailure: (target: PublishTarget, error: Error) => void;
  /** Told once of each thing that a disk does not do, and of each target that cannot be written. */
  readonly onNote: (message: string) => void;
}

export type Publisher = ReturnType<typeof createPublisher>;

/** Writes keys to their targets, and goes on trying where that fails. */
export function createPublisher(options: PublisherOptions) {
  const { targets, now, onPublished, onFailure } = options;
  const noteOnce = onceEach(options.onNote);
  const turns = createTurnsOfPaths();
  /** By client: what was published last, `late` where a target lacked it at first. */
  const newest = new Map<string, { readonly number: number; late: boolean }>();

  const all = targets.map((target) => {
    const inTurn = turns(target.path);
    const tell = ({ message }: Error): void => noteOnce(`${unwritable(target)}: ${message}`);
    const trials = createTrials(target, { now, inTurn }, tell);
    const tries = createPublishTarget(target, {
      ...{ now, inTurn },
      onWritten() {
        trials.written();
        tellIfLate(target.client);
      },
      onFailure: (error) => onFailure(target, error),
      onShortcoming: (shortcoming) => noteOnce(`a key is published, and ${shortcoming}`),
    });
    return { ...tries, trials };
  });
  const targetsOf = (client: string) => all.filter(({ target }) => target.client === client);
  const allHave = (client: string): boolean => targetsOf(client).every(({ hasKey }) => hasKey());
  const tellIfLate = (client: string): void => {
    const last = newest.get(client);
    if (last?.late === true && allHave(client)) onPublished(client, last.number);
  };

  return {
    /**
     * Tries each target of the client at once and resolves to whether all have the key. Those that
     * failed are tried again by `RETRY_WAITS`, until they have it or a newer one is published.
     * Never rejects.
     */
    async publish(client: string, number: number, key: Secret): Promise<boolean> {
      const mine = { number, late: false };
      newest.set(client, mine);
      await Promise.all(targetsOf(client).map((each) => each.publish(key)));
      // A newer generation was published meanwhile: whether targets have this one is moot.
      if (newest.get(client) !== mine) return false;
      mine.late = !allHave(client);
      return !mine.late;
    },
    /** In the order of the settings. Before a first `publish` they count as published. */
    targets: (client: string) => targetsOf(client).map(({ view }) => view()),
    /**
     * Sees whether each target could be written, and changes none; what cannot be is tried again
     * each minute. Never rejects.
     */
    tryAll: async () => void (await Promise.all(all.map(({ trials }) => trials.try()))),
    /**
     * The targets that could not be written when they were tried last. Nothing of one that lacks a
     * key: the status says more of it.
     */
    warnings: () =>
      all.flatMap(({ target, trials, hasKey }) =>
        hasKey() ? warningOf(target, trials.fault()) : [],
      ),
    /** The client's newest key was withdrawn: no target is tried again for it. */
    forget(client: string): void {
      newest.delete(client);
      for (const each of targetsOf(client)) each.forget();
    },
    /** Nothing is tried again. */
    close(): void {
      for (const { close, trials } of all) {
        close();
        trials.close();
      }
    },
  };
}

const unwritable = (target: PublishTarget): string =>
  `the next key of ${target.client} cannot be published to ${showPlace(target)}`;

function warningOf(target: PublishTarget, why: string | undefined): readonly WarningView[] {
  if (why === undefined) return [];
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

/** Milliseconds that one try may take: a disk that hangs must not hang a rotation. */
const LIMIT_MS = 5000;
/** Milliseconds before the second try, the third and so on; the last holds for all that follow. */
const RETRY_WAITS = [1000, 5000, 15_000, 60_000, 300_000];
/** A target that could not be written is looked at again after so many milliseconds. */
const TRY_AGAIN_MS = 60_000;

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
function createPublishTarget(
  target: PublishTarget,
  { now, inTurn, onWritten, onFailure, onShortcoming }: TargetOptions,
) {
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
    const wait = RETRY_WAITS[Math.min(mine.failures, RETRY_WAITS.length) - 1] ?? 0;
    retry.after(wait, () => void attempt(mine));
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

/** Looks whether a target could be written, before a key depends on it. */
function createTrials(
  target: PublishTarget,
  { now, inTurn }: Pick<TargetOptions, 'now' | 'inTurn'>,
  onUnwritable: (error: Error) => void,
) {
  const retry = createRetry(now);
  let fault: string | undefined;
  const attempt = async (): Promise<void> => {
    const failure = await failureWithin(
      inTurn(() => tryTarget(target)),
      () => NO_ANSWER,
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

const NO_ANSWER = `no answer from the disk within ${LIMIT_MS / 1000} s`;
const OTHERS_HANG = 'other writes are under way, and get no answer from their disks';

/** Why work failed, or that it took longer than `LIMIT_MS`; undefined: it succeeded in time. */
function failureWithin(work: Promise<void>, late: () => string): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(new Error(late())), LIMIT_MS).unref();
    const end = (failure?: Error): void => {
      clearTimeout(timer);
      resolve(failure);
    };
    work.then(() => end(), end);
  });
}
