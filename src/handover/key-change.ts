import { isoOrNull } from '../config/units.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { AcceptedKey } from '../store/key-files.ts';
import { createTurns, createWakes } from '../turns.ts';
import type { KeyTraffic } from './contracts.ts';

/** What a check shows of a key; `unknown`: LiteLLM was silent, or something else answered. */
export type KeyAnswer = 'accepted' | 'refused' | 'unknown';

/** How far a change of LiteLLM's key is. Instants are milliseconds since the epoch. */
export interface KeyChangeState {
  /** The key that LiteLLM accepted before. */
  readonly old: Secret;
  readonly since: number;
  readonly newAcceptedAt: number | undefined;
  readonly oldAcceptedAt: number | undefined;
  /**
   * Whether a check found a LiteLLM that takes the new key. What traffic tells is not enough, since
   * an answer may be taken for one to the other key where their order has just changed; that makes
   * the end of the change later, and never sooner.
   */
  readonly isNewSeen: boolean;
  /** Since when nothing was heard of a LiteLLM that takes the old key. */
  readonly quietSince: number;
  readonly checkedAt: number;
}

export const beginKeyChange = (old: Secret, now: number): KeyChangeState => ({
  old,
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

/** Takes the time out in which this process could not check since it was asked before. */
function excusePauses({ now, missedMs = () => 0 }: KeyChangeOptions) {
  let known = missedMs();
  return (state: KeyChangeState): KeyChangeState => {
    const before = known;
    known = missedMs();
    return { ...state, quietSince: Math.min(now(), state.quietSince + known - before) };
  };
}

interface KeyChangeOptions {
  /** The key that LiteLLM runs with, by the settings at the start. */
  readonly key: Secret;
  /** Keeps the key which LiteLLM accepted last. */
  readonly kept: AcceptedKey;
  /** Checks LiteLLM with this key; never throws. */
  readonly verify: (key: Secret) => Promise<Verdict>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long no LiteLLM may have taken the old key before that is forgotten, in milliseconds. */
  readonly quietMs: number;
  readonly events: KeyChangeEvents;
  /** How long this process did not look, in milliseconds in all; never, where nothing is said. */
  readonly missedMs?: () => number;
  /** Between two checks, in milliseconds. */
  readonly checkMs?: number;
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

const CHECK_MS = 2000;
/** With one key nothing changes by time alone. */
const IDLE_MS = 60_000;

/** The newest key and, while not every LiteLLM has it, how far the change to it is. */
interface Known {
  readonly newest: Secret;
  readonly change: KeyChangeState | undefined;
}

/**
 * The key of a LiteLLM that somebody else runs, which changes under the sidecar.
 *
 * @throws Error of Node's fs, where the accepted key is there and cannot be read
 */
export async function openKeyChange(options: KeyChangeOptions) {
  const { now, events, checkMs = CHECK_MS } = options;
  const afterPause = excusePauses(options);
  const [inTurn, keep] = [createTurns(), createKeeper(options)];
  let known = await firstKnown(options, keep);
  let traffic: KeyTraffic | undefined;
  let told: SendOrder | undefined;
  const tell = (): void => {
    const { first, second } = orderOf(known);
    if (traffic === undefined || (first === told?.first && second === told.second)) return;
    told = { first, second };
    traffic.useKeys(first, second);
  };
  const wakes = createWakes(() => inTurn(check));
  const check = async (): Promise<number> => {
    if (known.change === undefined) return IDLE_MS;
    const answers = await checkBoth(options.verify, known.newest, known.change.old);
    const change = afterPause(afterCheck(known.change, answers, now()));
    known = { ...known, change };
    // The disk comes first: after a restart the old key must not be live again.
    if (isSettled(change, now(), options.quietMs) && (await keep(known.newest))) {
      known = { newest: known.newest, change: undefined };
      events.onSettled();
    }
    tell();
    return checkMs;
  };

  return {
    keys: () => orderOf(known),
    /** From now on the traffic serves, with `keys`. */
    start(given: KeyTraffic): void {
      traffic = given;
      tell();
      wakes.start();
    },
    /** LiteLLM runs with another key, or will: both are live until the old one is out of use. */
    onNewKey: (key: Secret): Promise<void> =>
      inTurn(async () => {
        if (isSame(key, known.newest)) return;
        const old = acceptedOf(known).find((each) => !isSame(each, key));
        if (old !== undefined) await keep(old);
        known = { newest: key, change: old && beginKeyChange(old, now()) };
        if (old !== undefined) events.onChange();
        tell();
        wakes.wakeIn(0);
      }),
    /** LiteLLM took this key of a request. This neither waits nor throws, as traffic calls it. */
    onKeyAccepted(which: 'first' | 'second'): void {
      if (known.change === undefined || told === undefined) return;
      const isNew = told[which] === known.newest;
      known = { ...known, change: (isNew ? newAccepted : oldAccepted)(known.change, now()) };
    },
    view: () => (known.change === undefined ? null : viewOfChange(known.change)),
    async close(): Promise<void> {
      wakes.close();
      await inTurn.settled();
    },
  };
}

export type KeyChange = Awaited<ReturnType<typeof openKeyChange>>;

/** The key that requests carry, and the one that is tried where LiteLLM refuses the first. */
interface SendOrder {
  readonly first: Secret;
  readonly second: Secret | undefined;
}

function orderOf({ newest, change }: Known): SendOrder {
  if (change === undefined) return { first: newest, second: undefined };
  const isNewFirst = keyToSendFirst(change) === 'new';
  return isNewFirst ? { first: newest, second: change.old } : { first: change.old, second: newest };
}

/** The keys that LiteLLM took, the one that LiteLLM took last in front. */
function acceptedOf(known: Known): readonly Secret[] {
  const { change } = known;
  if (change !== undefined && change.newAcceptedAt === undefined) return [change.old];
  const { first, second } = orderOf(known);
  return second === undefined ? [first] : [first, second];
}

/** What LiteLLM says to each key. */
async function checkBoth(verify: KeyChangeOptions['verify'], newest: Secret, old: Secret) {
  const [onNew, onOld] = await Promise.all([verify(newest), verify(old)]);
  return { new: answerOf(onNew, 'new'), old: answerOf(onOld, 'old') };
}

/** A LiteLLM that takes any key does not need the old one, which therefore counts as refused. */
function answerOf({ kind }: Verdict, which: 'new' | 'old'): KeyAnswer {
  if (kind === 'good' || kind === 'no_models') return 'accepted';
  if (kind === 'accepts_any_key') return which === 'new' ? 'accepted' : 'refused';
  return kind === 'refuses_key' ? 'refused' : 'unknown';
}

const isSame = (one: Secret, other: Secret): boolean => one.reveal() === other.reveal();

/** Stores the accepted key; resolves to whether that succeeded, and tells once where not. */
function createKeeper({ kept, events }: KeyChangeOptions) {
  let failed: string | undefined;
  return async (key: Secret): Promise<boolean> => {
    try {
      await kept.write(key);
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

async function firstKnown(
  { key, kept, now, events }: KeyChangeOptions,
  keep: (key: Secret) => Promise<boolean>,
): Promise<Known> {
  const accepted = await kept.read();
  if (accepted === undefined) await keep(key);
  if (accepted === undefined || isSame(accepted, key)) return { newest: key, change: undefined };
  events.onChange();
  return { newest: key, change: beginKeyChange(accepted, now()) };
}

const viewOfChange = ({ since, newAcceptedAt, oldAcceptedAt }: KeyChangeState) => ({
  since: new Date(since).toISOString(),
  newAcceptedAt: isoOrNull(newAcceptedAt),
  oldAcceptedAt: isoOrNull(oldAcceptedAt),
});
