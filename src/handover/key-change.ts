import { basename, dirname } from 'node:path';
import { isoOrNull } from '../config/units.ts';
import { digestOf } from '../keyring/key.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { Disk } from '../store/disk.ts';
import { sweepLeftovers } from '../store/durable-file.ts';
import { readKeyFile, writeKeyFile } from '../store/key-files.ts';
import { createTurns, createWakes } from '../turns.ts';
import type { KeyTraffic } from './contracts.ts';
import type { UpstreamView } from './views.ts';

/** What a check shows of a key; `unknown`: LiteLLM was silent, or something else answered. */
export type KeyAnswer = 'accepted' | 'refused' | 'unknown';

/** How far a change of LiteLLM's key is. Instants are milliseconds since the epoch. */
export interface KeyChangeState {
  readonly since: number;
  readonly newAcceptedAt: number | undefined;
  readonly oldAcceptedAt: number | undefined;
  /**
   * Whether a check found a LiteLLM that takes the new key. What traffic tells is not enough, since
   * an answer may be taken for one to the other key where their order has just changed.
   */
  readonly isNewSeen: boolean;
  /** Since when nothing was heard of a LiteLLM that takes the old key. */
  readonly quietSince: number;
  readonly checkedAt: number;
}

export const beginKeyChange = (now: number): KeyChangeState => ({
  since: now,
  newAcceptedAt: undefined,
  oldAcceptedAt: undefined,
  isNewSeen: false,
  quietSince: now,
  checkedAt: now,
});

/** The state after a check of each key. */
export function afterCheck(
  state: KeyChangeState,
  answers: { readonly new: KeyAnswer; readonly old: KeyAnswer },
  now: number,
): KeyChangeState {
  const isNewTaken = answers.new === 'accepted';
  const next = isNewTaken ? newAccepted({ ...state, isNewSeen: true }, now) : state;
  const checked = { ...next, checkedAt: now };
  if (answers.old === 'accepted') return oldAccepted(checked, now);
  // Silence does not prove that nobody takes the old key: time without an answer does not count.
  const lost = answers.old === 'unknown' ? now - state.checkedAt : 0;
  return { ...checked, quietSince: Math.min(now, checked.quietSince + lost) };
}

export const newAccepted = (state: KeyChangeState, now: number): KeyChangeState => ({
  ...state,
  newAcceptedAt: now,
  // Before the first LiteLLM has the new key, nobody can know that the last one lost the old key.
  quietSince: state.newAcceptedAt === undefined ? now : state.quietSince,
});

export const oldAccepted = (state: KeyChangeState, now: number): KeyChangeState => ({
  ...state,
  oldAcceptedAt: now,
  quietSince: now,
});

/**
 * Whether the old key may be forgotten: the new one is in use, and for `quietMs` neither a check
 * nor a request found a LiteLLM that takes the old one. No number of checks in a row is enough:
 * behind one Service each check meets one pod by chance, and where one pod of ten still has the
 * old key, five checks miss that pod more often than not. Forgetting too early would cost a refusal
 * of each request that meets that pod; waiting costs nothing.
 */
export const isSettled = (state: KeyChangeState, now: number, quietMs: number): boolean =>
  state.isNewSeen && now - state.quietSince >= quietMs;

/**
 * Which key requests carry first. It should be the one that LiteLLM takes: a body that was streamed
 * through already cannot be sent again with the other key.
 */
export function keyToSendFirst({ newAcceptedAt, oldAcceptedAt }: KeyChangeState): 'new' | 'old' {
  return (oldAcceptedAt ?? 0) > (newAcceptedAt ?? 0) ? 'old' : 'new';
}

interface KeyChangeOptions {
  /** The key that LiteLLM runs with, by the settings at the start. */
  readonly key: Secret;
  /** The file that keeps the key which LiteLLM accepted last. */
  readonly path: string;
  /** Checks LiteLLM with this key; never throws. */
  readonly verify: (key: Secret) => Promise<Verdict>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long no LiteLLM may have taken the old key before that is forgotten, in milliseconds. */
  readonly quietMs: number;
  readonly events: KeyChangeEvents;
  /** Between two checks, in milliseconds. */
  readonly checkMs?: number;
  readonly disk: Disk;
}

/** What is told of a change of the key; none may throw. */
export interface KeyChangeEvents {
  /** Both keys are live from now on. */
  onChange(): void;
  /** The new key alone is live from now on. */
  onSettled(): void;
  /** The accepted key cannot be stored: after a restart only the new one would be known. */
  onNotKept(error: Error): void;
}

