import { describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { createFirstUses } from '../../src/rotation/use.ts';
import { commit, diskFull, HOUR, keeperWith, stage } from '../support/keeper.ts';

describe('the first use of a newer key', () => {
  it('is saved once, however many answers come while it is', async () => {
    const { keeper, store, time } = await keeperWith();
    await keeper.change([stage('second'), commit], 'cli:a');
    const uses = createFirstUses(keeper, { now: () => time.now, sure: () => time.now });
    const second = keeper.snapshot().byDigest.get(digestOf('second'));
    if (second === undefined) throw new Error('it is not there');
    expect(second.startsClock).toBe(true);
    for (let answer = 0; answer < 1000; answer++) uses.note(second);
    await vi.waitFor(() =>
      expect(keeper.keyring().clients.get('master')?.generations[0]?.retirement?.deadline).toBe(
        1_000_000 + HOUR,
      ),
    );
    expect(store.stored?.version).toBe(3);
    expect(keeper.snapshot().byDigest.get(digestOf('second'))?.startsClock).toBe(false);
  });

  it('is tried again with a later answer where it could not be saved', async () => {
    const { keeper, store, time } = await keeperWith();
    await keeper.change([stage('second'), commit], 'cli:a');
    const uses = createFirstUses(keeper, { now: () => time.now, sure: () => time.now });
    const second = keeper.snapshot().byDigest.get(digestOf('second'));
    if (second === undefined) throw new Error('it is not there');
    store.failNext(diskFull());
    uses.note(second);
    await vi.waitFor(() => expect(keeper.storeError()).toBeDefined());
    await keeper.change([], 'sidecar');
    uses.note(second);
    expect(store.stored?.version).toBe(2);
    time.now += 1001;
    uses.note(second);
    await vi.waitFor(() => expect(store.stored?.version).toBe(3));
    expect(keeper.keyring().clients.get('master')?.generations[0]?.retirement?.deadline).toBe(
      time.now + HOUR,
    );
  });

  it('begins no grace by a clock that may be set wrong', async () => {
    const { keeper, time } = await keeperWith();
    await keeper.change([stage('second'), commit], 'cli:a');
    const uses = createFirstUses(keeper, { now: () => time.now + 48 * HOUR, sure: () => time.now });
    const second = keeper.snapshot().byDigest.get(digestOf('second'));
    if (second === undefined) throw new Error('it is not there');
    const before = keeper.keyring();
    uses.note(second);
    await keeper.close();
    expect(keeper.keyring()).toBe(before);
  });
});
