import { expect, it } from 'vitest';
import { keyringOf } from '../support/keyrings.ts';
import { createMemoryDisk, createMemoryStore } from '../support/memory-store.ts';
import { describeKeyStore } from './key-store-contract.ts';

describeKeyStore('the store in memory', () => {
  const disk = createMemoryDisk();
  return Promise.resolve({
    open: () => createMemoryStore(undefined, disk),
    audit: () => Promise.resolve([...disk.audit]),
  });
});

it('a store in memory refuses one save when it is told to', async () => {
  const store = createMemoryStore();
  store.failNext(new Error('full'));
  await expect(store.save(keyringOf([]), 0)).rejects.toThrow('full');
  expect(store.stored).toBeUndefined();
  expect(await store.save(keyringOf([]), 0)).toBe(1);
});
