import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Generation } from '../../src/keyring/keyring.ts';
import type { StoredKeyring } from '../../src/store/key-store.ts';
import { decodeKeyring, encodeKeyring, rowText } from '../../src/store/keyring-format.ts';
import { seal } from '../../src/store/sealed.ts';
import { anyKeyring, generationOf, settledOf } from '../support/keyrings.ts';
import { second } from './stage.ts';

const sealedBytes = async (stored: StoredKeyring): Promise<Buffer> =>
  Buffer.concat(seal(await encodeKeyring(stored)));

describe('the bytes of a keyring', () => {
  it('is an error wherever it is cut off', async () => {
    const bytes = await sealedBytes({ keyring: settledOf(second), version: 2 });
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeKeyring(bytes.subarray(0, length))).toMatchObject({ kind: 'damaged' });
    }
    expect(decodeKeyring(bytes)).toMatchObject({ ok: true });
  });

  it('is an error or the same keyring, whatever bytes are others', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyKeyring,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (keyring, flips) => {
          const bytes = await sealedBytes({ keyring, version: 7 });
          for (const [where, bits] of flips) {
            const at = where % bytes.length;
            bytes[at] = (bytes[at] ?? 0) ^ bits;
          }
          const decoded = decodeKeyring(bytes);
          if (decoded.ok) expect(decoded.stored).toStrictEqual({ keyring, version: 7 });
          else expect(decoded.reason).toMatch(/checksum|JSON|newer/);
        },
      ),
      { numRuns: 300 },
    );
  });
});

const asText = (piece: string | Uint8Array): string =>
  typeof piece === 'string' ? piece : Buffer.from(piece).toString();
const written = (row: readonly Generation[]): unknown =>
  JSON.parse(`[${[...rowText(row)].map(asText).join('')}]`);

/** What JSON makes of it: fields that are undefined are left out. */
const plain = (row: readonly Generation[]): unknown => JSON.parse(JSON.stringify(row));

/** All but the last ones have ended: what is kept of them is made once. */
const generations = (count: number): Generation[] =>
  Array.from({ length: count }, (_, at) => ({
    ...generationOf('master', at + 1),
    endedAt: at < count - 3 ? 5 : undefined,
  }));

describe('the text of a row of generations', () => {
  it.each([0, 1, 63, 64, 65, 128, 200])('has all of %i', (count) => {
    const row = generations(count);
    expect(written(row)).toEqual(plain(row));
    expect(written(row)).toEqual(plain(row));
  });

  it('of those that have ended is made once, in memory that threads share', () => {
    const row = generations(200);
    const shared = (): unknown[] => [...rowText(row)].filter((each) => typeof each !== 'string');
    expect(shared()).toHaveLength(3);
    for (const [at, each] of shared().entries()) expect(each).toBe(shared()[at]);
    expect((shared()[0] as Uint8Array).buffer).toBeInstanceOf(SharedArrayBuffer);
    // The same generations elsewhere in a row are another text.
    expect(written(row.slice(64))).toEqual(plain(row.slice(64)));
  });

  it('follows every change, wherever in the row it is and whatever was written before', () => {
    const change = fc.record({
      at: fc.nat(150),
      endedAt: fc.nat(),
      grow: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        let row = generations(130);
        for (const { at, endedAt, grow } of changes) {
          row = row.map((each, place) => (place === at ? { ...each, endedAt } : each));
          if (grow) row.push(generationOf('master', row.length + 1));
          expect(written(row)).toEqual(plain(row));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('refuses what would come back as something else', () => {
    const row = [{ ...generationOf('master', 1), endedAt: Number.NaN }];
    expect(() => written(row)).toThrow('not finite');
  });
});
