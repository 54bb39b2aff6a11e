import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { clientsFileText } from '../../src/cli/commands/clients-file.ts';
import { digestOf, generateKey, showDigest } from '../../src/keyring/key.ts';
import type { ClientsFileView } from '../../src/rotation/admin.ts';
import { adminCall, keyFileOf, status } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';

const stages = createStages();
/** What an edit may take until it rules. */
const WITHIN = { timeout: 3000, interval: 20 };

const fileOf = (clients: Readonly<Record<string, readonly string[]>>, more = ''): string => {
  const entries = Object.entries(clients).map(
    ([name, keys]) =>
      `  ${name}:\n    keys: [${keys.map(digestOf).map(showDigest).join(', ')}]${more}\n`,
  );
  return entries.length === 0 ? 'clients: {}\n' : `clients:\n${entries.join('')}`;
};

async function folderFor(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'clients-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A sidecar with a clients file; a state folder of its own goes with it. */
async function stage(text: string, settings: Record<string, string | undefined> = {}) {
  const folder = await folderFor();
  const path = join(folder, 'clients.yaml');
  await writeFile(path, text);
  const { sidecar } = await stages({
    script: (peer: Peer) => peer.answer('200 OK', '{}'),
    settings: { SIDECAR_CLIENTS: path, SIDECAR_FAILURES_PER_MINUTE: '0', ...settings },
  });
  return { sidecar, folder, path };
}

async function tried(sidecar: Sidecar, key: string) {
  const { response } = await get({ ...sidecar, key });
  return response.headers['x-sidecar-refusal'] ?? response.statusCode;
}

const becomes = (sidecar: Sidecar, key: string, outcome: number | string): Promise<void> =>
  vi.waitFor(async () => expect(await tried(sidecar, key)).toBe(outcome), WITHIN);

const warningsOf = async (sidecar: Sidecar) =>
  (await status(sidecar)).warnings.map(({ message }) => message);

/** A scrape is a second old at the most. */
const isUp = (sidecar: Sidecar, value: number): Promise<void> =>
  vi.waitFor(
    async () =>
      expect(await sidecar.metrics()).toContain(`litellm_sidecar_clients_file_up ${value}\n`),
    WITHIN,
  );

describe('a clients file', () => {
  it('rules from the first request on, with every key that it has', async () => {
    const [one, two] = [generateKey(), generateKey()];
    const { sidecar } = await stage(fileOf({ ci: [one, two] }, '\n    limits: {rpm: 600}'));
    expect(await Promise.all([tried(sidecar, one), tried(sidecar, two)])).toEqual([200, 200]);
    const { body } = await adminCall(sidecar, 'GET', '/api/clients/ci');
    expect(body).toMatchObject({ inFile: true, limits: { rpm: 600 }, state: 'enabled' });
    await isUp(sidecar, 1);
    expect(sidecar.logText()).not.toContain(digestOf(one));
  });

  it('rules within three seconds of an edit, a rename, and a swap of links', async () => {
    const keys = Array.from({ length: 4 }, generateKey);
    const [first = '', second = '', third = '', fourth = ''] = keys;
    const { sidecar, folder, path } = await stage(fileOf({ ci: [first] }));
    await writeFile(path, fileOf({ ci: [first, second] }));
    await becomes(sidecar, second, 200);
    expect(await tried(sidecar, first)).toBe(200);
    const next = join(folder, 'next.yaml');
    await writeFile(next, fileOf({ ci: [second], dev: [third] }));
    await rename(next, path);
    await becomes(sidecar, third, 200);
    expect(await tried(sidecar, first)).toBe('revoked_key');
    // As Kubernetes mounts a Secret.
    for (const [name, text] of [
      ['one', fileOf({ ci: [second] })],
      ['two', fileOf({ ci: [fourth] })],
    ] as const) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'clients.yaml'), text);
    }
    await symlink('one', join(folder, '..data'));
    await symlink('..data/clients.yaml', next);
    await rename(next, path);
    await becomes(sidecar, third, 'revoked_key');
    await symlink('two', join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    await becomes(sidecar, fourth, 200);
    expect(await tried(sidecar, second)).toBe('revoked_key');
    // It rules before it is saved, and is told after that.
    await vi.waitFor(() => {
      const lines = sidecar.logLines().filter(({ msg }) => msg === 'the clients file rules');
      expect(lines.at(-1)).toMatchObject({ clients: 1, newKeys: ['ci-3'], revoked: ['ci-2'] });
    }, WITHIN);
  });

  it('changes nothing while it has a mistake, says so once, and rules again once it is mended', async () => {
    const [one, two] = [generateKey(), generateKey()];
    const { sidecar, path } = await stage(fileOf({ ci: [one] }));
    const mistaken = () =>
      sidecar.logLines().filter(({ msg }) => /has mistakes, and changes nothing/.test(msg));
    const texts = [
      fileOf({ ci: [two], Dev: [one] }),
      '\tclients: {}\n',
      'x'.repeat(10 * 1024 * 1024),
    ];
    for (const [at, text] of texts.entries()) {
      await writeFile(path, text);
      await vi.waitFor(() => expect(mistaken()).toHaveLength(at + 1), WITHIN);
      expect([await tried(sidecar, one), await tried(sidecar, two)]).toEqual([200, 'unknown_key']);
    }
    expect(mistaken()[0]?.['mistakes']).toEqual([
      expect.stringContaining(`${path}:4:3: a client name has 1 to 39 lower-case letters`),
    ]);
    expect(await warningsOf(sidecar)).toEqual([
      `the clients file changes nothing: ${path}: it is larger than 1MiB`,
    ]);
    await isUp(sidecar, 0);
    await rm(path);
    await vi.waitFor(() => expect(mistaken()).toHaveLength(4), WITHIN);
    await mkdir(path);
    await vi.waitFor(() => expect(mistaken()).toHaveLength(5), WITHIN);
    expect(
      mistaken()
        .slice(3)
        .flatMap(({ mistakes }) => mistakes),
    ).toEqual([
      `${path}: it is not there`,
      `${path}: it is a folder: Docker makes one where a file that it shall mount is missing`,
    ]);
    expect(await tried(sidecar, one)).toBe(200);
    await rm(path, { recursive: true });
    await writeFile(path, fileOf({ ci: [one, two] }));
    await becomes(sidecar, two, 200);
    // The change rules before it is saved, and is told of once it is.
    await vi.waitFor(async () => expect(await warningsOf(sidecar)).toEqual([]), WITHIN);
    await isUp(sidecar, 1);
  });

  it('does not bring back a key that left it, over a restart either', async () => {
    const [gone, kept] = [generateKey(), generateKey()];
    const state = join(await folderFor(), 'state');
    const { sidecar, path } = await stage(fileOf({ ci: [gone, kept] }), { SIDECAR_STATE: state });
    await writeFile(path, fileOf({ ci: [kept] }));
    await becomes(sidecar, gone, 'revoked_key');
    await writeFile(path, fileOf({ ci: [kept, gone] }));
    await vi.waitFor(async () => {
      expect(await warningsOf(sidecar)).toEqual([
        `the clients file changes nothing: ${path}:3:85: ci: this key was ci-1, and is revoked for good`,
      ]);
    }, WITHIN);
    expect(await tried(sidecar, gone)).toBe('revoked_key');
    await sidecar.drain();
    const settings = { SIDECAR_STATE: state, LITELLM_MASTER_KEY: sidecar.key };
    const again = stage(fileOf({ ci: [gone] }), settings);
    await expect(again).rejects.toThrow(/ci: this key was ci-1, and is revoked for good/);
    const { sidecar: next } = await stage(fileOf({ ci: [kept] }), settings);
    expect([await tried(next, gone), await tried(next, kept)]).toEqual(['revoked_key', 200]);
    await next.drain();
    const without = stages({
      script: (peer: Peer) => peer.answer('200 OK', '{}'),
      settings: { ...settings, SIDECAR_CLIENTS: undefined },
    });
    await expect(without).rejects.toThrow(
      'SIDECAR_CLIENTS is not set, and a clients file rules ci',
    );
  });

  it('rules a client that was made by command, and no command changes it', async () => {
    const { sidecar, path } = await stage('clients: {}\n');
    const made = await adminCall(sidecar, 'POST', '/api/clients', { body: { name: 'ci' } });
    const { key } = made.body as { key: string };
    const own = generateKey();
    await writeFile(path, fileOf({ ci: [own] }));
    await becomes(sidecar, own, 200);
    expect(await tried(sidecar, key)).toBe('revoked_key');
    // The change rules before it is saved, and the file goes once it is.
    await vi.waitFor(() => expect(keyFileOf(sidecar, 'ci')).rejects.toThrow('ENOENT'), WITHIN);
    const calls = [
      ['POST', '/api/clients', { name: 'ci' }],
      ['PATCH', '/api/clients/ci', { limits: { rpm: 5 } }],
      ['DELETE', '/api/clients/ci'],
      ['POST', '/api/clients/ci/rotate', {}],
      ['POST', '/api/clients/ci/rollback', {}],
      ['POST', '/api/clients/ci/disable', {}],
      ['POST', '/api/clients/ci/enable', {}],
      ['POST', '/api/generations/ci-2/revoke', { compromised: true }],
    ] as const;
    for (const [method, at, body] of calls) {
      const answer = await adminCall(sidecar, method, at, body === undefined ? {} : { body });
      expect([at, answer]).toMatchObject([
        at,
        { status: 409, body: { code: 'client_in_file', hints: [`change it there: ${path}`] } },
      ]);
    }
    const { body } = await adminCall(sidecar, 'GET', '/api/audit');
    const told = (body as { lines: { by: string; action: string }[] }).lines;
    expect(told.filter(({ by }) => by === 'clients-file').map(({ action }) => action)).toEqual([
      ...['file-rules', 'key-added', 'revoked'],
    ]);
  });

  it('is written by export, and with it no client needs a new key', async () => {
    const { sidecar, path } = await stage('clients: {}\n');
    const keys = new Map<string, string>();
    for (const name of ['ci', 'dev']) {
      const made = await adminCall(sidecar, 'POST', '/api/clients', {
        body: { name, scopes: ['inference', 'passthrough'], limits: { rpm: 600 } },
      });
      keys.set(name, (made.body as { key: string }).key);
    }
    const rotated = await adminCall(sidecar, 'POST', '/api/clients/ci/rotate', { body: {} });
    keys.set('ci, newer', (rotated.body as { key: string }).key);
    await adminCall(sidecar, 'POST', '/api/clients/dev/disable');
    const { status: code, body } = await adminCall(sidecar, 'GET', '/api/clients-file');
    expect([code, (body as ClientsFileView).leftOut]).toEqual([200, ['dev']]);
    await adminCall(sidecar, 'POST', '/api/clients/dev/enable');
    const { body: all } = await adminCall(sidecar, 'GET', '/api/clients-file');
    await writeFile(path, clientsFileText(all as ClientsFileView));
    await vi.waitFor(async () => {
      const { body: view } = await adminCall(sidecar, 'GET', '/api/clients/ci');
      expect(view).toMatchObject({ inFile: true, limits: { rpm: 600 } });
    }, WITHIN);
    for (const key of keys.values()) expect(await tried(sidecar, key)).toBe(200);
    expect(await keyFileOf(sidecar, 'dev')).toBe(keys.get('dev'));
    for (const key of keys.values()) expect(sidecar.logText()).not.toContain(digestOf(key));
  });

  it('has no client whose key is published', async () => {
    const target = join(await folderFor(), 'ci.key');
    const settings = { SIDECAR_PUBLISH: `ci=file:${target}`, SIDECAR_ROTATE_EVERY: '1h' };
    const started = stage(fileOf({ ci: [generateKey()] }), settings);
    await expect(started).rejects.toThrow(/:2:3: ci: SIDECAR_PUBLISH names it/);
  });

  it('names files with keys, which are followed, too', async () => {
    const [one, two, three] = [generateKey(), generateKey(), generateKey()];
    const folder = await folderFor();
    const keys = join(folder, 'ci.key');
    await writeFile(keys, `${one}\n`);
    const { sidecar } = await stage(`clients:\n  ci:\n    keys_file: ${keys}\n`);
    expect(await tried(sidecar, one)).toBe(200);
    await writeFile(keys, `# the next one\n${one}\n${showDigest(digestOf(two))}\n`);
    await becomes(sidecar, two, 200);
    await writeFile(keys, `${two}\nsk-1234\n`);
    await vi.waitFor(async () => {
      expect((await warningsOf(sidecar))[0]).toContain(
        'ci.keys_file: line 2 of the file: it is a value that everybody knows',
      );
    }, WITHIN);
    await writeFile(keys, `${two}\n${three}\n`);
    await becomes(sidecar, three, 200);
    expect(await tried(sidecar, one)).toBe('revoked_key');
    expect(sidecar.logText()).not.toContain(three);
  });
});
