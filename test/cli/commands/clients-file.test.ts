import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientsFileText } from '../../../src/cli/commands/clients-file.ts';
import { digestOf, showDigest } from '../../../src/keyring/key.ts';
import type { ClientsFileView, ExportedClient } from '../../../src/rotation/admin.ts';
import { createClientsReader } from '../../../src/store/clients-text.ts';
import { runAgainst, runIn } from '../fake-admin.ts';

const KEY = showDigest(digestOf('one'));

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const check = (text: string, flags = '') => {
  writeFileSync(join(cwd, 'clients.yaml'), text);
  return runIn(cwd, `clients check clients.yaml${flags}`);
};

test('clients check: a file that is good, with what is worth a look', async () => {
  writeFileSync(join(cwd, 'dev.key'), `${KEY}\n`);
  const text = `clients:
  ci: {keys: ["${showDigest(digestOf('two'))}"], expires: 2020-01-01}
  dev: {keys_file: dev.key}
`;
  expect(await check(text)).toEqual({
    code: 0,
    stdout: 'clients.yaml is good: 2 clients\n',
    stderr: 'sidecar: ci is past its end: its keys are refused\n',
  });
});

test('clients check: a file of keys need not be there, but must be good where it is', async () => {
  const text = 'clients:\n  ci: {keys_file: ci.key}\n';
  expect(await check(text)).toMatchObject({
    code: 0,
    stderr: 'sidecar: line 2: ci.keys_file: it is not there, and is not looked at\n',
  });
  writeFileSync(join(cwd, 'ci.key'), '# no key yet\n');
  expect(await check(text)).toMatchObject({
    code: 64,
    stderr:
      'clients.yaml:2:3: ci.keys_file: the file holds no key\n' +
      'sidecar: the clients file has a mistake\n',
  });
});

test('clients check: every mistake with its place, and exit code 64', async () => {
  const text = `clients:\n  ci: {keys: ["${KEY}"], limits: {rpm: 5$}}\n  dev: {keys: ["${KEY}"]}\n`;
  const { code, stdout, stderr } = await check(text);
  expect([code, stdout]).toEqual([64, '']);
  expect(stderr).toBe(
    'clients.yaml:2:105: ci.limits.rpm must be a whole number above 0, such as 60, 1.5k or 2M ' +
      '(did you mean 5?)\nsidecar: the clients file has a mistake\n',
  );
  const twice = await check(text.replace('5$', '5'));
  expect(twice.stderr).toContain('clients.yaml:3:17: dev: this key is one of ci\n');
});

test('clients check --json: one document, whatever there is', async () => {
  const bad = await check('clients: 5\n', ' --json');
  expect(bad.code).toBe(64);
  expect(JSON.parse(bad.stdout)).toEqual({
    ...{ good: false, clients: [], warnings: [] },
    mistakes: [
      { line: 1, column: 10, message: 'clients must be a map; for no clients write clients: {}' },
    ],
  });
  const good = await check('clients: {}\n', ' --json');
  expect(good.code).toBe(0);
  expect(JSON.parse(good.stdout)).toMatchObject({ good: true, clients: [], mistakes: [] });
});

test('clients check: a file that is not there', async () => {
  const { code, stderr } = await runIn(cwd, 'clients check nowhere.yaml');
  expect(code).toBe(64);
  expect(stderr).toContain('nowhere.yaml: it is not there\n');
});

const CI: ExportedClient = {
  ...{ name: 'ci', scopes: ['inference', 'passthrough'], allowFrom: ['10.0.0.0/8', 'fd00::/8'] },
  ...{ expiresAt: '2027-03-01T00:00:00.000Z', namesEndUsers: true, inFile: false },
  ...{ models: ['gpt-4o*', 'null', 'a: b'] },
  limits: { rpm: 60, parallel: null, tokensPerDay: 2_000_000, usdPerDay: 0.5, mode: 'record' },
  keys: [
    { id: 'ci-1', digest: KEY, validUntil: '2026-12-01T00:00:00.000Z' },
    { id: 'ci-2', digest: showDigest(digestOf('two')), validUntil: null },
  ],
};
const PLAIN: ExportedClient = {
  ...{ name: 'no', scopes: ['full'], allowFrom: [], expiresAt: null, namesEndUsers: false },
  ...{ inFile: true, models: [], limits: null },
  keys: [{ id: 'no-1', digest: showDigest(digestOf('three')), validUntil: null }],
};

test('clients export: a file that says what there is', async () => {
  const view: ClientsFileView = { clients: [CI, PLAIN], leftOut: ['old'] };
  const { code, stdout, stderr, asked } = await runAgainst([200, view], 'clients export');
  expect(asked.map(({ what }) => what)).toEqual(['GET /api/clients-file']);
  expect(code).toBe(0);
  expect(stderr).toBe(
    'sidecar: old is left out: it is disabled or has no key, and a file lets it in\n',
  );
  await expect(stdout).toMatchFileSnapshot('../transcripts/clients-export.txt');
  const { clients, mistakes } = await createClientsReader()(stdout);
  expect(mistakes).toEqual([]);
  expect(clients).toMatchObject([
    {
      ...{ name: 'ci', digests: [digestOf('one'), digestOf('two')], namesEndUsers: true },
      ...{ scopes: CI.scopes, allowFrom: CI.allowFrom, models: CI.models },
      ...{ expiresAt: Date.UTC(2027, 2, 1) },
      limits: { rpm: 60, parallel: undefined, tokensPerDay: 2_000_000, usdPerDay: 0.5 },
    },
    { name: 'no', digests: [digestOf('three')], scopes: ['full'], limits: undefined },
  ]);
});

test('clients export: nobody but master', () => {
  expect(clientsFileText({ clients: [], leftOut: [] })).toBe('clients: {}\n');
});
