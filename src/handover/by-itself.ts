import type { UpstreamState } from './state.ts';

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

export type Unasked = 'schedule' | 'config';

export interface Surroundings {
  readonly everyMs: number;
  readonly autoReload: boolean;
  readonly config: ConfigSeen | undefined;
  /** Of the configuration that the active slot holds. */
  readonly running: string | undefined;
  /** After a failure. */
  readonly notBefore: { readonly [by in Unasked]: number };
}

/** What begins without being asked for, now that nothing is under way. */
export function dueByItself(
  state: UpstreamState,
  { everyMs, autoReload, config, running, notBefore }: Surroundings,
  now: number,
): Unasked | undefined {
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
