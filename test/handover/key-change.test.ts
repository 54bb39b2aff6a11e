import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  afterCheck,
  beginKeyChange,
  isSettled,
  type KeyAnswer,
  type KeyChange,
  type KeyChangeState,
  keyToSendFirst,
  newAccepted,
  oldAccepted,
  openKeyChange,
} from '../../src/handover/key-change.ts';
import { generateKey } from '../../src/keyring/key.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';
import { createAcceptedKey } from '../../src/store/key-files.ts';
import { onDiskSteps } from '../support/disk-steps.ts';
import { MINUTE, START } from './scene.ts';

const QUIET = 5 * MINUTE;

describe('the end of a key change', () => {
  /** Looks each two seconds, until `ms` after the start. */
  const look = (
    change: KeyChangeState,
    to: number,
    sight: { new: KeyAnswer; old: KeyAnswer },
  ): KeyChangeState => {
    let next = change;
    for (let at = next.checkedAt + 2000; at <= START + to; at += 2000) {
      next = afterCheck(next, sight, at);
    }
    return next;
  };
  const begun = beginKeyChange(new Secret('old'), START);
  const moved = { new: 'accepted', old: 'refused' } as const;

  it('comes when nobody took the old key for that long, and somebody takes the new one', () => {
    const change = look(begun, QUIET, moved);
    expect(isSettled(change, START + QUIET, QUIET)).toBe(false);
    expect(isSettled(change, START + QUIET + 2000, QUIET)).toBe(true);
  });

  it('does not come while nobody takes the new one', () => {
    const change = look(begun, 9 * QUIET, { new: 'refused', old: 'refused' });
    expect(isSettled(change, START + 9 * QUIET, QUIET)).toBe(false);
  });

  it('waits anew for each word of the old one: pods roll one by one', () => {
    let change = look(begun, 4 * MINUTE, moved);
    change = afterCheck(change, { new: 'refused', old: 'accepted' }, START + 4 * MINUTE + 1);
    change = look(change, 9 * MINUTE, moved);
    expect(isSettled(change, START + 9 * MINUTE, QUIET)).toBe(false);
    change = oldAccepted(change, START + 9 * MINUTE);
    expect(isSettled(change, START + 14 * MINUTE - 1, QUIET)).toBe(false);
    expect(isSettled(change, START + 14 * MINUTE, QUIET)).toBe(true);
  });

  it('does not take silence for a refusal', () => {
    let change = look(begun, 2000, moved);
    change = look(change, 20 * MINUTE, { new: 'unknown', old: 'unknown' });
    expect(isSettled(change, START + 20 * MINUTE, QUIET)).toBe(false);
    change = look(change, 26 * MINUTE, moved);
    expect(isSettled(change, START + 26 * MINUTE, QUIET)).toBe(true);
  });

  it('is not believed of traffic alone', () => {
    const change = newAccepted(begun, START + 1);
    expect(isSettled(change, START + 2 * QUIET, QUIET)).toBe(false);
  });

  it('puts in front what was taken last, the new one where both were', () => {
    expect(keyToSendFirst(begun)).toBe('new');
    expect(keyToSendFirst(oldAccepted(begun, START + 1))).toBe('old');
    expect(keyToSendFirst(newAccepted(oldAccepted(begun, START + 1), START + 2))).toBe('new');
    expect(keyToSendFirst(newAccepted(oldAccepted(begun, START + 2), START + 2))).toBe('new');
  });
});

let folder = '';
let missed = 0;
let now = START;
const open_: KeyChange[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'key-change-'));
  now = START;
  missed = 0;
});
afterEach(async () => {
  for (const each of open_.splice(0)) await each.close();
  rmSync(folder, { recursive: true });
});

/** A LiteLLM that takes some keys, and a traffic that is told which to use. */
async function opened(key: Secret, takes: readonly Secret[]) {
  const litellm = { takes, isSilent: false, looks: 0 };
  const events: string[] = [];
  const used: (readonly (string | undefined)[])[] = [];
  const change = await openKeyChange({
    key,
    kept: createAcceptedKey(folder),
    now: () => now,
    missedMs: () => missed,
    quietMs: QUIET,
    checkMs: 5,
    verify: (given): Promise<Verdict> => {
      litellm.looks += 1;
      if (litellm.isSilent) return Promise.resolve({ kind: 'silent' });
      const isTaken = litellm.takes.some((each) => each.reveal() === given.reveal());
      return Promise.resolve(
        isTaken ? { kind: 'good', models: ['mock'] } : { kind: 'refuses_key', status: 401 },
      );
    },
    events: {
      onChange: () => events.push('change'),
      onSettled: () => events.push('settled'),
      onNotKept: ({ message }) => events.push(message),
    },
  });
  open_.push(change);
  change.start({
    useKeys: (first, second) => used.push([first.reveal(), second?.reveal()]),
  });
  /** Waits until LiteLLM was looked at some times more. */
  const looked = async (): Promise<void> => {
    const from = litellm.looks;
    await vi.waitFor(() => expect(litellm.looks).toBeGreaterThan(from + 5));
  };
  return { change, litellm, events, used, looked };
}

const keys = () => [0, 1, 2].map(() => new Secret(generateKey())) as [Secret, Secret, Secret];
const accepted = (): string => readFileSync(join(folder, 'upstream/accepted.key'), 'utf8').trim();

