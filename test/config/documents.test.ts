import { readFileSync } from 'node:fs';
import { parse } from 'dotenv';
import { describe, expect, it } from 'vitest';
import { clientsSchema } from '../../scripts/clients-schema.ts';
import {
  envExample,
  settingsTable,
  TABLE_MARKERS,
  withSettingsTable,
} from '../../scripts/settings-documents.ts';
import { KNOWN_NAMES, parseConfig } from '../../src/config/parse.ts';
import { EVERY_SETTING } from '../../src/config/settings.ts';
import { CLIENT_MEMBERS } from '../../src/store/clients-file.ts';

const file = (name: string): string =>
  readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

describe('.env.example', () => {
  it('is what the table makes: run `npm run docs`', () => {
    expect(file('.env.example')).toBe(envExample());
  });

  it('begins with the key, and names every variable', () => {
    const text = envExample();
    const assigned = [...text.matchAll(/^# ([A-Z_]+)=/gm)].map((match) => match[1]);
    expect(assigned[0]).toBe('LITELLM_MASTER_KEY');
    const expected = EVERY_SETTING.map(({ name }) => name).filter((n) => n !== 'SIDECAR_ENV_FILE');
    expect([...assigned].sort()).toEqual(expected.sort());
    for (const name of KNOWN_NAMES) expect(text).toContain(name);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  it('sets nothing as it is, and the defaults with the # taken away', () => {
    expect(parse(envExample())).toEqual({});
    const bare = envExample().replaceAll(/^# (?=[A-Z_]+=)/gm, '');
    const upstream = { SIDECAR_UPSTREAM: 'http://litellm:4000' };
    const all = parseConfig([{ name: '.env', values: { ...parse(bare), ...upstream } }]);
    const none = parseConfig([{ name: '.env', values: upstream }]);
    if (!all.ok || !none.ok) throw new Error(JSON.stringify([all, none]));
    expect(all.config).toEqual(none.config);
  });
});

describe('the table for docs/settings.md', () => {
  it('has a row for every setting, of three cells', () => {
    const rows = settingsTable().trim().split('\n');
    for (const { name } of EVERY_SETTING) {
      expect(rows.filter((row) => row.startsWith(`| \`${name}\``))).toHaveLength(1);
    }
    for (const row of rows) expect(row.replaceAll('\\|', '').split('|')).toHaveLength(5);
  });

  it('stands between its markers', () => {
    const [open, close] = TABLE_MARKERS;
    const page = withSettingsTable(`before\n\n${open}\nold\n${close}\n\nafter\n`);
    expect(page).toBe(`before\n\n${open}\n\n${settingsTable()}\n${close}\n\nafter\n`);
    expect(withSettingsTable(page)).toBe(page);
    expect(() => withSettingsTable(`${close}${open}`)).toThrow('the page has no lines');
  });

  it('is the one in docs/settings.md: run `npm run docs`', () => {
    expect(file('docs/settings.md')).toBe(withSettingsTable(file('docs/settings.md')));
  });
});

describe('docs/clients.schema.json', () => {
  it('is what the code makes: run `npm run docs`', () => {
    expect(file('docs/clients.schema.json')).toBe(clientsSchema());
  });

  it('has every member of a client, with what it is', () => {
    const { properties } = JSON.parse(clientsSchema());
    const { properties: members, additionalProperties } = properties.clients.additionalProperties;
    expect(Object.keys(members)).toEqual(Object.keys(CLIENT_MEMBERS.shape));
    expect(additionalProperties).toBe(false);
    for (const member of Object.values<{ description?: string }>(members)) {
      expect(member.description).toBeTruthy();
    }
    expect(members.limits.properties.rpm.type).toEqual(['number', 'string']);
    expect(new RegExp(members.keys.items.pattern).test(`sha256:${'a'.repeat(64)}`)).toBe(true);
  });
});
