import type { StoreError } from '../store/key-store.ts';
import { nextSteps } from './key-views.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { ClientView, StatusView, WarningView } from './views.ts';

export interface StatusSources {
  readonly version: string;
  readonly startedAt: number;
  readonly clock: SteadyClock;
  readonly storeError: () => StoreError | undefined;
  /** What the store found, and could not mend so far. */
  readonly storeWarnings: () => readonly string[];
  /** Milliseconds; 0: no schedule. */
  readonly rotateEveryMs: number;
  /** What else an operator should look at. */
  readonly warnings: () => readonly WarningView[];
}

/** One screen: what there is, what is wrong, and what to do next. */
export function statusOf(clients: readonly ClientView[], sources: StatusSources): StatusView {
  const { clock, rotateEveryMs } = sources;
  const failed = sources.storeError();
  return {
    now: new Date(clock.now()).toISOString(),
    version: sources.version,
    startedAt: new Date(sources.startedAt).toISOString(),
    clients,
    store: { up: failed === undefined, error: failed?.message ?? null },
    rotateEveryMs: rotateEveryMs === 0 ? null : rotateEveryMs,
    warnings: [
      ...storeDown(failed),
      ...sources.storeWarnings().map(storeWarning),
      ...clockWarnings(clock),
      ...sources.warnings(),
    ],
    next: nextSteps(clients),
  };
}

const storeWarning = (message: string): WarningView => ({
  code: 'store_warning',
  message,
  hint: 'sidecar audit verify',
});

function storeDown(failed: StoreError | undefined): readonly WarningView[] {
  if (failed === undefined) return [];
  return [{ code: 'store_down', message: failed.message, hint: failed.hint }];
}

function clockWarnings(clock: SteadyClock): readonly WarningView[] {
  const jump = clock.jump();
  return jump === undefined ? [] : [{ code: 'clock_jump', ...clockWords(jump.byMs) }];
}

const UNITS = [
  ['days', 86_400_000],
  ['hours', 3_600_000],
  ['minutes', 60_000],
] as const;

/** What is said of a wall clock that left the time, by so many milliseconds. */
export function clockWords(byMs: number): { readonly message: string; readonly hint: string } {
  const size = Math.abs(byMs);
  const [unit, length] = UNITS.find(([, each]) => size >= 2 * each) ?? ['seconds', 1000];
  const ahead = byMs > 0 ? 'ahead of' : 'behind';
  return {
    message: `the clock is ${Math.round(size / length)} ${unit} ${ahead} the time that has passed`,
    hint: 'no deadline moved: set the clock right, or restart the sidecar if it is right now',
  };
}