describe("the key of somebody else's LiteLLM", () => {
  it('is kept at a first start, and nothing changes', async () => {
    const [one] = keys();
    const { change, used, litellm } = await opened(one, [one]);
    expect(accepted()).toBe(one.reveal());
    expect(readdirSync(join(folder, 'upstream'))).toEqual(['accepted.key']);
    expect(used).toEqual([[one.reveal(), undefined]]);
    expect(change.view()).toBeNull();
    await change.onNewKey(one);
    expect([used.length, litellm.looks]).toEqual([1, 0]);
  });

  it('changes: both are live until the new one is in use', async () => {
    const [one, two] = keys();
    const { change, used, litellm, events, looked } = await opened(one, [one]);
    await change.onNewKey(two);
    expect(used.at(-1)).toEqual([two.reveal(), one.reveal()]);
    await looked();
    // LiteLLM still runs with the old key: requests should carry that first.
    expect(used.at(-1)).toEqual([one.reveal(), two.reveal()]);
    expect(change.view()).toMatchObject({ newAcceptedAt: null });
    litellm.takes = [two];
    now += 1000;
    await looked();
    expect(used.at(-1)).toEqual([two.reveal(), one.reveal()]);
    now += QUIET - 1;
    await looked();
    expect(change.view()).not.toBeNull();
    expect(accepted()).toBe(one.reveal());
    now += 1;
    await vi.waitFor(() => expect(change.view()).toBeNull());
    expect(used.at(-1)).toEqual([two.reveal(), undefined]);
    expect(accepted()).toBe(two.reveal());
    expect(events).toEqual(['change', 'settled']);
  });

  it('is kept where the sidecar was stopped for that long, and could not ask', async () => {
    const [one, two] = keys();
    const { change, litellm, looked } = await opened(one, [one]);
    await change.onNewKey(two);
    litellm.takes = [two];
    await looked();
    now += 2 * QUIET;
    missed += 2 * QUIET;
    await looked();
    expect(change.view()).not.toBeNull();
    now += QUIET;
    await vi.waitFor(() => expect(change.view()).toBeNull());
  });

  it('that changed while the sidecar was down is seen at the start', async () => {
    const [one, two] = keys();
    await (await opened(one, [one])).change.close();
    const next = await opened(two, [one]);
    expect(next.change.keys().first.reveal()).toBe(two.reveal());
    expect(next.change.keys().second?.reveal()).toBe(one.reveal());
    expect(next.events).toEqual(['change']);
  });

  it('is kept for as long as a request is taken with it', async () => {
    const [one, two] = keys();
    const { change, litellm, looked, used } = await opened(one, [one]);
    await change.onNewKey(two);
    litellm.takes = [two];
    await looked();
    await vi.waitFor(() => expect(used.at(-1)?.[0]).toBe(two.reveal()));
    now += QUIET - 1;
    change.onKeyAccepted('second');
    expect(change.view()?.oldAcceptedAt).toBe(new Date(now).toISOString());
    now += QUIET - 1;
    await looked();
    expect(change.view()).not.toBeNull();
  });

  it('that changes again: the newest, and the one that was taken last', async () => {
    const [one, two, three] = keys();
    const { change, used, litellm, looked } = await opened(one, [one]);
    await change.onNewKey(two);
    await looked();
    await change.onNewKey(three);
    expect(used.at(-1)).toEqual([three.reveal(), one.reveal()]);
    expect(accepted()).toBe(one.reveal());
    litellm.takes = [three];
    now += 1000;
    await looked();
    // Back to the first key: LiteLLMs that took the third one are still there.
    await change.onNewKey(one);
    expect(used.at(-1)).toEqual([one.reveal(), three.reveal()]);
    expect(accepted()).toBe(three.reveal());
  });

  it('that is put back counts as the new one from the next request on', async () => {
    const [one, two] = keys();
    const { change, used, litellm, looked } = await opened(one, [one, two]);
    await change.onNewKey(two);
    await looked();
    litellm.takes = [one];
    now += 1000;
    await vi.waitFor(() => expect(used.at(-1)).toEqual([one.reveal(), two.reveal()]));
    litellm.isSilent = true;
    await looked();
    await change.onNewKey(one);
    expect(used.at(-1)).toEqual([one.reveal(), two.reveal()]);
    now += 1000;
    change.onKeyAccepted('first');
    const newAcceptedAt = new Date(now).toISOString();
    expect(change.view()).toMatchObject({ newAcceptedAt, oldAcceptedAt: null });
  });

  it('that is put back before anybody took the new one is alone at once', async () => {
    const [one, two] = keys();
    const { change, used, looked } = await opened(one, [one]);
    await change.onNewKey(two);
    await looked();
    await change.onNewKey(one);
    expect(used.at(-1)).toEqual([one.reveal(), undefined]);
    expect(change.view()).toBeNull();
  });

  it('is not forgotten while the new one cannot be stored', async () => {
    const [one, two] = keys();
    let isFull = false;
    onDiskSteps(folder, () => {
      if (isFull) throw new Error('the disk is full');
    });
    const { change, litellm, looked, events } = await opened(one, [one]);
    await change.onNewKey(two);
    litellm.takes = [two];
    await looked();
    isFull = true;
    now += QUIET;
    await vi.waitFor(() => expect(events).toContain('the disk is full'));
    await looked();
    expect(events.filter((event) => event === 'the disk is full')).toHaveLength(1);
    expect(change.keys().second?.reveal()).toBe(one.reveal());
    isFull = false;
    await vi.waitFor(() => expect(change.view()).toBeNull());
    expect(accepted()).toBe(two.reveal());
  });
});
