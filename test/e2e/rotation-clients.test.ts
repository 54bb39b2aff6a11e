import { describe, expect, it, vi } from 'vitest';
import type { AuditLine } from '../../src/keyring/audit.ts';
import {
  addClient,
  adminCall,
  change,
  clientOf,
  keyFileOf,
  refused,
  rotate,
  setClient,
  statesOf,
  status,
} from '../support/admin.ts';
import { get, outcomeOf } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
const answering = { script: (peer: Peer) => peer.answer('200 OK', '{}') };
const MODELS = '{"object":"list","data":[{"id":"gpt-4o"},{"id":"mock"}]}';
const listing = { script: (peer: Peer) => peer.answer('200 OK', MODELS) };

describe('a named client', () => {
  it('has a key of its own, and the scopes that it was given', async () => {
    const { sidecar } = await stage(answering);
    const ci = await addClient(sidecar, { name: 'ci', scopes: ['inference'] });
    expect(ci.generation.id).toBe('ci-1');
    expect(await keyFileOf(sidecar, 'ci')).toBe(ci.as.key);
    expect(await outcomeOf(ci.as)).toBe(200);
    expect(await outcomeOf(ci.as, '/key/info')).toBe('403 scope_denied');
    expect(await outcomeOf(ci.as, '/anthropic/v1/messages')).toBe('403 scope_denied');
    const raw = await addClient(sidecar, { name: 'raw', scopes: ['passthrough'] });
    expect(await outcomeOf(raw.as, '/anthropic/v1/messages')).toBe(200);
    expect(await outcomeOf(raw.as)).toBe('403 scope_denied');
    const admin = await addClient(sidecar, { name: 'admin', scopes: ['full'] });
    expect(await outcomeOf(admin.as, '/key/info')).toBe(200);
    expect(await outcomeOf(admin.as)).toBe(200);
  });

  it('is let in from its addresses only', async () => {
    const { sidecar } = await stage(answering);
    const far = await addClient(sidecar, { name: 'far', allowFrom: ['10.0.0.0/8'] });
    const near = await addClient(sidecar, { name: 'near', allowFrom: ['127.0.0.0/8', '::1'] });
    expect(await outcomeOf(far.as)).toBe('403 address_denied');
    expect(await outcomeOf(near.as)).toBe(200);
  });

  it('is named to LiteLLM as the end user, whoever it says it is', async () => {
    const { sidecar, upstream } = await stage(answering);
    const ci = await addClient(sidecar, { name: 'ci' });
    const chat = await addClient(sidecar, { name: 'chat', namesEndUsers: true });
    const said = { 'x-litellm-end-user-id': 'boss', 'x-litellm-customer-id': 'boss' };
    const told = async (as: { port: number; key: string }) => {
      await get(as, '/v1/models', { headers: said });
      const peer = upstream.requests.at(-1);
      return Object.keys(said).flatMap((name) => peer?.values(name) ?? []);
    };
    expect(await told(ci.as)).toEqual(['ci']);
    expect(await told(chat.as)).toEqual(['boss', 'boss']);
    expect(await told(sidecar)).toEqual(['boss', 'boss']);
  });

  it('ends with its date, at that instant', async () => {
    let ahead = 0;
    const clock = {
      now: () => Date.now() + ahead,
      elapsed: () => performance.now() + ahead,
    };
    const { sidecar } = await stage({ ...answering, surroundings: { clock } });
    const guest = await addClient(sidecar, { name: 'guest', expires: '1h' });
    expect(await outcomeOf(guest.as)).toBe(200);
    const end = Date.parse((await clientOf(sidecar, 'guest')).expiresAt ?? '');
    ahead = end - Date.now() - 2000;
    expect(await outcomeOf(guest.as)).toBe(200);
    ahead += 3000;
    expect(await outcomeOf(guest.as)).toBe('401 expired_key');
    expect((await clientOf(sidecar, 'guest')).state).toBe('expired');
    expect(await outcomeOf(sidecar)).toBe(200);
  });

  it('may do what it is set to, at once, and status warns of what is nearly used', async () => {
    const { sidecar } = await stage(listing);
    const ci = await addClient(sidecar, { name: 'ci', limits: { rpm: 2 }, models: ['gpt-4o*'] });
    expect([await outcomeOf(ci.as), await outcomeOf(ci.as)]).toEqual([200, 200]);
    expect(await outcomeOf(ci.as)).toBe('429 rate_limited');
    const before = await clientOf(sidecar, 'ci');
    expect(before).toMatchObject({ limits: { rpm: 2, mode: 'refuse' }, models: ['gpt-4o*'] });
    expect(before.use?.requestsLastMinute).toBe(2);
    expect((await status(sidecar)).warnings).toMatchObject([
      {
        code: 'limit_nearly_used',
        message: 'ci has used 100 % of its requests of the last minute',
      },
    ]);
    const limits = { rpm: null, usdPerDay: '0.50', mode: 'record' };
    const set = await setClient(sidecar, 'ci', { limits, models: null, expires: '1h' });
    expect(set.client.limits).toMatchObject({ rpm: null, usdPerDay: 0.5, mode: 'record' });
    expect(set.notes).toEqual([
      'rpm: 2 → none',
      'usdPerDay: none → 0.5',
      'limitMode: refuse → record',
      'models: gpt-4o* → all',
      expect.stringMatching(/^expiresAt: never → 20/),
    ]);
    expect(await outcomeOf(ci.as)).toBe(200);
    expect((await status(sidecar)).warnings).toEqual([]);
    const audit = await adminCall(sidecar, 'GET', '/api/audit');
    const line = (audit.body as { lines: AuditLine[] }).lines.at(-1);
    expect(line).toMatchObject({ by: 'cli:test', action: 'client-changed', client: 'ci' });
    expect(line?.detail).toMatchObject({ rpm: '2 → none', models: 'gpt-4o* → all' });
    await setClient(sidecar, 'ci', { allowFrom: ['192.0.2.7'] });
    expect(await outcomeOf(ci.as)).toBe('403 address_denied');
    const again = await setClient(sidecar, 'ci', { allowFrom: ['192.0.2.7/32'] });
    expect(again.notes).toEqual(['it was so before']);
  });

  it('is warned of where it may use what LiteLLM does not list', async () => {
    const { sidecar } = await stage({ ...listing, models: ['gpt-4o', 'mock'] });
    await addClient(sidecar, { name: 'ci', models: ['gpt-4o*', 'mok'] });
    await vi.waitFor(async () =>
      expect((await status(sidecar)).warnings).toMatchObject([
        {
          code: 'models_not_listed',
          message: 'clients may use what LiteLLM does not list: ci mok',
        },
      ]),
    );
    expect((await clientOf(sidecar, 'ci')).unlistedModels).toEqual(['mok']);
    const models = ['gpt-5*', 'mock'];
    const { notes } = await setClient(sidecar, 'ci', { models });
    expect(notes.at(-1)).toBe('LiteLLM does not list: gpt-5*');
    await setClient(sidecar, 'ci', { models: ['mo*'] });
    expect((await status(sidecar)).warnings).toEqual([]);
  });

  it('has no limit of nothing, and no end where it is master', async () => {
    const { sidecar } = await stage(listing);
    const ofMaster = await refused(sidecar, '/api/clients/master', { expires: '1h' }, 'PATCH');
    expect(ofMaster).toMatchObject({ status: 400, code: 'bad_expiry' });
    const mode = { limits: { mode: 'record' } };
    const no = await refused(sidecar, '/api/clients', { name: 'ci', ...mode });
    expect(no).toMatchObject({ status: 400, code: 'bad_limits' });
    expect(await refused(sidecar, '/api/clients/master', mode, 'PATCH')).toMatchObject({
      code: 'bad_limits',
    });
    await setClient(sidecar, 'master', { limits: { rpm: 1 }, models: ['mock'] });
    expect([await outcomeOf(sidecar), await outcomeOf(sidecar)]).toEqual([200, '429 rate_limited']);
  });

  it('is disabled and enabled again, and removed for good', async () => {
    const { sidecar } = await stage(answering);
    const ci = await addClient(sidecar, { name: 'ci' });
    await change(sidecar, 'clients/ci/disable');
    expect(await outcomeOf(ci.as)).toBe('401 revoked_key');
    await change(sidecar, 'clients/ci/enable');
    expect(await outcomeOf(ci.as)).toBe(200);
    const no = await refused(sidecar, '/api/clients/ci', {}, 'DELETE');
    expect(no).toMatchObject({ status: 409, code: 'in_use' });
    await adminCall(sidecar, 'DELETE', '/api/clients/ci?force=true');
    expect(await outcomeOf(ci.as)).toBe('401 revoked_key');
    await expect(keyFileOf(sidecar, 'ci')).rejects.toThrow('ENOENT');
    const { body } = await adminCall(sidecar, 'GET', '/api/clients');
    expect(JSON.stringify(body)).not.toContain('"ci"');
    // Its name may be used again; its keys may not.
    const again = await addClient(sidecar, { name: 'ci' });
    expect(again.generation.id).toBe('ci-2');
    expect(await outcomeOf(ci.as)).toBe('401 revoked_key');
  });

  it.each([{}, { compromised: true }])('stays disabled when it is rotated: %j', async (how) => {
    const { sidecar } = await stage(answering);
    const ci = await addClient(sidecar, { name: 'ci' });
    await change(sidecar, 'clients/ci/disable');
    const renewed = await rotate(sidecar, how, { client: 'ci' });
    expect(renewed.clientState).toBe('disabled');
    expect(await outcomeOf(renewed.as)).toBe('401 revoked_key');
    expect(await outcomeOf(ci.as)).toBe('401 revoked_key');
    await change(sidecar, 'clients/ci/enable');
    expect(await outcomeOf(renewed.as)).toBe(200);
  });

  it('rotates by itself: nobody else notices', async () => {
    const { sidecar } = await stage(answering);
    const ci = await addClient(sidecar, { name: 'ci' });
    const renewed = await rotate(sidecar, { grace: '0' }, { client: 'ci' });
    expect(await outcomeOf(ci.as)).toBe('401 expired_key');
    expect(await outcomeOf(renewed.as)).toBe(200);
    expect(await outcomeOf(sidecar)).toBe(200);
    expect(await statesOf(sidecar)).toEqual({ 'master-1': 'active' });
  });

  it.each([
    ['a name that is taken', { name: 'master' }, 409, 'client_exists'],
    ['a name with capitals', { name: 'CI' }, 400, undefined],
    ['a scope that does not exist', { name: 'ci', scopes: ['everything'] }, 400, undefined],
    ['an address that is none', { name: 'ci', allowFrom: ['10.0.0.0/99'] }, 400, undefined],
    ['an end date without a unit', { name: 'ci', expires: '90' }, 400, undefined],
  ])('is refused with %s, and nothing is left of it', async (_, body, status, code) => {
    const { sidecar } = await stage(answering);
    const no = await refused(sidecar, '/api/clients', body);
    expect(no.status).toBe(status);
    if (code !== undefined) expect(no.code).toBe(code);
    const { body: list } = await adminCall(sidecar, 'GET', '/api/clients');
    expect((list as { clients: unknown[] }).clients).toHaveLength(1);
  });

  it.each([
    ['rotate', '/api/clients/stagin/rotate'],
    ['rollback', '/api/clients/stagin/rollback'],
    ['disable', '/api/clients/stagin/disable'],
  ])('%s of one that does not exist names the near one', async (_, path) => {
    const { sidecar } = await stage(answering);
    await addClient(sidecar, { name: 'staging' });
    const no = await refused(sidecar, path);
    expect(no).toMatchObject({ status: 404, code: 'unknown_client' });
    expect(no.hints.join(' ')).toContain('staging');
  });
});

