import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fileNameOf } from '../src/config/setting.ts';
import { EVERY_SETTING } from '../src/config/settings.ts';
import { REFUSAL_CODES, statusOf } from '../src/refusal.ts';

const ROOT = new URL('..', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const PAGES = readdirSync(new URL('docs', ROOT)).filter((name) => name.endsWith('.md'));
const DOCUMENTS = [
  ...['README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...PAGES.map((name) => `docs/${name}`),
];

/** What looks like a path of this project, from its root or from `src`. */
const FOLDERS =
  /^(?:(?:src|test|deploy|bench|docs|scripts|app|cli|config|handover|keyring|litellm|local|proxy|rotation|servers|store|telemetry|text)\/[\w./-]*|[\w-]+\.ts)$/;

/** The anchors of a page, as GitHub makes them of its headings. */
const anchorsOf = (path: string): string[] =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  );

/** Every `code span` of a text. */
const spans = (text: string): string[] =>
  [...text.matchAll(/`([^`\n]+)`/g)].map(([, it]) => it ?? '');

describe('the documents say what is true', () => {
  it.each(DOCUMENTS)('%s links to files and headings that are there', (name) => {
    const links = [...read(name).matchAll(/\]\(([^):]+)\)/g)].map(([, link]) => link ?? '');
    const missing = links.filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? name : join(dirname(name), path);
      if (!existsSync(new URL(target, ROOT))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    });
    expect(missing).toEqual([]);
  });

  it('README leads to every page', () => {
    expect(PAGES.filter((name) => !read('README.md').includes(`](docs/${name})`))).toEqual([]);
  });

  it.each(DOCUMENTS)('%s names files and folders that are there', (name) => {
    const named = spans(read(name)).filter((it) => FOLDERS.test(it));
    const missing = named.filter(
      (path) => ![path, `src/${path}`].some((it) => existsSync(fileURLToPath(new URL(it, ROOT)))),
    );
    expect(missing).toEqual([]);
  });

  it.each(DOCUMENTS)('%s names settings that are there', (name) => {
    const there = EVERY_SETTING.flatMap((setting) => [setting.name, fileNameOf(setting)]);
    const named = read(name).match(/\bSIDECAR_[A-Z_]*[A-Z]\b/g) ?? [];
    expect(named.filter((it) => !there.includes(it))).toEqual([]);
  });

  it.each(DOCUMENTS)('%s sets settings to what they may hold', (name) => {
    const wrong = [...read(name).matchAll(/\b(SIDECAR_[A-Z_]+)=([^\s`$"…]+)(?=[\s`])/g)]
      // What is read from a file has the kind of a path.
      .filter(([, setting = '']) => !setting.endsWith('_FILE'))
      .filter(([, setting, text = '']) => {
        const row = EVERY_SETTING.find((it) => it.name === setting);
        return row === undefined || !('value' in row.kind.read(text));
      });
    expect(wrong.map(([line]) => line)).toEqual([]);
  });

  it.each(DOCUMENTS)('%s has the defaults that are in force', (name) => {
    const told = [...read(name).matchAll(/`(SIDECAR_[A-Z_]+)` \((\d+) (s|m|h|d)[a-z]*\b/g)];
    const wrong = told.filter(([, setting, count, unit]) => {
      const row = EVERY_SETTING.find((it) => it.name === setting);
      return row?.default !== `${count}${unit}`;
    });
    expect(wrong.map(([line]) => line)).toEqual([]);
  });

  it('names npm scripts that are there', () => {
    const { scripts } = JSON.parse(read('package.json'));
    const named = DOCUMENTS.flatMap((name) => [
      ...read(name).matchAll(/npm (?:run (?:--silent )?)?(\w[\w:]*)/g),
    ])
      .map(([, script]) => script ?? '')
      .filter((script) => !['ci', 'run', 'install', 'pack'].includes(script));
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((script) => scripts[script] === undefined)).toEqual([]);
  });

  it('README has every refusal code in the row of its status', () => {
    const rows = read('README.md').split('\n');
    const missing = REFUSAL_CODES.filter((code) => {
      const row = rows.find((line) => /^\| \d/.test(line) && line.includes(`\`${code}\``));
      return row?.split('|')[1]?.includes(String(statusOf(code))) !== true;
    });
    expect(missing).toEqual([]);
  });
});
