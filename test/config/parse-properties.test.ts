import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/parse.ts';
import { EVERY_SETTING } from '../../src/config/settings.ts';
import { DOTENV, ENVIRONMENT } from '../../src/config/sources.ts';

describe('whatever the sources hold', () => {
  const names = EVERY_SETTING.flatMap(({ name }) => [name, `${name}_FILE`, `${name}X`]);
  const name = fc.oneof(fc.constantFrom(...names), fc.string());
  const nasty = fc.constantFrom('0', '5', '1s', ',', '/', '/*', 'http://a', 'tcp://a', '::', 'sk-');
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), nasty);
  const values = fc.dictionary(name, text, { maxKeys: 12 });
  const source = fc.record({ name: fc.constantFrom(ENVIRONMENT, DOTENV, '/key'), values });

  it('there is a configuration or a list of mistakes, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.array(source, { maxLength: 3 }), (sources) => {
        const parsed = parseConfig(sources);
        if (parsed.ok) expect(parsed.config.upstreams.length).toBeGreaterThan(0);
        else expect(parsed.mistakes.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('no mistake holds a secret, even where it was put into other settings too', () => {
    // Letters that stand in no name, no hint and no phrase of ours.
    const secret = fc.string({ unit: fc.constantFrom(...'ЖЩЮЯ@,:/ '), minLength: 8 });
    const kept = secret.filter((each) => /[ЖЩЮЯ]{6}/.test(each));
    const field = fc.constantFrom(...EVERY_SETTING.map((each) => each.name));
    fc.assert(
      fc.property(kept, fc.array(field, { minLength: 1, maxLength: 6 }), (value, fields) => {
        const wrongly = Object.fromEntries(fields.map((each) => [each, `x${value.trim()}y`]));
        const declared = { SIDECAR_TYPO: value, ...wrongly, LITELLM_MASTER_KEY: value };
        const upstreamKey = { name: DOTENV, values: { SIDECAR_UPSTREAM_KEY: value } };
        const parsed = parseConfig([{ name: ENVIRONMENT, values: declared }, upstreamKey]);
        expect(parsed.ok).toBe(false);
        expect(JSON.stringify(parsed)).not.toMatch(/[ЖЩЮЯ]{6}/);
      }),
      { numRuns: 300 },
    );
  });
});
