import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { addClient, refused, rotate } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flushLedger } from '../support/key-ledger.ts';
import { type Artefact, KINDS, type MadeKey } from '../support/key-search.ts';
import { startSidecar } from '../support/sidecar.ts';

const SHORT = 'sk-Short4key';
const TOKEN = 'a-token-of-the-admin-0123456789abcdef';

/** What this process has noted. */
async function ledger<T extends { test: string }>(name: string, test: string): Promise<T[]> {
  flushLedger();
  const text = await readFile(join(inject('keyLedger'), `${name}-${process.pid}.jsonl`), 'utf8');
  const lines = text.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as T).filter((line) => line.test.includes(test));
}

it('every key of a sidecar is in the ledger, and every kind of text is searched', async () => {
  const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', '{}'));
  const sidecar = await startSidecar(upstream.port, {
    LITELLM_MASTER_KEY: SHORT,
    SIDECAR_ADMIN_TOKEN: TOKEN,
  });
  await get(sidecar);
  const rotated = await rotate(sidecar);
  const added = await addClient(sidecar, { name: 'ci' });
  await refused(sidecar, '/api/clients/nobody/rotate');
  const nobody = generateKey();
  await get({ ...sidecar, key: nobody });
  await sidecar.stop();
  await upstream.stop();

  const keys = (await ledger<MadeKey>('keys', 'every key of a sidecar')).map(({ key }) => key);
  expect(keys).toEqual(
    expect.arrayContaining([SHORT, sidecar.upstreamKey, rotated.key, added.key, nobody, TOKEN]),
  );
  const artefacts = await ledger<Artefact>('artefacts', 'every key of a sidecar');
  expect(new Set(artefacts.map(({ kind }) => kind))).toEqual(new Set(KINDS));
  const textOf = (kind: string): string =>
    artefacts.flatMap((each) => (each.kind === kind ? [each.text] : [])).join('\n');
  expect(textOf('log')).toContain('"msg":"request"');
  expect(textOf('metrics')).toContain('litellm_sidecar_requests_total');
  expect(textOf('error body')).toContain('unknown_client');
  expect(textOf('error body')).toContain('unknown_key');
  expect(textOf('audit')).toContain('"rotated"');
  expect(textOf('keyring')).toContain('master');
  expect(textOf('usage')).toContain('127.0.0.1');
});

it('a key that a file held is in the ledger', async () => {
  const secret = new Secret('sk-from-a-file-0123456789');
  expect(`${secret}`).toBe('[secret]');
  const keys = await ledger<MadeKey>('keys', 'a key that a file held');
  expect(keys.map(({ key }) => key)).toEqual(['sk-from-a-file-0123456789']);
});
