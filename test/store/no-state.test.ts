import { describe, expect, it } from 'vitest';
import { createPassingStore } from '../../src/store/no-state.ts';
import { withLines } from '../support/keyrings.ts';
import { master } from './stage.ts';

describe('a store for as long as the process lives', () => {
  it('has the last keyring, by its version, and tells each line of the audit once', async () => {
    const told: string[] = [];
    const store = createPassingStore((line) => told.push(line));
    expect(await store.load()).toBeUndefined();
    const one = withLines(master(1), ['a']);
    expect(await store.save(one, 0)).toBe(1);
    expect(told).toEqual(one.audit.pending);
    const saved = { ...one, audit: { ...one.audit, pending: [] } };
    expect(await store.load()).toStrictEqual({ keyring: saved, version: 1 });
    const two = withLines(saved, ['b']);
    expect(await store.save(two, 1)).toBe(2);
    expect(told).toEqual([...one.audit.pending, ...two.audit.pending]);
    await expect(store.save(two, 1)).rejects.toThrow('was saved by somebody else');
  });

  it('takes no keyring that breaks a rule', async () => {
    const store = createPassingStore(() => undefined);
    const broken = { ...master(1), changedAt: -1 };
    await expect(store.save(broken, 0)).rejects.toThrow('cannot be saved');
    expect(await store.load()).toBeUndefined();
  });
});
