import { describe, expect, it, vi } from 'vitest';
import {
  addClient,
  adminCall,
  change,
  clientOf,
  generationOf,
  keyFileOf,
  refused,
  rotate,
  statesOf,
} from '../support/admin.ts';
import { ask, outcomeOf } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
const answering = { script: (peer: Peer) => peer.answer('200 OK', '{}') };

describe('a rotation', () => {
  it('has both keys good, until the grace after the first use of the new one is over', async () => {
    const { sidecar } = await stage(answering);
    const { as: renewed, previous } = await rotate(sidecar, { grace: '700ms' });
    expect(previous[0]).toMatchObject({ id: 'master-1', state: 'retiring', clockStarted: false });
    expect(await outcomeOf(sidecar)).toBe(200);
    expect(await generationOf(sidecar, 'master-1')).toMatchObject({ clockStarted: false });
    const before = Date.now();
    expect(await outcomeOf(renewed)).toBe(200);
    const old = await vi.waitFor(async () => {
      const view = await generationOf(sidecar, 'master-1');
      expect(view.clockStarted).toBe(true);
      return view;
    });
    const end = Date.parse(old.validUntil ?? '');
    expect(end - before).toBeGreaterThanOrEqual(690);
    expect(end - before).toBeLessThan(2000);
    expect(await outcomeOf(sidecar)).toBe(200);
    await vi.waitFor(async () => expect(await outcomeOf(sidecar)).toBe('401 expired_key'), 5000);
    expect(Date.now()).toBeGreaterThanOrEqual(end);
    expect(await outcomeOf(renewed)).toBe(200);
    expect(await statesOf(sidecar)).toEqual({ 'master-2': 'active', 'master-1': 'retired' });
  });

  it('takes effect for the next request, and stands in the key file by then', async () => {
    const { sidecar } = await stage(answering);
    for (let turn = 2; turn <= 6; turn++) {
      const { as: renewed, generation } = await rotate(sidecar);
      expect(generation.id).toBe(`master-${turn}`);
      expect(await keyFileOf(sidecar)).toBe(renewed.key);
      expect(await outcomeOf(renewed)).toBe(200);
      expect(await outcomeOf(sidecar)).toBe(200);
    }
  });

  it.each([
    ['an answer that is no success', '500 Internal Server Error', {}],
    ['our own check', '200 OK', { 'user-agent': 'litellm-sidecar-check/0.1.0' }],
  ])('the clock of the old key is not started by %s', async (_, answer, headers) => {
    const { sidecar } = await stage({ script: (peer) => peer.answer(answer, '{}') });
    const { as: renewed } = await rotate(sidecar, { grace: '1s' });
    await outcomeOf(renewed, '/v1/models', headers);
    // What is asked after it on the same socket has seen whatever it did.
    await change(sidecar, 'clients/master/disable');
    await change(sidecar, 'clients/master/enable');
    expect(await generationOf(sidecar, 'master-1')).toMatchObject({ clockStarted: false });
  });

  it('a second one leaves the grace of the first as it is', async () => {
    const { sidecar } = await stage(answering);
    const second = await rotate(sidecar, { grace: '10m' });
    await outcomeOf(second.as);
    const until = await vi.waitFor(async () => {
      const { clockStarted, validUntil } = await generationOf(sidecar, 'master-1');
      expect(clockStarted).toBe(true);
      return validUntil;
    });
    const third = await rotate(sidecar, { grace: '20m' });
    await outcomeOf(third.as);
    await vi.waitFor(async () =>
      expect(await generationOf(sidecar, 'master-2')).toMatchObject({ clockStarted: true }),
    );
    expect((await generationOf(sidecar, 'master-1')).validUntil).toBe(until);
  });

  it('with a grace of zero retires a key that nobody used, and asks before it ends one in use', async () => {
    const { sidecar } = await stage(answering);
    const unused = await rotate(sidecar, { grace: '0' });
    expect(unused.previous[0]).toMatchObject({ id: 'master-1', state: 'retired' });
    expect(await outcomeOf(sidecar)).toBe('401 expired_key');
    await outcomeOf(unused.as, '/v1/models', { 'user-agent': 'a-batch-job/7' });
    const before = await statesOf(sidecar);
    const no = await refused(sidecar, '/api/clients/master/rotate', { grace: '0' });
    expect(no).toMatchObject({ status: 409, code: 'in_use' });
    expect(no.who?.callers[0]).toMatchObject({ address: '127.0.0.1', userAgent: 'a-batch-job/7' });
    expect(await statesOf(sidecar)).toEqual(before);
    await rotate(sidecar, { grace: '0', force: true });
    expect(await outcomeOf(unused.as)).toBe('401 expired_key');
  });

  it('is refused with eight valid keys, and says which to let go first', async () => {
    const { sidecar } = await stage(answering);
    for (let turn = 0; turn < 7; turn++) await rotate(sidecar);
    const before = await statesOf(sidecar);
    const no = await refused(sidecar, '/api/clients/master/rotate');
    expect(no).toMatchObject({ status: 409, code: 'too_many_generations' });
    expect(no.hints.join(' ')).toContain('master-1');
    expect(await statesOf(sidecar)).toEqual(before);
    await change(sidecar, 'generations/master-1/revoke');
    await rotate(sidecar);
  });
});

