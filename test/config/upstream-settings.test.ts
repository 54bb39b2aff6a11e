import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/parse.ts';
import { formatMistakes } from '../../src/config/sources.ts';

const parse = (values: Record<string, string>) =>
  parseConfig([
    { name: 'environment', values: { SIDECAR_UPSTREAM: 'http://litellm:4000', ...values } },
  ]);

describe('the word about a salt key', () => {
  it.each([
    ['set', true],
    ['SET', true],
    ['', false],
  ])('%j', (text, saltKeySet) => {
    const parsed = parse({ SIDECAR_LITELLM_SALT_KEY: text });
    expect(parsed.ok && parsed.config.saltKeySet).toBe(saltKeySet);
  });

  it('is not the salt key, which is not shown', () => {
    const parsed = parse({ SIDECAR_LITELLM_SALT_KEY: 'the-salt-of-the-earth' });
    const text = parsed.ok ? '' : formatMistakes(parsed.mistakes);
    expect(text).toContain('set: the word alone');
    expect(text).not.toContain('earth');
  });
});

describe('a handover', () => {
  it('has time to happen', () => {
    const parsed = parse({ SIDECAR_HANDOVER_TIMEOUT: '0' });
    expect(parsed.ok ? '' : formatMistakes(parsed.mistakes)).toContain('comes up in no time');
    expect(parse({ SIDECAR_PROBATION: '0' }).ok).toBe(true);
  });
});
