import { type PublishTarget, showPlace } from '../config/kinds.ts';
import { tryTarget } from '../store/publish.ts';
import type { WarningView } from './admin.ts';
import { createRetry, failureWithin, type InTurn, NO_ANSWER } from './publish-target.ts';

interface PublishTrialsOptions {
  readonly targets: readonly PublishTarget[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly turns: (path: string) => InTurn;
  /** Told of each target that cannot be written, each time it was tried. */
  readonly onNote: (message: string) => void;
}

/** A target that could not be written is looked at again after so many milliseconds. */
const TRY_AGAIN_MS = 60_000;

/** Looks whether targets could be written, before a key depends on it. */
export function createPublishTrials({ targets, now, turns, onNote }: PublishTrialsOptions) {
  const trials = new Map<PublishTarget, { fault: string; retry: ReturnType<typeof createRetry> }>(
    targets.map((target) => [target, { fault: '', retry: createRetry(now) }]),
  );
  const attempt = async (target: PublishTarget): Promise<void> => {
    const trial = trials.get(target);
    if (trial === undefined) return;
    const failure = await failureWithin(
      turns(target.path)(() => tryTarget(target)),
      () => NO_ANSWER,
    );
    trial.fault = failure?.message ?? '';
    if (failure === undefined) return;
    onNote(`${unwritable(target)}: ${trial.fault}`);
    trial.retry.after(TRY_AGAIN_MS, () => void attempt(target));
  };
  return {
    /**
     * Sees whether each target could be written, and changes none; what cannot be is tried again
     * each minute. Never rejects.
     */
    tryAll: async () => void (await Promise.all(targets.map(attempt))),
    /** A key was written: that says more than a trial. */
    written(target: PublishTarget): void {
      const trial = trials.get(target);
      if (trial === undefined) return;
      trial.fault = '';
      trial.retry.clear();
    },
    /** Of these targets, which could not be written when they were tried last. */
    warnings: (asked: readonly PublishTarget[]): WarningView[] =>
      asked.flatMap((target) => {
        const fault = trials.get(target)?.fault ?? '';
        return fault === '' ? [] : [warningOf(target, fault)];
      }),
    /** Nothing is tried again. */
    close(): void {
      for (const { retry } of trials.values()) retry.close();
    },
  };
}

const warningOf = (target: PublishTarget, fault: string): WarningView => ({
  code: 'publish_target_unwritable',
  message: `${unwritable(target)}: ${fault}`,
  hint: 'mend it before the next rotation: it is looked at each minute',
});

const unwritable = (target: PublishTarget): string =>
  `the next key of ${target.client} cannot be published to ${showPlace(target)}`;
