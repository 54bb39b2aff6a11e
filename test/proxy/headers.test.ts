import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressTo,
  type ForwardFacts,
  type ForwardRules,
  forwardHeaders,
} from '../../src/proxy/headers.ts';
import { headOf } from '../support/heads.ts';
import { KEY_CARRIERS } from '../support/key-carriers.ts';

const RULES: ForwardRules = { host: 'litellm:4000', publicUrl: undefined, keyHeader: undefined };
const FACTS: ForwardFacts = {
  requestId: 'id-1',
  trace: { id: '0', parent: '00-0-1-01', isClients: false },
  peer: '192.0.2.9',
  peerTrusted: false,
  endUser: undefined,
  keepAuthorization: false,
  wantsPlain: false,
};
const PUBLIC: ForwardRules = {
  ...RULES,
  host: 'llm.example.com',
  publicUrl: new URL('https://llm.example.com'),
};

const KEY = ['authorization', 'Bearer upstream'] as const;

/** What LiteLLM gets: `name: value` lines. */
const sent = (
  fields: readonly string[],
  facts: Partial<ForwardFacts> = {},
  rules: ForwardRules = RULES,
  key: readonly [string, string] = KEY,
): string[] => {
  const all = { ...FACTS, ...facts };
  const flat = forwardHeaders(headOf('POST /', fields), rules, all);
  addressTo(flat, rules.host, key);
  return flat.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${flat[at + 1]}`] : []));
};
const named = (lines: readonly string[], name: string): string[] =>
  lines.filter((line) => line.startsWith(`${name}: `));

/** What RFC 9110 §7.6.1 names, and what stands beside it. */
const HOP_BY_HOP = [
  ...['connection', 'proxy-connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade'],
  ...['proxy-authorization', 'expect'],
];
const CARRIERS = [...KEY_CARRIERS, 'litellm_user_api_key'];

describe('the fields that LiteLLM gets', () => {
  it("are the client's own, in their order, each as often as it stands", () => {
    const fields = ['accept: a', 'cookie: x=1', 'accept: b', 'content-type: text/plain'];
    const lines = sent(['Host: gateway', ...fields]);
    expect(lines.slice(1, 5)).toEqual(fields);
  });

  it('name the upstream as Host, or the public URL, never what the client says', () => {
    expect(named(sent(['Host: evil']), 'host')).toEqual(['host: litellm:4000']);
    expect(named(sent(['Host: evil'], {}, PUBLIC), 'host')).toEqual(['host: llm.example.com']);
  });

  it.each([...CARRIERS, ...HOP_BY_HOP])('hold no %s of the client', (name) => {
    const lines = sent([`${name}: client`]);
    expect(lines.filter((line) => line.includes('client'))).toEqual([]);
  });

  it("hold no field of the operator's choice that carries keys", () => {
    const rules = { ...RULES, keyHeader: 'x-own' };
    const lines = sent(['X-Own: client'], {}, rules, ['x-own', 'Bearer upstream']);
    expect(named(lines, 'x-own')).toEqual(['x-own: Bearer upstream']);
  });

  it('hold nothing that Connection names, keys and lengths not excepted', () => {
    const fields = [
      ...['connection: X-Hop, authorization', 'Connection: x-litellm-api-key', 'x-hop: client'],
      ...['authorization: client', 'x-litellm-api-key: client', 'x-kept: 1'],
    ];
    for (const keepAuthorization of [true, false]) {
      const lines = sent(fields, { keepAuthorization });
      expect(lines.filter((line) => line.includes('client'))).toEqual([]);
      expect(lines).toContain('x-kept: 1');
      expect(lines).toContain('authorization: Bearer upstream');
    }
  });

  it('cannot be robbed of what the sidecar adds', () => {
    const lines = sent([
      'connection: host, authorization, x-forwarded-for, x-request-id, x-forwarded-proto',
    ]);
    expect(lines).toEqual([
      'host: litellm:4000',
      'x-forwarded-for: 192.0.2.9',
      'x-forwarded-proto: http',
      'traceparent: 00-0-1-01',
      'x-request-id: id-1',
      'authorization: Bearer upstream',
    ]);
  });

  it("keep the client's Authorization where it is somebody else's", () => {
    const lines = sent(
      ['authorization: Bearer mcp', 'x-litellm-api-key: client'],
      { keepAuthorization: true },
      RULES,
      ['x-litellm-api-key', 'Bearer upstream'],
    );
    expect(named(lines, 'authorization')).toEqual(['authorization: Bearer mcp']);
    expect(named(lines, 'x-litellm-api-key')).toEqual(['x-litellm-api-key: Bearer upstream']);
  });

  it('say who the end user is, for a client that is not to name one', () => {
    const said = [
      ...['X-LiteLLM-End-User-Id: boss', 'x-litellm-customer-id: boss'],
      ...['X-OpenWebUI-User-Email: boss@example.com', 'x-openwebui-user-id: 1'],
    ];
    const users = (endUser: string | undefined) =>
      sent(said, { endUser }).filter((line) => /customer|user/.test(line));
    expect(users('ci')).toEqual(['x-litellm-end-user-id: ci']);
    expect(users(undefined)).toEqual(
      said.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase())),
    );
  });

  it('keep the subprotocols but those with a key', () => {
    const offered = 'sec-websocket-protocol: realtime, openai-insecure-api-key.client';
    expect(named(sent([offered]), 'sec-websocket-protocol')).toEqual([
      'sec-websocket-protocol: realtime',
    ]);
    const none = sent(['sec-websocket-protocol: openai-insecure-api-key.client']);
    expect(named(none, 'sec-websocket-protocol')).toEqual([]);
  });

  it('hold no carrier, no hop-by-hop field and nothing that Connection names, whatever comes', () => {
    const name = fc.constantFrom(...CARRIERS, ...HOP_BY_HOP, 'x-a', 'x-b', 'accept', 'forwarded');
    const cased = fc.tuple(name, fc.boolean()).map(([it, up]) => (up ? it.toUpperCase() : it));
    fc.assert(
      fc.property(fc.array(cased), fc.array(cased), (names, hops) => {
        const fields = names.map((each) => `${each}: client`);
        const lines = sent([`Connection: ${hops.join(' , ')}`, ...fields]);
        const kept = lines.filter((line) => line.endsWith(': client'));
        const dropped = new Set(hops.map((each) => each.toLowerCase()));
        const good = ['x-a', 'x-b', 'accept'].filter((each) => !dropped.has(each));
        expect(new Set(kept)).toEqual(
          new Set(
            names
              .map((each) => each.toLowerCase())
              .filter((each) => good.includes(each))
              .map((each) => `${each}: client`),
          ),
        );
      }),
    );
  });
});

describe('the X-Forwarded-* fields', () => {
  const said = [
    ...['Host: gateway:4000', 'X-Forwarded-For: 203.0.113.7', 'x-forwarded-for: 10.0.0.1'],
    ...['X-Forwarded-Proto: https', 'X-Forwarded-Host: llm.example.com', 'Forwarded: for=evil'],
    ...['X-Forwarded-Port: 1', 'X-Forwarded-Prefix: /evil', 'X-Real-IP: evil'],
  ];
  const about = (lines: readonly string[]) =>
    lines.filter((line) => /^(?:x-forwarded|forwarded|x-real)/.test(line));

  it('of a stranger are replaced', () => {
    expect(about(sent(said))).toEqual([
      'x-forwarded-for: 192.0.2.9',
      'x-forwarded-proto: http',
      'x-forwarded-host: gateway:4000',
    ]);
  });

  it('of a trusted proxy are kept, and the peer is appended to all their lines', () => {
    expect(about(sent(said, { peerTrusted: true }))).toEqual([
      'x-forwarded-for: 203.0.113.7, 10.0.0.1, 192.0.2.9',
      'x-forwarded-proto: https',
      'x-forwarded-host: llm.example.com',
    ]);
  });

  it('of several proxies in a row are those of the first', () => {
    const twice = ['X-Forwarded-Proto: HTTPS, http', 'X-Forwarded-Host: a.example , b.example:1'];
    expect(about(sent(['Host: gateway:4000', ...twice], { peerTrusted: true }))).toEqual([
      'x-forwarded-for: 192.0.2.9',
      'x-forwarded-proto: https',
      'x-forwarded-host: a.example',
    ]);
  });

  it.each(['gopher', 'https://x', '', ',https', 'http s'])(
    'hold no scheme that is none: %s',
    (proto) => {
      const lines = ['Host: gateway', `X-Forwarded-Proto: ${proto}`];
      expect(named(sent(lines, { peerTrusted: true }), 'x-forwarded-proto')).toEqual([
        'x-forwarded-proto: http',
      ]);
    },
  );

  it('say what the public URL says', () => {
    expect(about(sent(said, {}, PUBLIC))).toEqual([
      'x-forwarded-for: 192.0.2.9',
      'x-forwarded-proto: https',
      'x-forwarded-host: llm.example.com',
    ]);
  });

  it.each(['a b', 'evil"', 'a,b', 'http://x', 'a/b', '<script>', ''])(
    'hold no Host that is none: %s',
    (host) => {
      expect(named(sent([`Host: ${host}`]), 'x-forwarded-host')).toEqual([]);
    },
  );
  it.each(['gateway', 'gateway:4000', '[::1]:4000', '10.0.0.1'])('hold the Host %s', (host) => {
    expect(named(sent([`Host: ${host}`]), 'x-forwarded-host')).toEqual([
      `x-forwarded-host: ${host}`,
    ]);
  });
});
