import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/parse.ts';
import { EVERY_SETTING, SETTINGS } from '../../src/config/settings.ts';
import { formatMistakes } from '../../src/config/sources.ts';
import type { Kind } from '../../src/config/units.ts';

describe('the table of settings', () => {
  it('has each name once', () => {
    const names = EVERY_SETTING.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^(?:SIDECAR(?:_[A-Z]+)+|LITELLM_MASTER_KEY)$/);
  });

  it('has each section in one piece', () => {
    const headings = Object.values(SETTINGS)
      .map(({ section }) => section)
      .filter((section, at, all) => section !== all[at - 1]);
    expect(new Set(headings).size).toBe(headings.length);
  });

  it.each(EVERY_SETTING.map((setting) => [setting.name, setting] as const))(
    '%s has a default that can be read and shown, or none and is required',
    (_name, setting) => {
      const kind: Kind<unknown> = setting.kind;
      const result = kind.read(setting.default);
      expect('value' in result).toBe(setting.required !== true);
      if ('value' in result) expect(kind.read(kind.show(result.value))).toEqual(result);
    },
  );

  it.each(EVERY_SETTING.map((setting) => [setting.name, setting.help, setting.kind] as const))(
    '%s is told in one line',
    (_name, text, kind) => {
      expect(text).toMatch(/^[^\n]{10,97}[^\n.]$/);
      expect(kind.allowed).not.toBe('');
    },
  );

  it('marks what is secret', () => {
    const secrets = EVERY_SETTING.filter(({ kind }) => kind.secret === true);
    expect(secrets.map(({ name }) => name)).toEqual([
      'LITELLM_MASTER_KEY',
      'SIDECAR_UPSTREAM_KEY',
      'SIDECAR_ADMIN_TOKEN',
    ]);
  });
});

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