describe('a rollback', () => {
  it('makes the key before good for good, and the one that replaced it a revoked one', async () => {
    const { sidecar } = await stage(answering);
    const { as: renewed } = await rotate(sidecar, { grace: '1s' });
    await outcomeOf(renewed);
    const { notes } = await change(sidecar, 'clients/master/rollback');
    expect(await statesOf(sidecar)).toEqual({ 'master-2': 'revoked', 'master-1': 'active' });
    expect(await outcomeOf(renewed)).toBe('401 revoked_key');
    expect(await outcomeOf(sidecar)).toBe(200);
    // It is declared, so its plaintext is at hand.
    expect(notes).toEqual([]);
    expect(await keyFileOf(sidecar)).toBe(sidecar.key);
    expect((await clientOf(sidecar)).generations[1]).toMatchObject({ validUntil: null });
  });

  it('of a key that was made says that its plaintext is not kept', async () => {
    const { sidecar } = await stage(answering);
    const first = await rotate(sidecar);
    await rotate(sidecar);
    const { notes } = await change(sidecar, 'clients/master/rollback');
    expect(notes.join(' ')).toContain('master-2');
    await expect(keyFileOf(sidecar)).rejects.toThrow('ENOENT');
    expect(await outcomeOf(first.as)).toBe(200);
  });

  it('that is sent twice goes back one key where it says from which', async () => {
    const { sidecar } = await stage(answering);
    await rotate(sidecar);
    await rotate(sidecar);
    const from = 'master-3';
    const path = '/api/clients/master/rollback';
    const answers = await Promise.all(
      [1, 2].map(() => adminCall(sidecar, 'POST', path, { body: { from } })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect(await refused(sidecar, path, { from })).toMatchObject({ code: 'not_the_active_key' });
    expect(await statesOf(sidecar)).toMatchObject({ 'master-2': 'active', 'master-1': 'retiring' });
  });

  it('is refused where nothing retires, and after a compromise', async () => {
    const { sidecar } = await stage(answering);
    expect(await refused(sidecar, '/api/clients/master/rollback')).toMatchObject({
      status: 409,
      code: 'nothing_to_roll_back',
    });
    await rotate(sidecar, { compromised: true });
    const before = await statesOf(sidecar);
    expect(await refused(sidecar, '/api/clients/master/rollback')).toMatchObject({
      status: 409,
      code: 'no_rollback_after_compromise',
    });
    expect(await statesOf(sidecar)).toEqual(before);
  });
});

describe('a compromise', () => {
  /** A stream of LiteLLM's that has begun, and does not end by itself. */
  async function beginStream(sidecar: { port: number; key: string }) {
    const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
    asked.request.end('{}');
    const response = await asked.answer;
    const closed = new Promise<void>((resolve) => {
      response.once('error', () => resolve());
      response.once('close', () => resolve());
    });
    response.resume();
    return { response, closed };
  }
  const streaming = {
    script: (peer: Peer) => {
      peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
      peer.chunk('data: first\n\n');
    },
  };

  it.each([
    ['a rotation', (at: { state: string }) => rotate(at, { compromised: true })],
    [
      'a revocation',
      (at: { state: string }) => change(at, 'generations/master-1/revoke', { compromised: true }),
    ],
  ])('by %s cuts the streams of that key at once, and only those', async (_, act) => {
    const { sidecar } = await stage(streaming);
    const other = await addClient(sidecar, { name: 'ci' });
    const mine = await beginStream(sidecar);
    const theirs = await beginStream(other.as);
    const { cut } = await act(sidecar);
    await mine.closed;
    expect(mine.response.complete).toBe(false);
    expect(cut).toBe(1);
    expect(theirs.response.destroyed).toBe(false);
    expect(await outcomeOf(sidecar)).toBe('401 revoked_key');
    theirs.response.destroy();
  });

  it('needs no force, and takes every older key away', async () => {
    const { sidecar } = await stage(answering);
    const second = await rotate(sidecar);
    await outcomeOf(sidecar);
    await outcomeOf(second.as);
    const third = await rotate(sidecar, { compromised: true });
    expect(await outcomeOf(sidecar)).toBe('401 revoked_key');
    expect(await outcomeOf(second.as)).toBe('401 revoked_key');
    expect(await outcomeOf(third.as)).toBe(200);
  });
});

describe('a revocation', () => {
  it('of a key in use says who would break, and wants force', async () => {
    const { sidecar } = await stage(answering);
    await rotate(sidecar);
    await outcomeOf(sidecar, '/v1/models', { 'user-agent': 'old-service/1' });
    const before = await statesOf(sidecar);
    const no = await refused(sidecar, '/api/generations/master-1/revoke');
    expect(no).toMatchObject({ status: 409, code: 'in_use' });
    expect(no.who?.callers).toMatchObject([{ userAgent: 'old-service/1', count: 1 }]);
    expect(await statesOf(sidecar)).toEqual(before);
    await change(sidecar, 'generations/master-1/revoke', { force: true });
    expect(await outcomeOf(sidecar)).toBe('401 revoked_key');
  });

  it('of one that ended, or never was, is refused with the near name', async () => {
    const { sidecar } = await stage(answering);
    await rotate(sidecar, { grace: '0' });
    const before = await statesOf(sidecar);
    expect(await refused(sidecar, '/api/generations/master-1/revoke')).toMatchObject({
      code: 'already_ended',
    });
    const no = await refused(sidecar, '/api/generations/mater-2/revoke');
    expect(no).toMatchObject({ status: 404, code: 'unknown_generation' });
    expect(no.hints.join(' ')).toContain('master-2');
    expect(await statesOf(sidecar)).toEqual(before);
  });
});
