import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { masterKeyLine } from '../../src/litellm/config-hints.ts';

const OURS = 'os.environ/LITELLM_MASTER_KEY';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'config-hints-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lineIn = async (text: string): Promise<number | undefined> => {
  await writeFile(join(folder, 'config.yaml'), text);
  const line = await masterKeyLine(folder);
  expect(await masterKeyLine(join(folder, 'config.yaml'))).toBe(line);
  return line;
};

describe('the line that gives LiteLLM a key of its own', () => {
  it.each([
    ['general_settings:\n  master_key: sk-own', 2],
    ['# c\n---\n\ngeneral_settings:  # c\n  a: b\n\n  # c\n  master_key: sk-own # c', 8],
    ['general_settings:\r\n  a: b\r\n  master_key: sk-own\r\n', 3],
    ['\ufeffgeneral_settings:\n  master_key: sk-own', 2],
    [`"general_settings" :\n      'master_key' : "sk-own"`, 2],
    ['general_settings: {master_key: sk-own}', 1],
    ['general_settings: { a: "}", b: [1, {c: d}], master_key: sk-own } # c', 1],
    ['general_settings: {\n  a: b, # {\n  master_key: sk-own\n}', 3],
    ['{"model_list": [{"master_key": 1}],\n"general_settings":{"master_key":"sk-own"}}', 2],
    ['general_settings:\n  master_key: os.environ/OTHER', 2],
    [`general_settings:\n  master_key: ${OURS}_2`, 2],
    // LiteLLM takes nothing for a key, not the environment's.
    ['general_settings:\n  master_key:\n  a: b', 2],
    ['general_settings: {master_key, a: b}', 1],
    ['general_settings:\n  master_key: >-\n    sk-own', 2],
    ['general_settings: &all\n  master_key: !!str sk-own', 2],
    // YAML takes the last one.
    [`general_settings:\n  master_key: ${OURS}\n  master_key: sk-own`, 3],
    ['  model_list: []\n  general_settings:\n    master_key: sk-own', 3],
  ])('%j', async (text, line) => {
    expect(await lineIn(text)).toBe(line);
  });

  it.each([
    '',
    '# general_settings:\n#   master_key: sk-own',
    'model_list: []',
    'general_settings:',
    'general_settings:\n  # master_key: sk-own',
    'general_settings:\n  master_keys: sk-own\n  my_master_key: sk-own',
    `general_settings:\n  master_key: ${OURS}`,
    `general_settings:\n  master_key: "${OURS}" # c`,
    `general_settings:\n  master_key: >-\n    ${OURS}\n  a: b`,
    `general_settings:\n  master_key:\n    '${OURS}'`,
    `general_settings: {master_key: ${OURS}, a: b}`,
    `general_settings: {"master_key":"${OURS}"}`,
    'general_settings:\n  a:\n    master_key: sk-own',
    'general_settings:\n  a:\n  - master_key: sk-own',
    'general_settings:\n  a: {\n  master_key: sk-own\n  }',
    'general_settings:\n  a: |\n    master_key: sk-own',
    'general_settings: {a: {master_key: sk-own}, b: [master_key: sk-own]}',
    'litellm_settings:\n  master_key: sk-own',
    'general_settings:\n  a: b\nlitellm_settings:\n  master_key: sk-own',
    'litellm_settings:\n  general_settings:\n    master_key: sk-own',
    'master_key: sk-own',
    'general_settings:\n  master_key: sk-own\ngeneral_settings:\n  a: b',
    // LiteLLM sets it too late for itself.
    'environment_variables:\n  LITELLM_MASTER_KEY: sk-own',
    // No YAML: LiteLLM does not start with it, and says so itself.
    'general_settings: {a: "',
    'model_list: [\ngeneral_settings:\n  master_key: sk-own',
    'general_settings:\n  master_key: sk-own\n---\na: b',
  ])('is in none of %j', async (text) => {
    expect(await lineIn(text)).toBeUndefined();
  });

  it('is found in whatever style it is written', async () => {
    const space = fc.constantFrom('', ' ', '   ');
    const quote = fc.constantFrom('', '"', "'");
    const between = fc.array(
      fc.constantFrom('', '   ', '# c', '      # master_key: x', '@other: "master_key: x"'),
      { maxLength: 4 },
    );
    const style = fc.record({
      outer: fc.constantFrom('', '  '),
      inner: fc.constantFrom(' ', '  ', '    '),
      ...{ quoteKey: quote, quoteValue: quote, beforeColon: space, before: between },
      ...{ after: between, comment: fc.constantFrom('', ' # {c}'), isFlow: fc.boolean() },
      value: fc.constantFrom(OURS, 'sk-own', 'os.environ/X', 'a:b#c'),
      end: fc.constantFrom('\n', '\r\n'),
    });
    await fc.assert(
      fc.asyncProperty(style, async (s) => {
        const key = `${s.quoteKey}master_key${s.quoteKey}`;
        const value = `${s.quoteValue}${s.value}${s.quoteValue}`;
        const line = `${s.outer}${s.inner}${key}${s.beforeColon}: ${value}`;
        const dressed = (lines: string[], comma: string) =>
          lines.map((text) => text.replace(/^@(.*)/, `${s.outer}${s.inner}$1${comma}`));
        const [open, close, comma] = s.isFlow ? [' {', `${s.outer} }`, ','] : ['', '', ''];
        const lines = [
          `${s.outer}general_settings:${open}`,
          ...dressed(s.before, comma),
          `${line}${comma}${s.comment}`,
          ...dressed(s.after, comma),
          close,
          `${s.outer}other: {master_key: sk-own}`,
        ];
        const expected = s.value === OURS ? undefined : s.before.length + 2;
        expect(await lineIn(lines.join(s.end))).toBe(expected);
      }),
    );
  });

  it('is not sought in half a megabyte and more, for which the traffic would wait', async () => {
    const own = 'general_settings:\n  master_key: sk-own\n# ';
    expect(await lineIn(own.padEnd(512 * 1024, 'x'))).toBe(2);
    expect(await lineIn(own.padEnd(512 * 1024 + 1, 'x'))).toBeUndefined();
  });

  it('is not known where the configuration cannot be read', async () => {
    expect(await masterKeyLine(join(folder, 'none.yaml'))).toBeUndefined();
    await mkdir(join(folder, 'empty'));
    expect(await masterKeyLine(join(folder, 'empty'))).toBeUndefined();
  });

  it('is sought in any text without an end to wait for', async () => {
    const parts = ['general_settings', 'master_key', ':', ' ', '\n', '{', '}', '[', ']', '"', "'"];
    const text = fc.array(fc.constantFrom(...parts, ',', '#', '- ', '&a ', '|', '\\', 'x'));
    await fc.assert(
      fc.asyncProperty(text, async (found) => {
        const all = found.join('');
        const line = await lineIn(all);
        expect(line === undefined || all.split('\n')[line - 1]?.includes('master_key')).toBe(true);
      }),
    );
  });
});
