import type { ConfigSeen } from '../litellm/config.ts';
import type { SlotName } from '../litellm/slots.ts';
import { HandoverError } from './contracts.ts';
import type { EndedHandover, UpstreamState } from './state.ts';

type AutomaticCause = 'schedule' | 'config';

/** When the schedule rotates LiteLLM's key next, in milliseconds since the epoch. */
export function scheduledRotationAt(
  { active, keyMadeAt, verifiedAt }: UpstreamState,
  everyMs: number,
): number | undefined {
  const madeAt = keyMadeAt[active];
  // A LiteLLM that never came up has served no request: its key is as good as a new one.
  if (everyMs === 0 || madeAt === undefined || verifiedAt === undefined) return undefined;
  return madeAt + everyMs;
}

/** Whether what the setting names is another configuration than the one that LiteLLM runs with. */
export const isChanged = (config: ConfigSeen | undefined, running: string | undefined): boolean =>
  typeof config === 'string' && config !== running;

/** Whether LiteLLM was tried with what the setting names, and did not come up. */
export const isRefused = (
  { refusedConfig }: UpstreamState,
  config: ConfigSeen | undefined,
): boolean => typeof config === 'string' && config === refusedConfig;

export interface DueConditions extends Pick<AutomaticOptions, 'everyMs' | 'autoReload' | 'config'> {
  /** The digest of the configuration that the active slot holds. */
  readonly running: string | undefined;
  /** Until when each cause waits after a failure. */
  readonly notBefore: { readonly [by in AutomaticCause]: number };
}

/** What is due without anybody asking, now that no handover is under way; undefined: nothing. */
export function dueHandover(
  state: UpstreamState,
  { everyMs, autoReload, config, running, notBefore }: DueConditions,
  now: number,
  sure = now,
): AutomaticCause | undefined {
  if (state.handover !== undefined) return undefined;
  const isWanted = autoReload && isChanged(config, running) && !isRefused(state, config);
  if (isWanted && notBefore.config <= now) return 'config';
  const at = scheduledRotationAt(state, everyMs) ?? Infinity;
  // A clock that is set wrong at a start would make the next rotation late by as much.
  return at <= sure && notBefore.schedule <= now ? 'schedule' : undefined;
}

const FIRST_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 3_600_000;

/** Waits that grow from a minute to an hour while something fails. */
export function createBackoff() {
  let waitMs = FIRST_WAIT_MS;
  let at = 0;
  return {
    /** Until when to wait, in milliseconds since the epoch; 0: do not wait. */
    notBefore: () => at,
    waitsUntil: (now: number) => (at > now ? at : undefined),
    failed(now: number) {
      at = now + waitMs;
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    },
    succeeded() {
      at = 0;
      waitMs = FIRST_WAIT_MS;
    },
  };
}

export interface AutomaticOptions {
  /** 0: no schedule. */
  readonly everyMs: number;
  readonly autoReload: boolean;
  /** What SIDECAR_LITELLM_CONFIG names at the start; undefined: the setting is not set. */
  readonly config: ConfigSeen | undefined;
  /** @throws HandoverError where the key of the LiteLLM in this slot may not change */
  readonly mayRotate: (active: SlotName) => Promise<void>;
  readonly now: () => number;
  /** What has come for certain: by it the schedule is due. Left out: `now`. */
  readonly sure?: () => number;
  readonly onNotBegun: (by: AutomaticCause, error: HandoverError) => void;
}

type Ask = (kind: 'rotate' | 'reload', by: AutomaticCause) => Promise<unknown>;

/** Handovers that nobody asks for: the schedule and an edit of the configuration cause them. */
export function createAutomaticHandovers(options: AutomaticOptions) {
  const { everyMs, autoReload, mayRotate, now, sure = now, onNotBegun } = options;
  const backoff = { schedule: createBackoff(), config: createBackoff() };
  let notBegun: HandoverError | undefined;
  const edits = createConfigEdits(options.config);
  const due = (state: UpstreamState, running: string | undefined): AutomaticCause | undefined => {
    const [schedule, config] = [backoff.schedule.notBefore(), backoff.config.notBefore()];
    const conditions = { everyMs, autoReload, running, notBefore: { schedule, config } };
    return dueHandover(state, { ...conditions, config: edits.pending() }, now(), sure());
  };
  const rotationAt = (state: UpstreamState): number | undefined => {
    const at = scheduledRotationAt(state, everyMs);
    return at && Math.max(at, backoff.schedule.notBefore());
  };
  const configWaitsUntil = () => (autoReload ? backoff.config.waitsUntil(now()) : undefined);

  return {
    /**
     * Begins what is due. Where `ask` rejects with a HandoverError, tells of that and tries again
     * after a while.
     */
    async begin(state: UpstreamState, running: string | undefined, ask: Ask): Promise<void> {
      const by = due(state, running);
      if (by === undefined) return;
      if (by === 'config') edits.onBegin();
      try {
        if (by === 'schedule') await mayRotate(state.active);
        await ask(by === 'schedule' ? 'rotate' : 'reload', by);
        notBegun = undefined;
      } catch (error) {
        if (!(error instanceof HandoverError)) throw error;
        backoff[by].failed(now());
        notBegun = error;
        onNotBegun(by, error);
      }
    },
    /** A handover ended, whoever caused it. */
    onEnd({ by, end }: EndedHandover): void {
      if (by !== 'schedule' && by !== 'config') return;
      const isOver = by === 'config' ? edits.onEnd(end === 'done') : end === 'done';
      if (isOver) backoff[by].succeeded();
      else backoff[by].failed(now());
    },
    /** When something may be due next; Infinity: nothing becomes due by time alone. */
    nextAt(state: UpstreamState): number {
      return Math.min(rotationAt(state) ?? Infinity, configWaitsUntil() ?? Infinity);
    },
    /** The schedule's next rotation, after a failure later; undefined: there is none. */
    rotationAt,
    /** The latest edit, and until when it waits after a failure; undefined: it does not wait. */
    ...{ config: edits.latest, configWaitsUntil },
    onConfigChanged(seen: ConfigSeen): void {
      edits.onSeen(seen);
      // Another content deserves another try.
      backoff.config.succeeded();
    },
    /** Why the last automatic handover did not begin; undefined: it did. */
    notBegun: () => notBegun,
  };
}

/**
 * Whether an edit of the configuration was acted on. A reload copies the configuration as it is
 * when the copy is made, which may be a later edit than the one that was seen when it began.
 * What was seen then differs from what runs, and without this memory the reload would be done over
 * and over.
 */
function createConfigEdits(first: ConfigSeen | undefined) {
  let latest = first;
  let reload: 'none' | 'begun' | 'done' = 'none';
  return {
    latest: () => latest,
    /** The latest edit; undefined: a reload for it is done. */
    pending: () => (reload === 'done' ? undefined : latest),
    onBegin() {
      reload = 'begun';
    },
    /**
     * The reload ended. Returns whether an edit may be tried at once: it was taken, or it is a mend
     * that was saved while the broken configuration was tried.
     */
    onEnd(isDone: boolean): boolean {
      const isNew = reload === 'none';
      if (isDone && !isNew) reload = 'done';
      return isDone || isNew;
    },
    onSeen(next: ConfigSeen) {
      // The same configuration seen once more is no edit.
      if (next !== latest) reload = 'none';
      latest = next;
    },
  };
}
