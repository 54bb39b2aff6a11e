import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GenerationUses, Keyring } from '../../src/keyring/keyring.ts';
import type { KeyStore } from '../../src/store/key-store.ts';
import {
  anyKeyring,
  clientOf,
  entryOf,
  generationOf,
  keyringOf,
  settledOf,
  withLines,
} from '../support/keyrings.ts';

export interface StorePlace {
  /** Another store on the same place, as after a restart. */
  open(): KeyStore;
  /** The audit as it stands there: the texts of its lines. */
  audit(): Promise<readonly string[]>;
}

/** What any store must do; `make` gives an empty place of its own each time. */
export function describeKeyStore(name: string, make: () => Promise<StorePlace>): void {
  describe(`${name} keeps the contract of a store`, () => {
    it('has nothing where nothing was saved', async () => {
      const store = (await make()).open();
      expect(await store.load()).toBeUndefined();
      expect(await store.loadUsage()).toEqual(new Map());
      expect(store.warnings).toEqual([]);
    });

    it('gives back any keyring as it was saved, every field of it', async () => {
      await fc.assert(
        fc.asyncProperty(anyKeyring, async (keyring) => {
          const place = await make();
          expect(await place.open().save(keyring, 0)).toBe(1);
          expect(await place.open().load()).toStrictEqual({ keyring, version: 1 });
        }),
        { numRuns: 40 },
      );
    });

    it('counts its saves, and gives back the last one', async () => {
      const place = await make();
      const store = place.open();
      const [one, two] = [keyringOf([clientOf('master', 1)]), keyringOf([clientOf('master', 2)])];
      expect(await store.save(one, 0)).toBe(1);
      expect(await store.save(two, 1)).toBe(2);
      expect(await store.load()).toStrictEqual({ keyring: two, version: 2 });
      expect(await place.open().load()).toStrictEqual({ keyring: two, version: 2 });
    });

    it('saves nothing over a version that it was not told of', async () => {
      const place = await make();
      const [one, other] = [place.open(), place.open()];
      const mine = keyringOf([clientOf('master', 1)]);
      const theirs = keyringOf([clientOf('master', 2)]);
      await one.load();
      await one.save(mine, 0);
      expect(await other.load()).toMatchObject({ version: 1 });
      await other.save(theirs, 1);
      await expect(one.save(mine, 1)).rejects.toThrow('was saved by somebody else');
      await expect(one.save(mine, 0)).rejects.toThrow('was saved by somebody else');
      expect(await place.open().load()).toStrictEqual({ keyring: theirs, version: 2 });
    });

    it('carries out saves that overlap in their order', async () => {
      const place = await make();
      const store = place.open();
      const keyrings = [1, 2, 3, 4, 5].map((count) => keyringOf([clientOf('master', count)]));
      const saves = keyrings.map((keyring, at) => store.save(keyring, at));
      expect(await Promise.all(saves)).toEqual([1, 2, 3, 4, 5]);
      expect(await place.open().load()).toMatchObject({ keyring: keyrings[4], version: 5 });
      const [first, second] = await Promise.allSettled([
        store.save(keyringOf([]), 5),
        store.save(keyringOf([]), 5),
      ]);
      expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
    });

    it('saves no keyring that breaks a rule', async () => {
      const place = await make();
      const store = place.open();
      const good = keyringOf([clientOf('master', 1)]);
      await store.save(good, 0);
      const twice = [generationOf('master', 1), generationOf('master', 2)];
      const broken = keyringOf([clientOf('master', 1, { generations: twice })]);
      await expect(store.save(broken, 1)).rejects.toThrow(/more than one active key/);
      expect(await store.load()).toStrictEqual({ keyring: good, version: 1 });
    });

    it('brings each line of the audit to it, once, in order', async () => {
      const place = await make();
      const store = place.open();
      let keyring: Keyring = withLines(keyringOf([]), ['one', 'two']);
      const lines = [...keyring.audit.pending];
      await store.save(keyring, 0);
      expect(await place.audit()).toEqual(lines);
      // One caller forgets what was saved, the other one does not.
      keyring = withLines(settledOf(keyring), ['three']);
      lines.push(...keyring.audit.pending);
      await store.save(keyring, 1);
      await store.save(keyring, 2);
      expect(await place.audit()).toEqual(lines);
      expect(lines).toHaveLength(3);
      expect(lines[2]).toContain(entryOf('three').detail?.['why']);
      expect(await place.open().load()).toStrictEqual({ keyring: settledOf(keyring), version: 3 });
    });

    it('keeps who used what, and any name of a caller', async () => {
      const place = await make();
      const callers = fc.array(
        fc.record({
          address: fc.string(),
          userAgent: fc.string({ unit: 'binary' }),
          firstAt: fc.nat(),
          lastAt: fc.nat(),
          count: fc.nat(),
        }),
      );
      const use = fc.record({ lastAt: fc.nat(), count: fc.nat(), callers });
      const usages = fc
        .array(fc.tuple(fc.string(), use))
        .map((each): GenerationUses => new Map(each));
      await fc.assert(
        fc.asyncProperty(usages, async (usage) => {
          await place.open().saveUsage(usage);
          expect(await place.open().loadUsage()).toEqual(usage);
        }),
        { numRuns: 40 },
      );
    });

    it('ends what is under way when it is closed, and begins nothing', async () => {
      const place = await make();
      const store = place.open();
      const keyring = keyringOf([clientOf('master', 1)]);
      const saving = store.save(keyring, 0);
      await store.close();
      expect(await place.open().load()).toStrictEqual({ keyring, version: 1 });
      expect(await saving).toBe(1);
      await expect(store.save(keyring, 1)).rejects.toThrow('closed');
    });
  });
}
