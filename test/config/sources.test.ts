import { describe, expect, it } from 'vitest';
import { createMask, formatMistakes, quote } from '../../src/config/sources.ts';

describe('mistakes, as people read them', () => {
  it('are blocks of name, found, allowed and hint', () => {
    const text = formatMistakes([
      {
        name: 'SIDECAR_HOLD',
        found: '"5" (.env)',
        allowed: 'a duration',
        hint: 'did you mean 5s?',
      },
      { name: '.env', found: '/config/.env: it is a folder', allowed: 'a text file' },
    ]);
    expect(text).toBe(`the configuration has 2 mistakes

SIDECAR_HOLD
  found    "5" (.env)
  allowed  a duration
  hint     did you mean 5s?

.env
  found    /config/.env: it is a folder
  allowed  a text file
`);
  });

  it('may be one', () => {
    const text = formatMistakes([{ name: 'X', found: 'y', allowed: 'z' }]);
    expect(text).toMatch(/^the configuration has a mistake\n/);
  });
});

describe('a value in a mistake', () => {
  const none = createMask([]);

  it('is quoted, on one line, and cut', () => {
    expect(quote('a\n"b"\u001b[0m', none)).toBe('"a\\n\\"b\\"\\u001b[0m"');
    expect(quote('x'.repeat(80), none)).toHaveLength(82);
    expect(quote('x'.repeat(81), none)).toBe(`"${'x'.repeat(79)}…"`);
  });

  it.each([
    ['http://me:pass@host/a@b', 'http://…@b'],
    ['me:pass@host', '…@host'],
    ['sk-abcdef, and SK-abc', 'sk-…, and sk-…'],
    ['/v1/task-runner', '/v1/task-runner'],
  ])('%s is shown as %s', (text, shown) => {
    expect(none(text)).toBe(shown);
  });

  it('loses the secrets of every source, the longer first', () => {
    const mask = createMask([
      { name: 'a', values: { LITELLM_MASTER_KEY: 'secret', SIDECAR_PORT: 'public' } },
      { name: 'b', values: { SIDECAR_UPSTREAM_KEY: ' secret-longer\n' } },
    ]);
    expect(mask('<secret> <secret-longer> <public>')).toBe('<…> <…> <public>');
  });

  it('keeps words that a very short secret happens to be', () => {
    const mask = createMask([{ name: 'a', values: { LITELLM_MASTER_KEY: 'a' } }]);
    expect(mask('a value')).toBe('a value');
  });
});
