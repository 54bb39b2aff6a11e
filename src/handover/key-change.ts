import { basename, dirname } from 'node:path';
import { digestOf } from '../keyring/key.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { Disk } from '../store/disk.ts';
import { sweepLeftovers } from '../store/durable-file.ts';
import { readKeyFile, writeKeyFile } from '../store/key-files.ts';
import { createTurns, createWakes } from '../turns.ts';
import type { KeyTraffic } from './contracts.ts';
import type { UpstreamView } from './views.ts';

/** What one look shows of a key; `unknown`: LiteLLM was silent, or something else answered. */
export type Sight = 'accepted' | 'refused' | 'unknown';

/** While LiteLLM's key changes. Milliseconds since the epoch. */
export interface Change {
  readonly since: number;
  readonly newAcceptedAt: number | undefined;
  readonly oldAcceptedAt: number | undefined;
  /** A look at a server took the new key; what traffic says may be of either key's turn. */
  readonly isNewSeen: boolean;
  /** From when on nothing was heard of anybody who takes the old key. */
  readonly quietSince: number;
  readonly lookedAt: number;
}

export const changeBegun = (now: number): Change => ({
  since: now,
  newAcceptedAt: undefined,
  oldAcceptedAt: undefined,
  isNewSeen: false,
  quietSince: now,
  lookedAt: now,
});

/** After a look with each key. */
export function changeLooked(
  change: Change,
  sight: { readonly new: Sight; readonly old: Sight },
  now: number,
): Change {
  const next = sight.new === 'accepted' ? newAccepted({ ...change, isNewSeen: true }, now) : change;
  const looked = { ...next, lookedAt: now };
  if (sight.old === 'accepted') return oldAccepted(looked, now);
  // Silence is no proof: that time does not count.
  const lost = sight.old === 'unknown' ? now - change.lookedAt : 0;
  return { ...looked, quietSince: Math.min(now, looked.quietSince + lost) };
}

export const newAccepted = (change: Change, now: number): Change => ({
  ...change,
  newAcceptedAt: now,
  // Before the first server had the new key, nothing says that the last one lost the old one.
  quietSince: change.newAcceptedAt === undefined ? now : change.quietSince,
});

export const oldAccepted = (change: Change, now: number): Change => ({
  ...change,
  oldAcceptedAt: now,
  quietSince: now,
});

/**
 * Whether the old key may be forgotten: the new one is in use, and for `quietMs` neither a look nor
 * a request found anybody who takes the old one. No number of looks in a row is enough by itself:
 * behind one Service each look meets one pod by chance, and where the last one of ten is still the
 * old one, five looks miss it more often than not. What an early word would cost is a refusal of
 * each request that meets that pod; what waiting costs is nothing.
 */
export const isSettled = (change: Change, now: number, quietMs: number): boolean =>
  change.isNewSeen && now - change.quietSince >= quietMs;

/**
 * Which key requests carry first. It should be the one that is taken: a body that is not at hand
 * any more cannot be sent again.
 */
export function firstOf({ newAcceptedAt, oldAcceptedAt }: Change): 'new' | 'old' {
  return (oldAcceptedAt ?? 0) > (newAcceptedAt ?? 0) ? 'old' : 'new';
}

export interface KeyChangeOptions {
  /** What the settings say at the start that LiteLLM runs with. */
  readonly key: Secret;
  /** Where the last accepted key is kept. */
  readonly path: string;
  /** One look with this key; never throws. */
  readonly verify: (key: Secret) => Promise<Verdict>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long nobody may have taken the old key before it is forgotten, in milliseconds. */
  readonly quietMs: number;
  readonly events: KeyChangeEvents;
  /** Between two looks, in milliseconds. */
  readonly checkMs?: number;
  readonly disk: Disk;
}

/** None may throw. */
export interface KeyChangeEvents {
  /** Both keys are live from now on. */
  onChange(): void;
  /** The new one alone is. */
  onSettled(): void;
  /** The accepted key cannot be stored: a restart in the middle would know the new one alone. */
  onNotKept(error: Error): void;
}

/** The key of a LiteLLM that somebody else runs, which changes under the sidecar. */
export interface KeyChange {
  /** What requests carry, and what is tried where LiteLLM refuses that. */
  keys(): { readonly first: Secret; readonly second: Secret | undefined };
  /** The traffic serves from now on, with `keys`. */
  start(traffic: KeyTraffic): void;
  /** LiteLLM runs with another key, or will. Both are live until the old one is out of use. */
  onNewKey(key: Secret): Promise<void>;
  /** LiteLLM took this key of a request. For the traffic path: it neither waits nor throws. */
  onKeyAccepted(which: 'first' | 'second'): void;
  view(): UpstreamView['keyChange'];
  close(): Promise<void>;
}

const LOOK_MS = 2000;

/** The newest key, and while it is not in use everywhere the one that was accepted last. */
interface Pair {
  readonly newest: Secret;
  readonly old: Secret | undefined;
  readonly change: Change | undefined;
}

