import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { createRouteTable } from '../../src/litellm/routes.ts';
import { createLiveKeys, provesKey } from '../../src/proxy/upstream-keys.ts';
import { Secret } from '../../src/secret.ts';
import { createGatewayStages } from '../support/gateway-stage.ts';
import { KEYS, OPEN_TABLE } from '../support/policies.ts';
import { callWith } from '../support/raw-caller.ts';

function start() {
  const time = { now: 0 };
  const told: string[] = [];
  const keys = createLiveKeys(new Secret(generateKey()), {
    keyHeader: undefined,
    elapsed: () => time.now,
    onAccepted: (rank) => told.push(rank),
  });
  const two = () => keys.use(new Secret(generateKey()), new Secret(generateKey()));
  return { keys, time, told, two };
}

describe('live keys', () => {
  it('are one at first: nothing is chosen, and nothing told', () => {
    const { keys, told } = start();
    keys.noteAccepted(keys.best);
    expect([keys.other, keys.pick(keys.best), told]).toEqual([undefined, keys.best, []]);
  });

  it('are tried in the order in which they were given, then in that of what was taken', () => {
    const { keys, two } = start();
    two();
    const { best: first, other: second } = keys;
    expect(second).not.toBe(first);
    expect([keys.pick(undefined), keys.pick(first)]).toEqual([first, second]);
    if (second !== undefined) keys.noteAccepted(second);
    expect([keys.best, keys.other]).toEqual([second, first]);
    expect([keys.pick(undefined), keys.pick(second), keys.pick(first)]).toEqual([
      second,
      first,
      second,
    ]);
  });

  it('are told of at each change, and otherwise once a second', () => {
    const { keys, two, told, time } = start();
    two();
    const [first, second] = [keys.best, keys.other ?? keys.best];
    for (let n = 0; n < 10; n++) keys.noteAccepted(first);
    expect(told).toEqual(['first']);
    keys.noteAccepted(second);
    keys.noteAccepted(second);
    keys.noteAccepted(first);
    expect(told).toEqual(['first', 'second', 'first']);
    time.now = 999;
    keys.noteAccepted(first);
    time.now = 1000;
    keys.noteAccepted(first);
    expect(told).toEqual(['first', 'second', 'first', 'first']);
  });

  it('are the same in another order: what was sent before it is told by the new one', () => {
    const { keys, told } = start();
    const [x, y, z] = [generateKey(), generateKey(), generateKey()].map((key) => new Secret(key));
    if (x === undefined || y === undefined || z === undefined) throw new Error('three');
    keys.use(x, y);
    const sentWith = keys.best;
    keys.use(x, z);
    // Refused, it does not go again with what was refused.
    expect([keys.best, keys.pick(sentWith)]).toEqual([sentWith, keys.other]);
    expect(keys.pick(sentWith)).not.toBe(sentWith);
    keys.use(z, x);
    expect(keys.other).toBe(sentWith);
    keys.noteAccepted(sentWith);
    expect([keys.best, told]).toEqual([sentWith, ['second']]);
  });

  it('that are used no more say nothing', () => {
    const { keys, two, told } = start();
    two();
    const old = keys.other ?? keys.best;
    two();
    const { best } = keys;
    keys.noteAccepted(old);
    expect([keys.best, told]).toEqual([best, []]);
  });
});

describe('a key is proved by', () => {
  const classify = createRouteTable({ ...OPEN_TABLE, inferencePaths: ['/own/*'] });
  it.each([
    ['POST', '/v1/chat/completions', true],
    ['POST', '/bedrock/model/m/invoke', true],
    // LiteLLM answers these without a look at the key, or may.
    ['GET', '/claude-code/marketplace.json', false],
    ['POST', '/mcp', false],
    ['GET', '/', false],
    ['POST', '/login', false],
    ['POST', '/own/route', false],
  ])('%s %s: %o', (method, path, proved) => {
    expect(provesKey(method, classify(method, path))).toBe(proved);
  });
});

describe('of keys that LiteLLM took is told', () => {
  const stage = createGatewayStages();
  const two = (it: Awaited<ReturnType<typeof stage>>): void =>
    it.upstreams.useKeys(new Secret(generateKey()), new Secret(generateKey()));
  const ask = async (
    it: Awaited<ReturnType<typeof stage>>,
    line: string,
    ...answers: readonly string[]
  ): Promise<void> => {
    const caller = await callWith({ port: it.port, key: KEYS.full }, line, { body: '{}' });
    for (const answer of answers) (await it.upstream.next()).answer(answer, 'the answer');
    await caller.until('the answer');
    caller.leave();
  };
  const CHAT = 'POST /v1/chat/completions';

  it('the first, where it opened something', async () => {
    const it = await stage();
    two(it);
    await ask(it, CHAT, '200 OK');
    expect(it.accepted).toEqual(['first']);
  });

  it('the second, where the first was refused and it was not', async () => {
    const it = await stage();
    two(it);
    await ask(it, CHAT, '401 Unauthorized', '429 Too Many Requests');
    expect(it.accepted).toEqual(['second']);
    await ask(it, 'GET /ui', '401 Unauthorized', '200 OK');
    expect(it.accepted).toEqual(['second', 'first']);
  });

  it('none, where LiteLLM did not look at it, refused both, or failed', async () => {
    const it = await stage();
    two(it);
    await ask(it, 'GET /ui', '200 OK');
    await ask(it, CHAT, '503 Service Unavailable');
    await ask(it, CHAT, '401 Unauthorized', '401 Unauthorized');
    expect(it.accepted).toEqual([]);
  });

  it('nothing, with one key', async () => {
    const it = await stage();
    await ask(it, CHAT, '200 OK');
    expect(it.accepted).toEqual([]);
  });
});
