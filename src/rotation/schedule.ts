import { activeOf, type Client, endOf, type Keyring } from '../keyring/keyring.ts';
import type { Keeper } from './keeper.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { UsageTracker } from './use.ts';

/** What scheduled rotations go by. */
export interface Schedule {
  /** Milliseconds between two rotations of a client; 0: there is no schedule. */
  readonly everyMs: number;
  /** Clients with a publish target of their own: of the others nobody would hear of a new key. */
  readonly clients: ReadonlySet<string>;
}

/**
 * When a client is rotated next, computed from what is stored, so that a restart neither skips nor
 * repeats a rotation; undefined: never. Milliseconds since the epoch.
 */
export function nextRotationAt(client: Client, schedule: Schedule): number | undefined {
  if (schedule.everyMs === 0 || !schedule.clients.has(client.name)) return undefined;
  const { disabled, removed, inFile, staged } = client;
  if (disabled || removed || inFile || staged !== undefined) return undefined;
  const active = activeOf(client);
  const at = active === undefined ? Infinity : active.createdAt + schedule.everyMs;
  // A client that expires before then is not given another key.
  return at < (client.expiresAt ?? Infinity) ? at : undefined;
}

/** The clients whose rotation is due. */
export const dueClients = (keyring: Keyring, schedule: Schedule, now: number): readonly string[] =>
  [...keyring.clients.values()]
    .filter((client) => (nextRotationAt(client, schedule) ?? Infinity) <= now)
    .map(({ name }) => name);

/**
 * The first instant at which a generation that retires is past its end, or a client of which that
 * is not stored yet; Infinity: none is.
 */
export function nextEnd(keyring: Keyring): number {
  let next = Infinity;
  for (const { generations, expiresAt = Infinity } of keyring.clients.values()) {
    if (expiresAt > keyring.sureAt) next = Math.min(next, expiresAt);
    for (const generation of generations) {
      next = Math.min(next, endOf(generation) ?? Infinity);
    }
  }
  return next;
}

interface KeyTimerOptions {
  readonly keeper: Keeper;
  readonly clock: SteadyClock;
  readonly schedule: Schedule;
  readonly usage: UsageTracker;
  /** Resolves to whether the usage was saved; never rejects. */
  readonly saveUsage: () => Promise<boolean>;
  /** Rotates a client because its time has come; never rejects. */
  readonly rotate: (client: string) => Promise<void>;
}

/** The longest wait: the wall clock may jump, and a machine that slept wakes late. */
const LOOK_EVERY_MS = 1000;
/** So many milliseconds of the record of who used which key a crash may lose. */
const SAVE_USAGE_MS = 30_000;
/** A scheduled rotation that failed is tried again after so many milliseconds. */
const TRY_AGAIN_MS = 60_000;

/** Retires keys at their ends, rotates by the schedule, and saves who used which key. */
export function createKeyTimer(options: KeyTimerOptions) {
  const { keeper, clock, schedule, usage } = options;
  /** By client: the instant before which no scheduled rotation is begun. */
  const notBefore = new Map<string, number>();
  let usageSavedAt = clock.sure();
  let isUsageOwed = false;
  let timer: NodeJS.Timeout | undefined;
  let working: Promise<void> = Promise.resolve();
  let closed = false;

  const saveUsage = async (): Promise<void> => {
    usageSavedAt = clock.sure();
    if (isUsageOwed || usage.changed()) isUsageOwed = !(await options.saveUsage());
  };
  const rotateDue = async (): Promise<void> => {
    // Where the clock is on trial, a rotation that is due by it waits for the end of the trial.
    const now = clock.sure();
    for (const client of dueClients(keeper.keyring(), schedule, now)) {
      if ((notBefore.get(client) ?? 0) > now) continue;
      notBefore.set(client, now + TRY_AGAIN_MS);
      const before = activeNumber(keeper, client);
      await options.rotate(client);
      if (activeNumber(keeper, client) !== before) notBefore.delete(client);
    }
  };
  const work = async (): Promise<void> => {
    clock.check();
    if (nextEnd(keeper.keyring()) <= clock.sure()) {
      const ended = await keeper.change([{ kind: 'pass' }], 'sidecar', 'later');
      // Of a client that expired nothing else tells a start with an older clock.
      if (ended.length === 0) await keeper.keepTime();
    }
    await rotateDue();
    if (clock.sure() - usageSavedAt >= SAVE_USAGE_MS) await saveUsage();
  };
  const plan = (): void => {
    if (closed) return;
    clearTimeout(timer);
    const wait = Math.min(LOOK_EVERY_MS, Math.max(1, nextEnd(keeper.keyring()) - clock.sure()));
    timer = setTimeout(wake, wait).unref();
  };
  const wake = (): void => {
    working = work().then(plan, plan);
  };
  // A change may have set an end that is nearer than the one that is waited for.
  keeper.subscribe(plan);
  plan();

  return {
    /** Nothing happens by itself any more; use that was not saved yet is saved. */
    async close(): Promise<void> {
      closed = true;
      clearTimeout(timer);
      await working;
      await saveUsage();
    },
  };
}

function activeNumber(keeper: Keeper, name: string): number | undefined {
  const client = keeper.keyring().clients.get(name);
  return client && activeOf(client)?.number;
}