describe('an Idempotency-Key', () => {
  it('makes one key, however often it is asked, at the same time too', async () => {
    const { sidecar } = await stage(answering);
    const headers = { 'idempotency-key': 'tuesday-1' };
    const [one, two] = await Promise.all([
      rotate(sidecar, {}, { headers }),
      rotate(sidecar, {}, { headers }),
    ]);
    const three = await rotate(sidecar, {}, { headers });
    expect(new Set([one.key, two.key, three.key]).size).toBe(1);
    expect([one.replayed, two.replayed].sort()).toEqual([false, true]);
    expect(three.replayed).toBe(true);
    expect(Object.keys(await statesOf(sidecar))).toHaveLength(2);
    const other = await adminCall(sidecar, 'POST', '/api/clients/master/rotate', {
      body: { grace: '1h' },
      headers,
    });
    expect(other.status).toBe(422);
    expect(Object.keys(await statesOf(sidecar))).toHaveLength(2);
  });

  it('does not pass a leaked key off as rotated by somebody else at the same time', async () => {
    const { sidecar } = await stage(answering);
    const headers = { 'idempotency-key': 'both-at-once' };
    const bodies = [{ compromised: false }, { compromised: true }];
    const answers = await Promise.all(
      bodies.map((body) =>
        adminCall(sidecar, 'POST', '/api/clients/master/rotate', { body, headers }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 422]);
    const no = answers.find(({ status }) => status === 422);
    expect(no?.body).toMatchObject({ code: 'idempotency_mismatch' });
  });
});
