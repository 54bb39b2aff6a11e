import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { AuditLine } from '../../src/keyring/audit.ts';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { addClient, adminCall, change, refused, rotate, who } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { createStages } from '../support/stage.ts';

const stages = createStages();
const stage = (settings = {}) =>
  stages({ script: (peer: Peer) => peer.answer('200 OK', '{}'), settings });

const auditOf = async ({ state }: { state: string }): Promise<AuditLine[]> =>
  (await readFile(join(state, 'audit.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditLine);

describe('who uses a key', () => {
  it('is known by address and user agent, the latest first', async () => {
    const { sidecar } = await stage({ SIDECAR_TRUSTED_PROXIES: '127.0.0.1' });
    const from = (address: string, agent: string) =>
      get(sidecar, '/v1/models', {
        headers: { 'x-forwarded-for': address, 'user-agent': agent },
      });
    await from('10.0.0.7', 'batch/1');
    await from('10.0.0.8', 'web/2');
    await from('10.0.0.7', 'batch/1');
    const { callers, generation } = await who(sidecar, 'master-1');
    expect(callers.map(({ address, userAgent, count }) => [address, userAgent, count])).toEqual([
      ['10.0.0.7', 'batch/1', 2],
      ['10.0.0.8', 'web/2', 1],
    ]);
    expect(generation).toMatchObject({ uses: 3, recentCallers: 2, inFlight: 0 });
  });
});

describe('a key that ended and comes back', () => {
  it('is told apart, counted, logged with its address, and in the audit once an hour', async () => {
    const { sidecar } = await stage();
    await rotate(sidecar);
    await change(sidecar, 'generations/master-1/revoke', { compromised: true });
    for (let turn = 0; turn < 3; turn++) {
      const { response } = await get(sidecar);
      expect(response.headers['x-sidecar-refusal']).toBe('revoked_key');
    }
    const warned = sidecar
      .logLines()
      .filter(({ msg }) => msg === 'a retired or revoked key was used');
    expect(warned).toMatchObject([{ level: 'warn', generation: 'master-1', address: '127.0.0.1' }]);
    const metrics = await sidecar.metrics();
    expect(metrics).toContain(
      'litellm_sidecar_key_requests_total{client="master",state="revoked"} 3',
    );
    expect(metrics).toContain(
      'litellm_sidecar_tombstone_uses_total{client="master",state="revoked"} 3',
    );
    expect(metrics).toMatch(/rotations_total\{kind="client",trigger="cli",outcome="done"\} 1/);
    await sidecar.drain();
    const uses = (await auditOf(sidecar)).filter(({ action }) => action === 'tombstone-used');
    expect(uses.map(({ from, detail }) => [from, detail?.['address'], detail?.['count']])).toEqual([
      ['master-1', '127.0.0.1', 1],
      ['master-1', '127.0.0.1', 2],
    ]);
  });
});

describe('the audit', () => {
  it('says who did what to which key, in order, and verifies', async () => {
    const { sidecar } = await stage();
    const { as: renewed } = await rotate(sidecar, { grace: '1h' });
    await get(renewed);
    await vi.waitFor(async () =>
      expect((await auditOf(sidecar)).map(({ action }) => action)).toContain('clock-started'),
    );
    await addClient(sidecar, { name: 'ci' });
    await change(sidecar, 'clients/ci/disable');
    const lines = await auditOf(sidecar);
    expect(lines.map(({ by, action, client, from, to }) => [by, action, client, from, to])).toEqual(
      [
        ['declared:environment', 'client-added', 'master', undefined, undefined],
        ['declared:environment', 'rotated', 'master', undefined, 'master-1'],
        ['cli:test', 'rotated', 'master', 'master-1', 'master-2'],
        ['sidecar', 'clock-started', 'master', 'master-1', 'master-2'],
        ['cli:test', 'client-added', 'ci', undefined, undefined],
        ['cli:test', 'rotated', 'ci', undefined, 'ci-1'],
        ['cli:test', 'client-disabled', 'ci', undefined, undefined],
      ],
    );
    const verdict = await adminCall(sidecar, 'GET', '/api/audit/verify');
    expect(verdict.body).toMatchObject({ ok: true });
    const page = await adminCall(sidecar, 'GET', '/api/audit?after=5');
    expect((page.body as { lines: AuditLine[] }).lines.map(({ seq }) => seq)).toEqual([6, 7]);
  });
});

describe('the audit of a LiteLLM that somebody else runs', () => {
  it('says when its key changes, and when the old one is out of use', async () => {
    const [old, next] = [generateKey(), generateKey()];
    const { sidecar } = await stages({
      script: (peer) =>
        peer.values('authorization')[0] === `Bearer ${next}`
          ? peer.answer('200 OK', '{"data":[{"id":"model"}]}')
          : peer.answer('401 Unauthorized', '{}'),
      settings: { SIDECAR_UPSTREAM_KEY: undefined, SIDECAR_HANDOVER_TIMEOUT: '1s' },
      surroundings: { dotenv: `SIDECAR_UPSTREAM_KEY=${old}\n` },
    });
    await writeFile(join(sidecar.cwd, '.env'), `SIDECAR_UPSTREAM_KEY=${next}\n`);
    const told = async () =>
      (await auditOf(sidecar))
        .filter(({ action }) => action.startsWith('upstream-'))
        .map(({ by, action }) => [by, action]);
    await vi.waitFor(
      async () =>
        expect(await told()).toEqual([
          ['sidecar', 'upstream-key-changes'],
          ['sidecar', 'upstream-key-changed'],
        ]),
      10_000,
    );
    const verdict = await adminCall(sidecar, 'GET', '/api/audit/verify');
    expect(verdict.body).toMatchObject({ ok: true });
  }, 15_000);
});

describe('the admin API on the ops port', () => {
  const token = 'an-operators-token-0123456789';

  it('is there only with a token, and only for who has it', async () => {
    const { sidecar } = await stage({ SIDECAR_ADMIN_TOKEN: token });
    const at = `http://127.0.0.1:${sidecar.opsPort}/api/status`;
    expect((await fetch(at)).status).toBe(401);
    const wrong = { headers: { authorization: `Bearer ${sidecar.key}` } };
    expect((await fetch(at, wrong)).status).toBe(401);
    const right = await fetch(at, { headers: { authorization: `Bearer ${token}` } });
    expect(right.status).toBe(200);
    const without = await stage();
    expect((await fetch(`http://127.0.0.1:${without.sidecar.opsPort}/api/status`)).status).toBe(
      404,
    );
  });

  it('rotates, and is in the audit with its address', async () => {
    const { sidecar } = await stage({ SIDECAR_ADMIN_TOKEN: token });
    const at = `http://127.0.0.1:${sidecar.opsPort}/api/clients/master/rotate`;
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(at, { method: 'POST', headers, body: '{"grace":"2h"}' });
    expect(answer.status).toBe(200);
    const { key } = (await answer.json()) as { key: string };
    expect((await get({ ...sidecar, key })).response.statusCode).toBe(200);
    // Its use is in there as well, as soon as that is saved.
    const rotated = (await auditOf(sidecar)).findLast(({ action }) => action === 'rotated');
    expect(rotated).toMatchObject({ to: 'master-2', by: 'api:127.0.0.1' });
  });
});

describe('nothing that is written or said', () => {
  it('holds a key, or outside the keyring a digest of one', async () => {
    const { sidecar } = await stage({ SIDECAR_ADMIN_TOKEN: 'an-operators-token-0123456789' });
    const second = await rotate(sidecar);
    const ci = await addClient(sidecar, { name: 'ci' });
    for (const key of [sidecar.key, second.as.key, ci.as.key]) await get({ ...sidecar, key });
    await change(sidecar, 'generations/master-1/revoke', { compromised: true });
    const no = await refused(sidecar, '/api/clients/master/rotate', { grace: second.as.key });
    await get(sidecar);
    const status = await adminCall(sidecar, 'GET', '/api/status');
    const metrics = await sidecar.metrics();
    await sidecar.drain();
    const file = (name: string) => readFile(join(sidecar.state, name), 'utf8');
    const keyring = `${await file('keyring.json')}${await file('keyring.json.bak')}`;
    const others = [
      await file('audit.jsonl'),
      await file('usage.json'),
      sidecar.logText(),
      metrics,
      JSON.stringify(no),
      JSON.stringify(status),
    ].join('\n');
    for (const key of [sidecar.key, second.as.key, ci.as.key]) {
      expect(keyring).toContain(digestOf(key));
      expect(keyring.includes(key)).toBe(false);
      expect(others.includes(key)).toBe(false);
      expect(others.includes(digestOf(key))).toBe(false);
    }
  });
});
