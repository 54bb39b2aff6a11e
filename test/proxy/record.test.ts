import { describe, expect, it, vi } from 'vitest';
import { reasonOf } from '../../src/proxy/record.ts';
import { get, post } from '../support/ask.ts';
import { createGatewayStages, type GatewayStage } from '../support/gateway-stage.ts';
import { KEYS, knownKey, policyWith, snapshotOf } from '../support/policies.ts';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { SWITCHED, upgradeBytes } from '../support/websocket.ts';

const stage = createGatewayStages();
const CHAT = 'POST /v1/chat/completions';
const CHECK = { 'user-agent': 'litellm-sidecar-check/0.1.0' };

const at = ({ port }: GatewayStage, key: string) => ({ port, key });
const clients = (told: GatewayStage['uses']) => told.map(({ key }) => key.client);

/** A gateway where an older key than `full` waits for its first use. */
async function waiting() {
  const it = await stage();
  const key = knownKey('full', { startsClock: true });
  const keyring = snapshotOf([[KEYS.full, key]]);
  it.policy.current = policyWith({ admission: { ...policyWith().admission, keyring } });
  return { ...it, key };
}

describe('that a key is used', () => {
  it('is told when the request is judged, long before it ends', async () => {
    const it = await stage();
    const caller = await callWith(at(it, KEYS.inference), CHAT, {
      body: '{}',
      fields: ['User-Agent: OpenAI/Python 2.1.0'],
    });
    const peer = await it.upstream.next();
    expect(it.uses).toHaveLength(1);
    expect(it.uses[0]?.key.id).toBe('inference-1');
    expect(it.uses[0]?.caller).toMatchObject({
      client: 'inference',
      generation: 'inference-1',
      address: '127.0.0.1',
      userAgent: 'OpenAI/Python 2.1.0',
    });
    expect(it.records).toEqual([]);
    peer.answer('200 OK', 'done');
    await caller.until('done');
    await vi.waitFor(() => expect(it.records).toHaveLength(1));
    expect(it.records[0]?.userAgent).toBe('OpenAI/Python 2.1.0');
    expect(it.uses).toHaveLength(1);
  });

  it('is told of what is refused, where the key is known', async () => {
    const it = await stage();
    for (const key of [KEYS.retired, KEYS.revoked, KEYS.office]) await get(at(it, key));
    await get(at(it, KEYS.inference), '/key/list');
    expect(clients(it.uses)).toEqual(['retired', 'revoked', 'office', 'inference']);
    expect(it.uses[1]?.key.fault).toBe('revoked_key');
    await get(at(it, 'sk-nobody'));
    await get(at(it, KEYS.full), '/health/liveliness');
    await get(at(it, KEYS.full), '/prompts/test');
    await get(at(it, KEYS.full), '/v1/models', {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app',
        'access-control-request-method': 'GET',
        connection: 'close',
      },
    });
    expect(it.upstream.requests).toEqual([]);
    expect(it.uses).toHaveLength(4);
  });

  it('is told of a WebSocket, also of one that is refused', async () => {
    const it = await stage();
    for (const key of [KEYS.inference, KEYS.revoked, KEYS.passthrough]) {
      const caller = await callRaw(it.port);
      caller.send(upgradeBytes({ key }));
      if (key === KEYS.inference) (await it.upstream.next()).write(SWITCHED);
      await caller.until('\r\n\r\n');
    }
    expect(clients(it.uses)).toEqual(['inference', 'revoked', 'passthrough']);
  });

  it('is not told of a check of our own, unless its key opens nothing', async () => {
    const it = await stage();
    void it.upstream.next().then((peer) => peer.answer('200 OK'));
    await get(at(it, KEYS.full), '/v1/models', { headers: CHECK });
    await get(at(it, KEYS.revoked), '/v1/models', { headers: CHECK });
    expect(clients(it.uses)).toEqual(['revoked']);
  });

  it('is told with the first 200 characters of a user agent, or none', async () => {
    const it = await stage();
    const long = `${'é'.repeat(150)}${'x'.repeat(5000)}`;
    await get(at(it, KEYS.revoked), '/v1/models', { headers: { 'user-agent': long } });
    await get(at(it, KEYS.revoked));
    expect(it.uses.map(({ caller }) => caller.userAgent)).toEqual([long.slice(0, 200), '']);
  });
});