/** @throws Error of Node's fs, where the accepted key is there and cannot be read */
export async function openKeyChange(options: KeyChangeOptions): Promise<KeyChange> {
  const { path, now, events, checkMs = LOOK_MS } = options;
  const inTurn = createTurns();
  await sweepLeftovers(dirname(path), basename(path));
  const keep = keeperOf(options);
  let pair = await firstPair(options, keep);
  const teller = createTeller();
  const look = async (): Promise<void> => {
    const sight = await lookWith(options, pair);
    if (sight === undefined || pair.change === undefined) return;
    pair = { ...pair, change: changeLooked(pair.change, sight, now()) };
    if (isSettled(pair.change as Change, now(), options.quietMs)) {
      // First the disk: a restart must not come back to the old one.
      if (!(await keep(pair.newest))) return;
      pair = { newest: pair.newest, old: undefined, change: undefined };
      events.onSettled();
    }
    teller.tell(pair);
  };
  const wakes = createWakes(async () => {
    await inTurn(look);
    return pair.change === undefined ? IDLE_MS : checkMs;
  });

  return {
    keys: () => orderOf(pair),
    start(traffic) {
      teller.begin(traffic);
      teller.tell(pair);
      wakes.start();
    },
    onNewKey: (key) =>
      inTurn(async () => {
        if (isSame(key, pair.newest)) return;
        const old = knownOf(pair).find((known) => !isSame(known, key));
        if (old !== undefined) await keep(old);
        pair = { newest: key, old, change: old && changeBegun(now()) };
        if (old !== undefined) events.onChange();
        teller.tell(pair);
        wakes.wakeIn(0);
      }),
    onKeyAccepted(which) {
      if (pair.change === undefined) return;
      // By the order that traffic was told; an answer of the order before may be misread. It is
      // the looks that settle: a wrong word here makes that later, and never sooner.
      const isNew = (which === 'first') === teller.isNewFirst();
      pair = { ...pair, change: (isNew ? newAccepted : oldAccepted)(pair.change, now()) };
    },
    view: () => (pair.change === undefined ? null : viewOfChange(pair.change)),
    async close() {
      wakes.close();
      await inTurn(() => Promise.resolve());
    },
  };
}

/** What requests carry, and what is tried where LiteLLM refuses that. */
function orderOf({ newest, old, change }: Pair): ReturnType<KeyChange['keys']> {
  if (old === undefined || change === undefined) return { first: newest, second: undefined };
  const isNewFirst = firstOf(change) === 'new';
  return isNewFirst ? { first: newest, second: old } : { first: old, second: newest };
}

/** Tells the traffic which keys to use, where they are not what it was told last. */
function createTeller() {
  let traffic: KeyTraffic | undefined;
  let told = { mark: '', isNewFirst: true };
  return {
    isNewFirst: () => told.isNewFirst,
    begin(given: KeyTraffic) {
      traffic = given;
    },
    tell(pair: Pair) {
      const { first, second } = orderOf(pair);
      const mark = [first, second].map((key) => key && digestOf(key.reveal())).join();
      if (traffic === undefined || mark === told.mark) return;
      told = { mark, isNewFirst: isSame(first, pair.newest) };
      traffic.useKeys(first, second);
    },
  };
}

/** One look with each key; undefined: there is one only. */
async function lookWith({ verify }: KeyChangeOptions, { newest, old }: Pair) {
  if (old === undefined) return undefined;
  const [newSight, oldSight] = await Promise.all([verify(newest), verify(old)]);
  return { new: sightOf(newSight, 'new'), old: sightOf(oldSight, 'old') };
}

/** Nothing changes by time alone. */
const IDLE_MS = 60_000;

const isSame = (one: Secret, other: Secret): boolean => one.reveal() === other.reveal();

function keeperOf({ path, disk, events }: KeyChangeOptions) {
  let failed: string | undefined;
  return async (key: Secret): Promise<boolean> => {
    try {
      await writeKeyFile(path, key, disk);
      failed = undefined;
      return true;
    } catch (error) {
      const { message } = error as Error;
      if (message !== failed) events.onNotKept(error as Error);
      failed = message;
      return false;
    }
  };
}

async function firstPair(
  { key, path, now, events }: KeyChangeOptions,
  keep: (key: Secret) => Promise<boolean>,
): Promise<Pair> {
  const accepted = await readKeyFile(path);
  if (accepted === undefined) await keep(key);
  if (accepted === undefined || isSame(accepted, key)) {
    return { newest: key, old: undefined, change: undefined };
  }
  events.onChange();
  return { newest: key, old: accepted, change: changeBegun(now()) };
}

/** The keys that LiteLLM took, the one that it took last in front. */
function knownOf({ newest, old, change }: Pair): readonly Secret[] {
  if (old === undefined || change === undefined) return [newest];
  const { newAcceptedAt, oldAcceptedAt } = change;
  if (newAcceptedAt === undefined) return [old];
  return newAcceptedAt >= (oldAcceptedAt ?? 0) ? [newest, old] : [old, newest];
}

/** A LiteLLM that takes any key says nothing about the old one. */
function sightOf({ kind }: Verdict, which: 'new' | 'old'): Sight {
  if (kind === 'good' || kind === 'no_models') return 'accepted';
  if (kind === 'accepts_any_key') return which === 'new' ? 'accepted' : 'refused';
  return kind === 'refuses_key' ? 'refused' : 'unknown';
}

const isoOrNull = (at: number | undefined): string | null =>
  at === undefined ? null : new Date(at).toISOString();

const viewOfChange = ({ since, newAcceptedAt, oldAcceptedAt }: Change) => ({
  since: new Date(since).toISOString(),
  newAcceptedAt: isoOrNull(newAcceptedAt),
  oldAcceptedAt: isoOrNull(oldAcceptedAt),
});
