import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StoredKeyring } from '../../src/store/key-store.ts';
import { decodeKeyring, encodeKeyring } from '../../src/store/keyring-format.ts';
import { seal } from '../../src/store/sealed.ts';
import { anyKeyring, clientOf, keyringOf, settledOf } from '../support/keyrings.ts';
import { second } from './stage.ts';

const bytesOf = (stored: StoredKeyring): Buffer => Buffer.from(encodeKeyring(stored));

describe('the bytes of a keyring', () => {
  it('is an error wherever it is cut off', () => {
    const bytes = bytesOf({ keyring: settledOf(second), version: 2 });
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeKeyring(bytes.subarray(0, length))).toMatchObject({ ok: false });
    }
    expect(decodeKeyring(bytes)).toMatchObject({ ok: true });
  });

  it('is an error or the same keyring, whatever bytes are others', () => {
    fc.assert(
      fc.property(
        anyKeyring,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        (keyring, flips) => {
          const bytes = bytesOf({ keyring, version: 7 });
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

describe('a keyring that does not say who disabled a client', () => {
  it.each([
    ['with a key', clientOf('ci', 2, { disabled: true }), true],
    ['without one', clientOf('ci', 2, { disabled: true, generations: [], lastNumber: 2 }), false],
    ['that is enabled', clientOf('ci', 2), false],
  ])('takes a client %s', (_what, client, disabledByHand) => {
    const keyring = keyringOf([clientOf('master', 1), client]);
    const whole = encodeKeyring({ keyring, version: 3 });
    const text = whole.replace(/ *"sureAt": \d+,\n/, '').replaceAll(/"disabledByHand":\w+,/g, '');
    const unsealed = text.slice(0, text.lastIndexOf(',\n  "sum"'));
    const decoded = decodeKeyring(Buffer.from(seal(unsealed)));
    expect(decoded.ok && decoded.stored.keyring.sureAt).toBe(keyring.changedAt);
    expect(decoded.ok && decoded.stored.keyring.clients.get('ci')).toMatchObject({
      disabled: client.disabled,
      disabledByHand,
    });
  });
});

it('refuses a number that would come back as something else', () => {
  const keyring = { ...second, changedAt: Number.NaN };
  expect(() => encodeKeyring({ keyring, version: 1 })).toThrow('not finite');
});

it('says its format where a sidecar that knows format 1 alone looks for it', () => {
  // That one takes every number above 1 for a newer sidecar's, before it looks at anything else.
  const text = encodeKeyring({ keyring: second, version: 1 });
  expect(JSON.parse(text)).toHaveProperty('format', 2);
});