/** The key of a LiteLLM that somebody else runs, which changes under the sidecar. */
export interface KeyChange {
  /** The key that requests carry, and the one that is tried where LiteLLM refuses the first. */
  keys(): { readonly first: Secret; readonly second: Secret | undefined };
  /** From now on the traffic serves, with `keys`. */
  start(traffic: KeyTraffic): void;
  /** LiteLLM runs with another key, or will: both are live until the old one is out of use. */
  onNewKey(key: Secret): Promise<void>;
  /** LiteLLM took this key of a request. The traffic calls this, so it neither waits nor throws. */
  onKeyAccepted(which: 'first' | 'second'): void;
  view(): UpstreamView['keyChange'];
  close(): Promise<void>;
}

const CHECK_MS = 2000;
/** With one key nothing changes by time alone. */
const IDLE_MS = 60_000;

/** The newest key and, while not every LiteLLM has that, the key that was accepted last. */
interface Pair {
  readonly newest: Secret;
  readonly old: Secret | undefined;
  readonly change: KeyChangeState | undefined;
}

/** @throws Error of Node's fs, where the accepted key is there and cannot be read */
export async function openKeyChange(options: KeyChangeOptions): Promise<KeyChange> {
  const { path, now, events, checkMs = CHECK_MS } = options;
  const inTurn = createTurns();
  await sweepLeftovers(dirname(path), basename(path));
  const keep = createKeeper(options);
  let pair = await firstPair(options, keep);
  const teller = createTeller();
  const check = async (): Promise<void> => {
    const answers = await checkBoth(options, pair);
    if (answers === undefined || pair.change === undefined) return;
    const change = afterCheck(pair.change, answers, now());
    pair = { ...pair, change };
    if (isSettled(change, now(), options.quietMs)) {
      // The disk comes first: after a restart the old key must not be live again.
      if (!(await keep(pair.newest))) return;
      pair = { newest: pair.newest, old: undefined, change: undefined };
      events.onSettled();
    }
    teller.tell(pair);
  };
  const wakes = createWakes(async () => {
    await inTurn(check);
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
        const old = acceptedOf(pair).find((known) => !isSame(known, key));
        if (old !== undefined) await keep(old);
        pair = { newest: key, old, change: old && beginKeyChange(now()) };
        if (old !== undefined) events.onChange();
        teller.tell(pair);
        wakes.wakeIn(0);
      }),
    onKeyAccepted(which) {
      if (pair.change === undefined) return;
      // The rank counts by the order that traffic was told last, so that an answer to a request of
      // the order before is misread. That makes the end of the change later and never sooner,
      // because no change ends before a check has found the new key in use.
      const isNew = (which === 'first') === teller.isNewFirst();
      pair = { ...pair, change: (isNew ? newAccepted : oldAccepted)(pair.change, now()) };
    },
    view: () => (pair.change === undefined ? null : viewOfChange(pair.change)),
    async close() {
      wakes.close();
      await inTurn.settled();
    },
  };
}

function orderOf({ newest, old, change }: Pair): ReturnType<KeyChange['keys']> {
  if (old === undefined || change === undefined) return { first: newest, second: undefined };
  const isNewFirst = keyToSendFirst(change) === 'new';
  return isNewFirst ? { first: newest, second: old } : { first: old, second: newest };
}

/** Tells the traffic which keys to use, unless it was told the same last. */
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

/** Checks LiteLLM with each key; undefined: there is one key only. */
async function checkBoth({ verify }: KeyChangeOptions, { newest, old }: Pair) {
  if (old === undefined) return undefined;
  const [onNew, onOld] = await Promise.all([verify(newest), verify(old)]);
  return { new: answerOf(onNew, 'new'), old: answerOf(onOld, 'old') };
}

const isSame = (one: Secret, other: Secret): boolean => one.reveal() === other.reveal();

/** Stores the accepted key; resolves to whether that succeeded, and tells once where not. */
function createKeeper({ path, disk, events }: KeyChangeOptions) {
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
  return { newest: key, old: accepted, change: beginKeyChange(now()) };
}

/** The keys that LiteLLM took, the one that LiteLLM took last in front. */
function acceptedOf({ newest, old, change }: Pair): readonly Secret[] {
  if (old === undefined || change === undefined) return [newest];
  const { newAcceptedAt, oldAcceptedAt } = change;
  if (newAcceptedAt === undefined) return [old];
  return newAcceptedAt >= (oldAcceptedAt ?? 0) ? [newest, old] : [old, newest];
}

/** A LiteLLM that takes any key does not need the old one, which therefore counts as refused. */
function answerOf({ kind }: Verdict, which: 'new' | 'old'): KeyAnswer {
  if (kind === 'good' || kind === 'no_models') return 'accepted';
  if (kind === 'accepts_any_key') return which === 'new' ? 'accepted' : 'refused';
  return kind === 'refuses_key' ? 'refused' : 'unknown';
}

const viewOfChange = ({ since, newAcceptedAt, oldAcceptedAt }: KeyChangeState) => ({
  since: new Date(since).toISOString(),
  newAcceptedAt: isoOrNull(newAcceptedAt),
  oldAcceptedAt: isoOrNull(oldAcceptedAt),
});
