import { describe, expect, it } from 'vitest';
import { get } from '../support/ask.ts';
import { sayLine } from '../support/attack.ts';
import { converse, head } from '../support/raw-client.ts';
import { createStages, type Stage } from '../support/stage.ts';

const stage = createStages();

/** Sends one request with these fields and shows what reached the upstream. */
async function pass(on: Stage, fields: readonly string[], line = 'POST /v1/chat/completions') {
  const lines = [`${line} HTTP/1.1`, 'host: gateway.example:4000', ...fields, 'connection: close'];
  const { answers } = await converse(on.sidecar.port, head(...lines));
  expect(answers.map(({ status }) => status)).toEqual([200]);
  const peer = on.upstream.requests.at(-1);
  if (peer === undefined) throw new Error('nothing reached the upstream');
  return peer;
}

const bearer = ({ sidecar }: Stage): string => `authorization: Bearer ${sidecar.key}`;

describe('a hop-by-hop header', () => {
  it('named by Connection goes no further', async () => {
    const on = await stage({ script: sayLine });
    const peer = await pass(on, [
      ...['Connection: X-Hop , keep-alive', 'connection: x-other', 'x-hop: 1', 'X-Other: 2'],
      ...['x-kept: 3', bearer(on)],
    ]);
    expect(peer.rawHead).not.toMatch(/^x-(?:hop|other)/im);
    expect(peer.values('x-kept')).toEqual(['3']);
  });

  it('named by Connection: authorization takes no key away', async () => {
    const on = await stage({ script: sayLine });
    const peer = await pass(on, ['Connection: authorization', bearer(on)]);
    expect(peer.values('authorization')).toEqual([`Bearer ${on.sidecar.upstreamKey}`]);
  });

  it('named by Connection: x-litellm-api-key opens no way for another', async () => {
    const on = await stage({ script: sayLine });
    const fields = [
      ...['Connection: x-litellm-api-key, authorization', 'Authorization: Bearer mcp-token'],
      `x-litellm-api-key: ${on.sidecar.key}`,
    ];
    for (const line of ['POST /mcp', 'POST /v1/chat/completions']) {
      const peer = await pass(on, fields, line);
      const { upstreamKey } = on.sidecar;
      expect(peer.rawHead).not.toContain('mcp-token');
      expect(peer.rawHead).not.toContain(on.sidecar.key);
      expect(peer.rawHead.split(upstreamKey)).toHaveLength(2);
    }
  });

  it('named by Connection: content-length changes no framing', async () => {
    const on = await stage({ script: sayLine });
    const fields = ['connection: content-length, host, content-type', 'content-type: text/plain'];
    const bytes = head(
      ...['POST /v1/chat/completions HTTP/1.1', 'host: x', ...fields, bearer(on)],
      ...['content-length: 5', 'connection: close'],
    );
    const { answers } = await converse(on.sidecar.port, `${bytes}hello`);
    expect(answers.map(({ status }) => status)).toEqual([200]);
    expect((await on.upstream.requests[0]?.body)?.toString()).toBe('hello');
    expect(on.upstream.requests[0]?.values('content-type')).toEqual([]);
  });

  it.each(['TE: trailers', 'Keep-Alive: timeout=5', 'Proxy-Connection: x', 'Upgrade: h2c'])(
    'that nobody names goes no further either: %s',
    async (field) => {
      const on = await stage({ script: sayLine });
      const name = field.slice(0, field.indexOf(':'));
      const peer = await pass(on, [field, 'Proxy-Authorization: Basic x', bearer(on)]);
      expect(peer.values(name)).toEqual([]);
      expect(peer.values('proxy-authorization')).toEqual([]);
    },
  );
});

describe('who asks', () => {
  it('is said by the socket: Host and X-Forwarded-* of a client count for nothing', async () => {
    const on = await stage({ script: sayLine });
    const peer = await pass(on, [
      ...[
        bearer(on),
        'X-Forwarded-For: 10.9.9.9',
        'X-Forwarded-Proto: https',
        'X-Real-IP: 1.1.1.1',
      ],
      ...['X-Forwarded-Host: evil.example', 'Forwarded: for=10.9.9.9', 'X-Forwarded-Port: 1'],
    ]);
    expect(peer.values('host')).toEqual([`127.0.0.1:${on.upstream.port}`]);
    expect(peer.values('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(peer.values('x-forwarded-proto')).toEqual(['http']);
    expect(peer.values('x-forwarded-host')).toEqual(['gateway.example:4000']);
    expect(peer.rawHead).not.toMatch(/10\.9\.9\.9|evil|1\.1\.1\.1|^x-forwarded-port/im);
    expect(on.sidecar.accessLines().at(-1)).toMatchObject({ address: '127.0.0.1' });
  });

  it('is said by a proxy that is trusted', async () => {
    const settings = { SIDECAR_TRUSTED_PROXIES: '127.0.0.0/8' };
    const on = await stage({ script: sayLine, settings });
    const fields = [bearer(on), 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 203.0.113.7'];
    const peer = await pass(on, [...fields, 'X-Forwarded-Proto: https']);
    expect(peer.values('x-forwarded-for')).toEqual(['192.0.2.1, 203.0.113.7, 127.0.0.1']);
    expect(peer.values('x-forwarded-proto')).toEqual(['https']);
    expect(on.sidecar.accessLines().at(-1)).toMatchObject({ address: '203.0.113.7' });
  });

  it("gives its request a name, where the name is harmless, and LiteLLM's answer has it", async () => {
    const on = await stage({ script: sayLine });
    const good = await pass(on, [bearer(on), 'X-Request-Id: trace-1:a']);
    expect(good.values('x-request-id')).toEqual(['trace-1:a']);
    const { response } = await get(on.sidecar, '/v1/models', {
      headers: { 'x-request-id': 'trace-2' },
    });
    expect(response.headers['x-request-id']).toBe('trace-2');
    for (const bad of ['a b', '{"x":1}', 'x'.repeat(129), 'a:sk-0123456789']) {
      const peer = await pass(on, [bearer(on), `X-Request-Id: ${bad}`]);
      expect(peer.values('x-request-id')).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    }
  });
});

describe('a Location that names the upstream', () => {
  const redirect = async (settings = {}) =>
    await stage({
      settings,
      script: (peer) => {
        const [host = ''] = peer.values('host');
        const location = (peer.values('x-want')[0] ?? '').replace('HOST', host);
        peer.answer('307 Temporary Redirect', '', `location: ${location}`);
      },
    });
  const locationOf = async ({ sidecar }: Stage, want: string) => {
    const { response } = await get(sidecar, '/v1/models/', { headers: { 'x-want': want } });
    expect(response.statusCode).toBe(307);
    return response.headers.location;
  };

  it('leads to the gateway instead', async () => {
    const on = await redirect();
    expect(await locationOf(on, 'http://HOST/v1/models?a=b')).toBe('/v1/models?a=b');
    expect(await locationOf(on, 'https://HOST/ui/')).toBe('/ui/');
    expect(await locationOf(on, 'http://HOST//evil.example/')).toBe('/evil.example/');
    expect(await locationOf(on, 'https://accounts.example/')).toBe('https://accounts.example/');
  });

  it('leads to the public URL where there is one', async () => {
    const on = await redirect({ SIDECAR_PUBLIC_URL: 'https://llm.example/gw' });
    expect(await locationOf(on, 'http://HOST/v1/models')).toBe('https://llm.example/gw/v1/models');
    expect(on.upstream.requests[0]?.values('host')).toEqual(['llm.example']);
  });
});
