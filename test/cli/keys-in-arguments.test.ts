import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommandLine } from '../../src/cli/program.ts';
import { loadConfig } from '../../src/config/load.ts';
import { fileNameOf } from '../../src/config/setting.ts';
import { EVERY_SETTING } from '../../src/config/settings.ts';
import { formatMistakes } from '../../src/config/sources.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { type Artefact, describeFind, findKeys } from '../support/key-search.ts';
import { capturedTerminal } from './captured-terminal.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const MAKERS = [
  generateKey,
  () => `sk-${randomBytes(24).toString('hex')}`,
  () => `sk-ant-api03-${randomBytes(40).toString('base64url')}`,
  () => `AIza${randomBytes(26).toString('hex').slice(0, 35)}`,
];
const thrown = fc.record({
  make: fc.constantFrom(...MAKERS),
  before: fc.constantFrom('', '', '', 'Bearer ', 'x-', '=', '/', '"', 'key=', ' '),
  after: fc.constantFrom('', '', '', '/', '"', ' ', '-1', ',b'),
});

const expectNoKey = (keys: readonly string[], texts: readonly string[]): void => {
  const artefacts = texts.map(
    (text): Artefact => ({ kind: 'error body', name: text, test: 'this', text }),
  );
  const finds = findKeys(
    keys.map((key) => ({ key, test: 'this' })),
    artefacts,
  );
  expect(finds.map(describeFind)).toEqual([]);
};

/** Command lines with a text in the place of each command, argument and value of an option. */
const LINES: readonly ((text: string) => string[])[] = [
  (text) => [text],
  (text) => [`--${text}`],
  (text) => ['--as', text, 'status'],
  (text) => ['help', text],
  ...['key show', 'rotate', 'rollback', 'revoke', 'who', 'clients add', 'clients disable'].flatMap(
    (line): ((text: string) => string[])[] => [
      (text) => [...line.split(' '), text],
      (text) => [...line.split(' '), 'ci-1', text],
      (text) => [...line.split(' '), `--${text}`],
      (text) => [...line.split(' '), `--grace=${text}`],
    ],
  ),
  ...['key', 'config', 'status', 'audit', 'audit verify', 'upstream', 'upstream status'].flatMap(
    (line): ((text: string) => string[])[] => [
      (text) => [...line.split(' '), text],
      (text) => [...line.split(' '), '--json', text],
      (text) => [...line.split(' '), `--${text}`],
    ],
  ),
  ...['--scope', '--expires', '--allow-from'].map((option) => (text: string) => [
    ...['clients', 'add', 'ci', option, text],
  ]),
  (text) => ['rotate', 'ci', '--grace', text],
  (text) => ['audit', '--limit', text],
  (text) => ['upstream', 'history', text],
  ...['--url', '--model', '--timeout', '--key', '--key-file', '--client'].map(
    (option) => (text: string) => ['check', option, text],
  ),
  (text) => ['usage', '--by', text],
  (text) => ['usage', '--since', text],
  (text) => ['usage', '--client', text],
  (text) => ['usage', '--model', text],
];

it('no key that stands on the command line is said again', async () => {
  const keys: string[] = [];
  const said: string[] = [];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...LINES), thrown, async (line, { make, before, after }) => {
      const key = make();
      keys.push(key);
      const { terminal, written } = capturedTerminal({}, cwd);
      const code = await runCommandLine(terminal, line(before + key + after), () =>
        AbortSignal.abort(),
      );
      said.push(written.stdout, written.stderr);
      expect(code).not.toBe(0);
    }),
    { numRuns: 400 },
  );
  expectNoKey(keys, said);
});

it('no key that stands in the place of a setting is said in a mistake', () => {
  const keys: string[] = [];
  const said: string[] = [];
  const names = EVERY_SETTING.flatMap((setting) => [
    setting.name,
    fileNameOf(setting) ?? setting.name,
  ]);
  const name = fc.oneof(fc.constantFrom(...names), fc.constantFrom('SIDECAR_PROT', 'SIDECAR_KEY'));
  fc.assert(
    fc.property(name, thrown, (setting, { make, before, after }) => {
      const key = make();
      keys.push(key);
      const env = {
        SIDECAR_UPSTREAM: 'http://litellm:4000',
        SIDECAR_HOLD: '30',
        [setting]: before + key + after,
      };
      const loaded = loadConfig({ env, cwd });
      // One mistake there is in any case, so that the texts are made.
      expect(loaded.ok && setting !== 'SIDECAR_HOLD').toBe(false);
      if (!loaded.ok) said.push(formatMistakes(loaded.mistakes));
    }),
    { numRuns: 1000 },
  );
  expectNoKey(keys, said);
});
