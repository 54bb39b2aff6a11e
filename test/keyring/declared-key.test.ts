import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDeclaredKey, generateKey } from '../../src/keyring/key.ts';

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
