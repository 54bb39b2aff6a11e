import { describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { findKey } from '../../src/keyring/snapshot.ts';
import type { Keeper } from '../../src/rotation/keeper.ts';
import { commit, diskFull, keeperWith, stage } from '../support/keeper.ts';

const revoke = { kind: 'revoke', generation: 'master-1', compromised: true } as const;

const faultOf = (keeper: Keeper, key: string) =>
  findKey(keeper.snapshot(), key, () => 1_000_000).fault;

describe('a keeper', () => {
  it('saves each change before it rules, with the lines of the audit', async () => {
    const { keeper, store, told } = await keeperWith();
    await keeper.change([stage('second'), commit], 'cli:a');
    expect(store.stored?.keyring.clients).toEqual(keeper.keyring().clients);
    expect(told).toEqual(['cli:a clientAdded', 'cli:a rotated', 'cli:a rotated']);
    expect(store.audit).toHaveLength(3);
    expect(faultOf(keeper, 'second')).toBeUndefined();
    expect(keeper.keyring().audit.pending).toEqual([]);
  });

  it('refuses a change that hands a key out where it cannot be saved', async () => {
    const { keeper, store, told, faults } = await keeperWith();
    const before = keeper.keyring();
    store.failNext(diskFull());
    await expect(keeper.change([stage('second')], 'cli:a')).rejects.toMatchObject({
      code: 'store_unavailable',
      message: 'nothing was changed: the disk is full',
      hints: ['free some space'],
    });
    expect(keeper.keyring()).toBe(before);
    expect(told).toHaveLength(2);
    expect(keeper.storeError()?.message).toBe('the disk is full');
    await keeper.change([stage('second')], 'cli:a');
    expect(keeper.storeError()).toBeUndefined();
    expect(faults).toEqual(['the disk is full', undefined]);
  });

  it('takes a key away at once, and goes on until that is saved', async () => {
    const { keeper, store } = await keeperWith();
    await keeper.change([stage('second'), commit], 'cli:a');
    store.failNext(diskFull());
    await keeper.change([revoke], 'cli:a', 'at-once');
    expect(faultOf(keeper, 'first')).toBe('revoked_key');
    expect(store.stored?.keyring.clients.get('master')?.generations[0]?.state).toBe('retiring');
    await vi.waitFor(() => expect(keeper.storeError()).toBeUndefined(), 5000);
    expect(store.stored?.keyring.tombstones.get(digestOf('first'))?.state).toBe('revoked');
    expect(store.audit.filter((line) => line.includes('"revoked"'))).toHaveLength(1);
  });

  it('loses no line of the audit where a save failed in between', async () => {
    const { keeper, store } = await keeperWith();
    store.failNext(diskFull());
    await keeper.note({ by: 'sidecar', action: 'tombstone-used' });
    await keeper.change([stage('second'), commit], 'cli:a');
    const actions = store.audit.map((line) => (JSON.parse(line) as { action: string }).action);
    expect(actions).toEqual(['client-added', 'rotated', 'tombstone-used', 'rotated']);
    await keeper.close();
  });

  it('carries out one change after the other, and all of its commands or none', async () => {
    const { keeper, store } = await keeperWith();
    const results = await Promise.allSettled([
      keeper.change([stage('second')], 'cli:a'),
      keeper.change([stage('third')], 'cli:b'),
      keeper.change([commit, stage('fourth'), stage('fifth')], 'cli:a'),
      keeper.change([commit], 'cli:a'),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
    expect(results[1]).toMatchObject({ reason: { code: 'rotation_under_way' } });
    expect(faultOf(keeper, 'second')).toBeUndefined();
    expect(faultOf(keeper, 'fourth')).toBeDefined();
    expect(store.stored?.version).toBe(3);
  });

  it('writes nothing once another process has the state folder', async () => {
    let ours = true;
    const { keeper, store } = await keeperWith(() => ours);
    ours = false;
    await expect(keeper.change([stage('second')], 'cli:a')).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringContaining('another sidecar'),
    });
    expect(store.stored?.version).toBe(1);
  });
});