describe('the first answer to a new key', () => {
  it.each([
    ['200 OK', 1],
    ['206 Partial Content', 1],
    ['302 Found', 0],
    ['401 Unauthorized', 0],
    ['500 Internal Server Error', 0],
  ])('is told of %s: %i', async (status, count) => {
    const it = await waiting();
    const answered = post(at(it, KEYS.full));
    const peer = await it.upstream.next();
    expect(it.firstAnswers).toEqual([]);
    peer.answer(status);
    await answered;
    expect(it.firstAnswers).toHaveLength(count);
    expect(it.firstAnswers.every(({ key }) => key === it.key)).toBe(true);
  });

  it('is told at the head of a stream that goes on', async () => {
    const it = await waiting();
    const caller = await callWith(at(it, KEYS.full), CHAT, { body: '{}' });
    (await it.upstream.next()).head('200 OK', 'content-type: text/event-stream');
    await caller.until('\r\n\r\n');
    expect(it.firstAnswers).toMatchObject([{ caller: { generation: 'full-1' } }]);
    expect(it.records).toEqual([]);
  });

  it.each([
    [SWITCHED, 1],
    ['HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n', 0],
  ])('is told of a WebSocket that is answered %j: %i', async (answer, count) => {
    const it = await waiting();
    const caller = await callRaw(it.port);
    caller.send(upgradeBytes({ key: KEYS.full }));
    (await it.upstream.next()).write(answer);
    await caller.until('\r\n\r\n');
    expect(it.firstAnswers).toHaveLength(count);
  });

  it('is not told of a check of our own, nor of a key that no other waits for', async () => {
    const it = await waiting();
    const answer = async (): Promise<void> => (await it.upstream.next()).answer('200 OK');
    await Promise.all([answer(), get(at(it, KEYS.full), '/v1/models', { headers: CHECK })]);
    it.policy.current = policyWith();
    await Promise.all([answer(), get(at(it, KEYS.full))]);
    expect(it.firstAnswers).toEqual([]);
    expect(it.uses).toHaveLength(1);
  });

  it('is not told of what never reached LiteLLM', async () => {
    const it = await waiting();
    const caller = await callRaw(it.port);
    caller.send(requestBytes(at(it, KEYS.full), 'GET /health/liveliness'));
    await caller.until('alive');
    expect(it.firstAnswers).toEqual([]);
  });
});

describe('the reason in a record', () => {
  const withCode = (message: string, code: unknown): Error =>
    Object.assign(new Error(message), { code });

  it.each([
    [withCode('other side closed', 'UND_ERR_SOCKET'), 'UND_ERR_SOCKET: other side closed'],
    [withCode('read ECONNRESET', 'ECONNRESET'), 'read ECONNRESET'],
    [new Error('Invalid character in chunk size'), 'Invalid character in chunk size'],
    [withCode('odd', 7), 'odd'],
    [new Error('two\r\nlines\u001b[31m'), 'two lines [31m'],
    [new Error('it said sk-0123456789abcdef, AIza0123456789abc'), 'it said [redacted], [redacted]'],
    ['a thrown text with sk-0123456789abcdef', 'string'],
    [null, 'object'],
  ])('is a code and a message, in one line without a key: %o', (error, reason) => {
    expect(reasonOf(error)).toBe(reason);
  });

  it('is short', () => {
    expect(reasonOf(new Error('x'.repeat(10_000)))).toHaveLength(200);
  });

  it('says what went wrong where a request could not be judged', async () => {
    const it = await waiting();
    const crash = (): never => {
      throw new TypeError('no such route');
    };
    it.policy.current = { ...policyWith(), classify: crash };
    await get(at(it, KEYS.full));
    const said = { refusal: 'sidecar_failed', abortReason: 'no such route' };
    expect(it.records).toMatchObject([said]);
  });
});
