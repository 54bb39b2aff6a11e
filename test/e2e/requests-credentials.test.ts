import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { attack, expectRefusal, sayLine } from '../support/attack.ts';
import { KEY_CARRIERS } from '../support/key-carriers.ts';
import { converse, head } from '../support/raw-client.ts';
import { createStages, type Stage } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions HTTP/1.1';
const HOST = 'host: gateway';
const KEY_LIKE = /sk-[A-Za-z0-9]{48}/g;

/** Every key that the last request but one held when it reached LiteLLM. */
const keysSeen = ({ upstream }: Stage): string[] =>
  upstream.requests.at(-3)?.rawHead.match(KEY_LIKE) ?? [];

describe('a credential', () => {
  it.each(KEY_CARRIERS)('in %s opens, and LiteLLM gets its own key alone', async (carrier) => {
    const on = await stage({ script: sayLine });
    const field = `${carrier}: Bearer ${on.sidecar.key}`;
    const { refusals } = await attack(on, head(CHAT, HOST, field));
    expect(refusals).toEqual([undefined, undefined]);
    expect(keysSeen(on)).toEqual([on.sidecar.upstreamKey]);
    expect(on.upstream.requests.at(-3)?.values('authorization')).toEqual([
      `Bearer ${on.sidecar.upstreamKey}`,
    ]);
  });

  it("stands beside a client's own Authorization where that goes on to its provider", async () => {
    const on = await stage({ script: sayLine });
    const { key, upstreamKey } = on.sidecar;
    const codex = head(
      'POST /backend-api/codex/responses HTTP/1.1',
      HOST,
      `x-litellm-api-key: ${key}`,
    );
    for (const [own, sent] of [
      ['Bearer chatgpt-token', ['Bearer chatgpt-token']],
      [`Bearer ${key}`, []],
    ] as const) {
      const bytes = codex.replace('\r\n\r\n', `\r\nauthorization: ${own}\r\n\r\n`);
      expect((await attack(on, bytes)).refusals[0]).toBeUndefined();
      expect(on.upstream.requests.at(-3)?.values('authorization')).toEqual(sent);
      expect(keysSeen(on)).toEqual([upstreamKey]);
    }
  });

  it('is not needed twice: two in two carriers, the first of LiteLLM wins', async () => {
    const on = await stage({ script: sayLine });
    const { key, upstreamKey } = on.sidecar;
    const wrong = generateKey();
    const right = [`authorization: Bearer ${key}`, `x-api-key: ${wrong}`];
    expect((await attack(on, head(CHAT, HOST, ...right))).refusals[0]).toBeUndefined();
    expect(keysSeen(on)).toEqual([upstreamKey]);
    // The other way round the wrong one comes first, wherever it stands.
    const left = [`authorization: Bearer ${key}`, `x-litellm-api-key: ${wrong}`];
    await expectRefusal(on, head(CHAT, HOST, ...left), 'unknown_key', 'clean');
    await expectRefusal(on, head(CHAT, HOST, ...left.reverse()), 'unknown_key', 'clean');
  });

  it('in duplicate Authorization headers is refused', async () => {
    const on = await stage({ script: sayLine });
    const [good, bad] = [on.sidecar.key, generateKey()];
    for (const pair of [
      [good, good],
      [good, bad],
      [bad, good],
    ]) {
      const fields = pair.map(
        (key, at) => `${['authorization', 'Authorization'][at]}: Bearer ${key}`,
      );
      await expectRefusal(on, head(CHAT, HOST, ...fields), 'bad_request', 'closed');
    }
    const others = [`x-api-key: ${good}`, 'X-API-Key: x', `authorization: Bearer ${good}`];
    await expectRefusal(on, head(CHAT, HOST, ...others), 'bad_request', 'closed');
  });

  it('in a field of LiteLLM that overrides all others never gets there', async () => {
    const on = await stage({ script: sayLine });
    const fields = [
      `authorization: Bearer ${on.sidecar.key}`,
      `LiteLLM_User_API_Key: ${generateKey()}`,
    ];
    await attack(on, head(CHAT, HOST, ...fields));
    expect(keysSeen(on)).toEqual([on.sidecar.upstreamKey]);
    await expectRefusal(on, head(CHAT, HOST, fields[1] ?? ''), 'missing_key', 'clean');
  });

  it.each([
    ['missing_key', ''],
    ['malformed_key', 'authorization: Bearer sk-1234'],
    ['malformed_key', 'authorization: KEY'],
    ['malformed_key', 'authorization: Basic KEY'],
    ['unknown_key', `authorization: Bearer ${generateKey()}`],
    ['missing_key', 'cookie: token=KEY'],
  ] as const)('%s: %s', async (code, field) => {
    const on = await stage({ script: sayLine });
    const lines = field === '' ? [] : [field.replace('KEY', on.sidecar.key)];
    await expectRefusal(on, head(CHAT, HOST, ...lines), code, 'clean');
    // No access line and no other holds what was presented.
    expect(on.sidecar.logText()).not.toMatch(KEY_LIKE);
  });

  it('in ?key= opens generateContent, and is taken out of the query', async () => {
    const on = await stage({ script: sayLine });
    const { key, upstreamKey } = on.sidecar;
    const path = '/v1beta/models/gemini:generateContent';
    const { refusals, reached } = await attack(
      on,
      head(`POST ${path}?alt=sse&k%65y=${key}&x=%6b HTTP/1.1`, HOST),
    );
    expect(refusals).toEqual([undefined, undefined]);
    expect(reached[0]).toBe(`POST ${path}?alt=sse&x=%6b`);
    expect(keysSeen(on)).toEqual([upstreamKey]);
    expect(on.sidecar.logText()).not.toContain(key);
    const twice = head(`POST ${path}?key=${key}&key=${key} HTTP/1.1`, HOST);
    await expectRefusal(on, twice, 'bad_request', 'closed');
    const elsewhere = head(`GET /v1/models?key=${key} HTTP/1.1`, HOST);
    await expectRefusal(on, elsewhere, 'missing_key', 'clean');
  });

  it('with SIDECAR_KEY_HEADER is read in that header, and nowhere else', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_KEY_HEADER: 'X-Own-Key' } });
    const { key, upstreamKey } = on.sidecar;
    const fields = [`x-own-key: Bearer ${key}`, `authorization: Bearer ${generateKey()}`];
    const { answers } = await converse(
      on.sidecar.port,
      head(CHAT, HOST, ...fields, 'connection: close'),
    );
    expect(answers.map(({ status }) => status)).toEqual([200]);
    const [peer] = on.upstream.requests;
    expect(peer?.values('x-own-key')).toEqual([`Bearer ${upstreamKey}`]);
    expect(peer?.rawHead.match(KEY_LIKE)).toEqual([upstreamKey]);
    const other = head(CHAT, HOST, `authorization: Bearer ${key}`, 'connection: close');
    expect((await converse(on.sidecar.port, other)).refusals).toEqual(['missing_key']);
    expect(on.upstream.requests).toHaveLength(1);
  });
});
