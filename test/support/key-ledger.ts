import { appendFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject } from 'vitest';
import { type Artefact, type Kind, type MadeKey, SHORTEST } from './key-search.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The folder of the run's ledger: every key that it made, and where none of them may stand. */
    readonly keyLedger: string;
  }
}

/** Lines that wait for `flushLedger`: a property makes a hundred thousand keys. */
const pending: string[] = [];
const known = new Set<string>();

const testNow = (): string => {
  const { testPath = 'a test', currentTestName } = expect.getState();
  const path = testPath.slice(testPath.lastIndexOf('/test/') + 1);
  return currentTestName === undefined ? path : `${path}, "${currentTestName}"`;
};

const ledgerFile = (name: string): string =>
  join(inject('keyLedger'), `${name}-${process.pid}.jsonl`);

/** Says that this is a key: at the end of the run it must stand in no artefact. */
export function recordKey(key: string): void {
  if (key.length < SHORTEST || known.has(key)) return;
  known.add(key);
  pending.push(`${JSON.stringify({ key, test: testNow() } satisfies MadeKey)}\n`);
  if (pending.length >= 1000) flushLedger();
}

export function flushLedger(): void {
  const lines = pending.splice(0).join('');
  if (lines !== '') appendFileSync(ledgerFile('keys'), lines, { mode: 0o600 });
}

/** Hands over a text to be searched. Texts of files that a test writes keys into are none. */
export function recordArtefact(kind: Kind, name: string, text: string): void {
  if (text === '') return;
  const artefact: Artefact = { kind, name, test: testNow(), text };
  appendFileSync(ledgerFile('artefacts'), `${JSON.stringify(artefact)}\n`, { mode: 0o600 });
}

/** The settings of a sidecar that are secrets. */
const SECRETS = /^(LITELLM_MASTER_KEY|SIDECAR_UPSTREAM_KEY|SIDECAR_ADMIN_TOKEN)$/;

export function recordSettings(settings: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value !== undefined && SECRETS.test(name)) recordKey(value);
  }
}

const FILES: readonly (readonly [name: string, kind: Kind])[] = [
  ['keyring.json', 'keyring'],
  ['keyring.json.bak', 'keyring'],
  ['audit.jsonl', 'audit'],
  ['usage.json', 'usage'],
  ['usage.db', 'usage'],
  ['usage.db-wal', 'usage'],
];

/** A state folder as a sidecar left it: its keys are noted, its other files are to be searched. */
export async function recordState(folder: string): Promise<void> {
  const textOf = (path: string): Promise<string> =>
    readFile(join(folder, path), 'utf8').catch(() => '');
  for (const place of ['keys', 'upstream']) {
    const names = await readdir(join(folder, place)).catch(() => []);
    for (const name of names) recordKey((await textOf(join(place, name))).trim());
  }
  for (const [name, kind] of FILES) recordArtefact(kind, name, await textOf(name));
}
