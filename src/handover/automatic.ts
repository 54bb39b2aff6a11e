import { isDeepStrictEqual } from 'node:util';
import { HandoverError } from './contracts.ts';
import type { EndedHandover, UpstreamState } from './state.ts';

/** What SIDECAR_LITELLM_CONFIG shows at present. */
export type ConfigSeen = { readonly digest: string } | { readonly error: string };

/** Milliseconds since the epoch at which LiteLLM's key is rotated next; undefined: never. */
export function nextRotationAt(
  { active, keyMadeAt, verifiedAt }: UpstreamState,
  everyMs: number,
): number | undefined {
  const madeAt = keyMadeAt[active];
  // One that never came up has no streams to keep, and no key that is worth a new one.
  if (everyMs === 0 || madeAt === undefined || verifiedAt === undefined) return undefined;
  return madeAt + everyMs;
}

/** Whether what stands there is another configuration than the one that runs. */
export const isChanged = (config: ConfigSeen | undefined, running: string | undefined): boolean =>
  config !== undefined && 'digest' in config && config.digest !== running;

/** Whether what stands there was tried, and did not come up. */
export const isRefused = (
  { refusedConfig }: UpstreamState,
  config: ConfigSeen | undefined,
): boolean => config !== undefined && 'digest' in config && config.digest === refusedConfig;

export type AutomaticCause = 'schedule' | 'config';

export interface Surroundings {
  readonly everyMs: number;
  readonly autoReload: boolean;
  readonly config: ConfigSeen | undefined;
  /** Of the configuration that the active slot holds. */
  readonly running: string | undefined;
  /** After a failure. */
  readonly notBefore: { readonly [by in AutomaticCause]: number };
}

/** What begins without being asked for, now that nothing is under way. */
export function dueByItself(
  state: UpstreamState,
  { everyMs, autoReload, config, running, notBefore }: Surroundings,
  now: number,
): AutomaticCause | undefined {
  if (state.handover !== undefined) return undefined;
  const isWanted = autoReload && isChanged(config, running) && !isRefused(state, config);
  if (isWanted && notBefore.config <= now) return 'config';
  const at = nextRotationAt(state, everyMs) ?? Infinity;
  return Math.max(at, notBefore.schedule) <= now ? 'schedule' : undefined;
}

/** Waits that grow from a minute to an hour while something fails. */
export interface Backoff {
  /** Milliseconds since the epoch; 0: at once. */
  notBefore(): number;
  failed(now: number): void;
  succeeded(): void;
}

const FIRST_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 3_600_000;

export function createBackoff(): Backoff {
  let waitMs = FIRST_WAIT_MS;
  let at = 0;
  return {
    notBefore: () => at,
    failed(now) {
      at = now + waitMs;
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    },
    succeeded() {
      at = 0;
      waitMs = FIRST_WAIT_MS;
    },
  };
}

export interface UnaskedOptions {
  /** 0: no schedule. */
  readonly everyMs: number;
  readonly autoReload: boolean;
  /** What SIDECAR_LITELLM_CONFIG shows at the start; undefined: it is not set. */
  readonly config: ConfigSeen | undefined;
  /** Whether LiteLLM's key may be changed. @throws HandoverError where it may not */
  readonly mayRotate: () => Promise<void>;
  readonly now: () => number;
  readonly onNotBegun: (by: AutomaticCause, error: HandoverError) => void;
}

/** The handovers that nobody asks for: by the schedule, and by an edit of the configuration. */
export interface Unasked {
  /** Begins what is due. Never rejects with a HandoverError: that is told, and tried again. */
  begin(
    state: UpstreamState,
    running: string | undefined,
    ask: (kind: 'rotate' | 'reload', by: AutomaticCause) => Promise<unknown>,
  ): Promise<void>;
  /** One that it began ended. */
  onEnd(ended: EndedHandover): void;
  /** When there may be something to begin; Infinity: not by time alone. */
  nextAt(state: UpstreamState): number;
  /** The schedule's next rotation; undefined: there is no schedule. */
  nextRotationAt(state: UpstreamState): number | undefined;
  config(): ConfigSeen | undefined;
  onConfigChanged(seen: ConfigSeen): void;
  /** Why the last one did not begin; undefined: it did. */
  notBegun(): HandoverError | undefined;
}

export function createUnasked(options: UnaskedOptions): Unasked {
  const { everyMs, autoReload, mayRotate, now, onNotBegun } = options;
  const backoff = { schedule: createBackoff(), config: createBackoff() };
  const notBefore = () => ({
    schedule: backoff.schedule.notBefore(),
    config: backoff.config.notBefore(),
  });
  const edits = createEdits(options.config);
  let notBegun: HandoverError | undefined;
  const rotationAt = (state: UpstreamState): number | undefined => {
    const at = nextRotationAt(state, everyMs);
    return at && Math.max(at, backoff.schedule.notBefore());
  };

  return {
    async begin(state, running, ask) {
      const due = dueByItself(
        state,
        { everyMs, autoReload, running, notBefore: notBefore(), config: edits.open() },
        now(),
      );
      if (due === undefined) return;
      if (due === 'config') edits.onBegin();
      try {
        if (due === 'schedule') await mayRotate();
        await ask(due === 'schedule' ? 'rotate' : 'reload', due);
        notBegun = undefined;
      } catch (error) {
        if (!(error instanceof HandoverError)) throw error;
        backoff[due].failed(now());
        notBegun = error;
        onNotBegun(due, error);
      }
    },
    onEnd({ by, end }) {
      if (by !== 'schedule' && by !== 'config') return;
      if (by === 'config' && end === 'done') edits.onDone();
      if (end === 'done') backoff[by].succeeded();
      else backoff[by].failed(now());
    },
    nextAt(state) {
      const { config: configAt } = notBefore();
      const isConfigLater = autoReload && configAt > now();
      return Math.min(rotationAt(state) ?? Infinity, isConfigLater ? configAt : Infinity);
    },
    nextRotationAt: rotationAt,
    config: edits.seen,
    onConfigChanged(seen) {
      edits.onSeen(seen);
      // Another content deserves another try.
      backoff.config.succeeded();
    },
    notBegun: () => notBegun,
  };
}

/**
 * The configuration as it was seen last. What a reload placed may be an edit later than what was
 * seen when it began: then it differs from that, and is not done over for that.
 */
function createEdits(first: ConfigSeen | undefined) {
  let seen = first;
  let begunFor: ConfigSeen | undefined;
  let doneFor: ConfigSeen | undefined;
  return {
    seen: () => seen,
    /** Undefined: it was acted on. */
    open: () => (seen === doneFor ? undefined : seen),
    onBegin() {
      begunFor = seen;
    },
    onDone() {
      doneFor = begunFor;
    },
    onSeen(next: ConfigSeen) {
      // The same once more is no edit.
      if (!isDeepStrictEqual(next, seen)) seen = next;
    },
  };
}
