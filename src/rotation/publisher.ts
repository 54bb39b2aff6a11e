import type { PublishTarget } from '../config/kinds.ts';
import type { Secret } from '../secret.ts';
import { createTurns, type Turns } from '../turns.ts';
import { createPublishTarget, type InTurn } from './publish-target.ts';
import { createPublishTrials } from './publish-trials.ts';

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
  const trials = createPublishTrials({ targets, now, turns, onNote: noteOnce });
  /** By client: what was published last, `late` where a target lacked it at first. */
  const newest = new Map<string, { readonly number: number; late: boolean }>();

  const all = targets.map((target) =>
    createPublishTarget(target, {
      now,
      inTurn: turns(target.path),
      onWritten() {
        trials.written(target);
        tellIfLate(target.client);
      },
      onFailure: (error) => onFailure(target, error),
      onShortcoming: (shortcoming) => noteOnce(`a key is published, and ${shortcoming}`),
    }),
  );
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
    tryAll: trials.tryAll,
    /** Nothing of a target that lacks a key: the status says more of it. */
    warnings: () =>
      trials.warnings(all.filter(({ hasKey }) => hasKey()).map(({ target }) => target)),
    /** The client's newest key was withdrawn: no target is tried again for it. */
    forget(client: string): void {
      newest.delete(client);
      for (const each of targetsOf(client)) each.forget();
    },
    /** Nothing is tried again. */
    close(): void {
      for (const each of all) each.close();
      trials.close();
    },
  };
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
