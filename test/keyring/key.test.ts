import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDeclaredKey, generateKey, isWellFormedKey } from '../../src/keyring/key.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

describe('a generated key', () => {
  it('is sk- and 48 letters and digits, and well-formed', () => {
    for (let each = 0; each < 200; each++) {
      const key = generateKey();
      expect(key).toMatch(/^sk-[A-Za-z0-9]{48}$/);
      expect(isWellFormedKey(key)).toBe(true);
    }
  });

  it('uses every character about as often as every other', () => {
    const seen = new Map<string, number>();
    for (let each = 0; each < 2000; each++) {
      for (const char of generateKey().slice(3, 45)) seen.set(char, (seen.get(char) ?? 0) + 1);
    }
    // 84,000 draws of 62: 1,355 each, a standard deviation of 37; a modulo of bytes gives 8 of them 25 % more.
    const counts = [...ALPHABET].map((char) => seen.get(char) ?? 0);
    expect(Math.min(...counts)).toBeGreaterThan(1355 - 6 * 37);
    expect(Math.max(...counts)).toBeLessThan(1355 + 6 * 37);
  });

  it('is malformed with any one character changed', () => {
    const at = fc.integer({ min: 0, max: 50 });
    const char = fc.constantFrom(...ALPHABET, '-', ' ');
    fc.assert(
      fc.property(at, char, (place, other) => {
        const key = generateKey();
        fc.pre(key[place] !== other);
        expect(isWellFormedKey(key.slice(0, place) + other + key.slice(place + 1))).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('is malformed with two neighbours swapped, a character less or one more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 49 }), (place) => {
        const key = generateKey();
        const [a = '', b = ''] = key.slice(place, place + 2);
        fc.pre(a !== b);
        expect(isWellFormedKey(key.slice(0, place) + b + a + key.slice(place + 2))).toBe(false);
        expect(isWellFormedKey(key.slice(0, place) + key.slice(place + 1))).toBe(false);
        expect(isWellFormedKey(key.slice(0, place) + a + key.slice(place))).toBe(false);
      }),
    );
  });

  it('has a checksum that a secret scanner can compute', () => {
    // CRC-32 of 42 characters "A" is 0x9228ceac; in base 62, most significant digit first.
    expect(isWellFormedKey(`sk-${'A'.repeat(42)}Cp67qU`)).toBe(true);
  });

  it.each(['', 'sk-', 'sk-1234', `pk-${'A'.repeat(48)}`, `sk-${'A'.repeat(48)}\n`])(
    '%j is none',
    (value) => {
      expect(isWellFormedKey(value)).toBe(false);
    },
  );
});

const reason = (value: string): string => {
  const check = checkDeclaredKey(value);
  return check.ok ? '' : check.reason;
};

describe('a declared key', () => {
  it('that the generator made is good, without a warning', () => {
    expect(checkDeclaredKey(generateKey())).toEqual({ ok: true });
  });

  it.each([
    ...['sk-1234', 'sk-12345678901234567890', `sk-${'x'.repeat(20)}`, `sk-${'X'.repeat(15)}`],
    ...['changeme', 'change-me-please-now', 'sk-change-me-in-production', 'replace-with-your-key'],
    ...['your-master-key', 'sk-your_key_here_please', '<your key>', 'example-key-for-the-docs'],
    ...['my-secret-key', 'litellm-master-key', '${' + 'LITELLM_MASTER_KEY}', 'sk-...', 'PASSWORD'],
  ])('%s is refused: everybody knows it', (value) => {
    expect(reason(value)).not.toBe('');
  });

  it.each([
    ['a short one', 'sk-a8fj3k2', /10 characters; at least 12/],
    ['nothing', '', /0 characters/],
    ['one repeated character', 'sk-aaaaaaaaaaaaaaaaaaaaaaaa', /repeats/],
    ['two repeated characters', 'sk-abababababababababab', /repeats/],
    ['one with a space', 'sk-a8fj3k2l 9sdfl3k', /spaces/],
    ['one with a line break', 'sk-a8fj3k2l\n9sdfl3k', /spaces/],
    ['one outside ASCII', 'sk-a8fj3k2l9sdflß3k', /ASCII/],
  ])('%s is refused, with the reason', (_, value, expected) => {
    expect(reason(value)).toMatch(expected);
  });

  it('of 18 characters, as the Helm chart makes it, is taken with a warning', () => {
    const check = checkDeclaredKey('a8Fj3k2L9sdfL3kQ7z');
    expect(check).toMatchObject({ ok: true, warning: expect.stringContaining('18 characters') });
  });

  it('is not repeated in the reason or the warning', () => {
    const value = fc.string({ minLength: 4, maxLength: 60, unit: 'binary-ascii' });
    fc.assert(
      fc.property(fc.oneof(value, fc.stringMatching(/^sk-[a-z0-9]{4,30}$/)), (key) => {
        const said = JSON.stringify(checkDeclaredKey(key));
        fc.pre(
          !'it has spaces or characters outside ASCII repeats warning reason ok'.includes(key),
        );
        expect(said.includes(key)).toBe(false);
      }),
    );
  });
});
