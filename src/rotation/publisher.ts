import type { PublishTarget } from '../config/kinds.ts';
import type { Secret } from '../secret.ts';
import { createDisk, type Disk } from '../store/disk.ts';
import type { FaultPoint } from '../store/durable-file.ts';
import { publishToDotenv, publishToFile } from '../store/publish.ts';
import { createTurns, type Turns } from '../turns.ts';
import { createPublishTarget } from './publish-target.ts';
import type { TargetView } from './views.ts';

/** Writes a key to a target: on the disk when it resolves; what it rejects with holds no key. */
export type WriteTarget = (target: PublishTarget, key: Secret) => Promise<void>;

export interface PublisherOptions {
  readonly targets: readonly PublishTarget[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Every target of the client has this generation now, where it had not at first. */
  readonly onPublished: (client: string, number: number) => void;
  /** A try failed; `error` holds no key. */
  readonly onFailure: (target: PublishTarget, error: Error) => void;
  readonly fault?: FaultPoint;
  /** Instead of the files. */
  readonly write?: WriteTarget;
  /** Instead of `RETRY_WAITS`; milliseconds. */
  readonly waits?: readonly number[];
  /** How long one try may take, in milliseconds: a disk that hangs must not hang a rotation. */
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
  /** The client's newest key was withdrawn: it is not tried again. */
  forget(client: string): void;
  /** Nothing is tried again. */
  close(): void;
}

const LIMIT_MS = 5000;

export function createPublisher(options: PublisherOptions): Publisher {
  const { onPublished, onFailure, limitMs = LIMIT_MS } = options;
  const places = createPlaces(options.targets, options.fault);
  const write = options.write ?? writerTo(places);
  /** Of each client what was published last; `late` where a target lacked it at first. */
  const newest = new Map<string, { readonly number: number; late: boolean }>();

  const all = options.targets.map((target) =>
    createPublishTarget(target, {
      now: options.now,
      inTurn: places.of(target).inTurn,
      write: (key) => write(target, key),
      onWritten: () => tellIfLate(target.client),
      onFailure: (error) => onFailure(target, error),
      limitMs,
      ...(options.waits !== undefined && { waits: options.waits }),
    }),
  );
  const of = (client: string) => all.filter(({ target }) => target.client === client);
  const allHave = (client: string): boolean => of(client).every(({ hasKey }) => hasKey());
  const tellIfLate = (client: string): void => {
    const last = newest.get(client);
    if (last?.late !== true || !allHave(client)) return;
    onPublished(client, last.number);
  };

  return {
    async publish(client, number, key) {
      const mine = { number, late: false };
      newest.set(client, mine);
      await Promise.all(of(client).map((each) => each.publish(key)));
      // All may have a newer one by now, and this one is nobody's any more.
      if (newest.get(client) !== mine) return false;
      mine.late = !allHave(client);
      return !mine.late;
    },
    targets: (client) => of(client).map(({ view }) => view()),
    forget(client) {
      newest.delete(client);
      for (const each of of(client)) each.forget();
    },
    close() {
      for (const each of all) each.close();
      places.close();
    },
  };
}

interface Place {
  /** Work on one path is done in the order in which it came, */
  readonly inTurn: Turns;
  /** and where its disk hangs nobody else's waits with it. */
  readonly disk: Disk;
}

function createPlaces(targets: readonly PublishTarget[], fault: FaultPoint | undefined) {
  const byPath = new Map<string, Place>();
  for (const { path } of targets) {
    const disk = createDisk({ ...(fault !== undefined && { fault }) });
    byPath.set(path, byPath.get(path) ?? { inTurn: createTurns(), disk });
  }
  return {
    of: ({ path }: PublishTarget): Place => byPath.get(path) as Place,
    close(): void {
      for (const { disk } of byPath.values()) disk.close();
    },
  };
}

const writerTo =
  (places: ReturnType<typeof createPlaces>): WriteTarget =>
  (target, key) => {
    const { kind, path, variable } = target;
    const { disk } = places.of(target);
    return kind === 'file'
      ? publishToFile(path, key, disk)
      : publishToDotenv(path, variable, key, disk);
  };
