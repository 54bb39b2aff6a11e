import { describe, expect, it } from 'vitest';
import {
  answerHeaders,
  answerTrailers,
  clientLocation,
  type ForwardRules,
} from '../../src/proxy/headers.ts';

const RULES: ForwardRules = { host: 'litellm:4000', publicUrl: undefined, keyHeader: undefined };
const PUBLIC: ForwardRules = {
  ...RULES,
  host: 'llm.example.com',
  publicUrl: new URL('https://llm.example.com'),
};

describe('the fields that the client gets', () => {
  const got = (fields: readonly string[], rules = RULES) => {
    const raw = fields.flatMap((line) => {
      const at = line.indexOf(': ');
      return [Buffer.from(line.slice(0, at)), Buffer.from(line.slice(at + 2), 'latin1')];
    });
    return answerHeaders(raw, rules, 'id-1');
  };

  it("are LiteLLM's, as they came, and the id of the request", () => {
    const { headers } = got(['Content-Type: a', 'set-cookie: a', 'Set-Cookie: b', 'x: \xe9']);
    expect(headers).toEqual([
      ...['Content-Type', 'a', 'set-cookie', 'a', 'Set-Cookie', 'b', 'x', '\xe9'],
      ...['x-request-id', 'id-1'],
    ]);
    expect(got(['X-Request-Id: own']).headers).toEqual(['X-Request-Id', 'own']);
  });

  it.each([
    [['Connection: close', 'Keep-Alive: timeout=5', 'Transfer-Encoding: chunked', 'x: 1']],
    [['connection: X-Hop ,x-other', 'x-hop: 1', 'X-Other: 1', 'x: 1']],
    [['Upgrade: h2', 'proxy-authenticate: Basic', 'te: x', 'Proxy-Connection: x', 'x: 1']],
  ])('hold nothing that is between LiteLLM and the sidecar: %j', (fields) => {
    expect(got(fields).headers).toEqual(['x', '1', 'x-request-id', 'id-1']);
  });

  it('keep the WWW-Authenticate of an MCP server', () => {
    expect(got(['WWW-Authenticate: Bearer resource_metadata="x"']).headers).toContain(
      'Bearer resource_metadata="x"',
    );
  });

  it.each([
    ['text/event-stream', true],
    ['Text/Event-Stream; charset=utf-8', true],
    ['text/event-stream ;x', true],
    ['text/event-streams', false],
    ['application/json', false],
  ])('tell that %s is a stream of events: %s', (type, eventStream) => {
    expect(got([`content-type: ${type}`, 'X-LiteLLM-Model-Group: gpt']).eventStream).toBe(
      eventStream,
    );
    expect(got(['X-LiteLLM-Model-Group: gpt']).model).toBe('gpt');
  });

  it('have their trailers beside them', () => {
    expect(answerTrailers(['X-Sum', Buffer.from('1')])).toEqual([['X-Sum', '1']]);
  });
});

describe('a Location', () => {
  const nested: ForwardRules = { ...PUBLIC, publicUrl: new URL('https://llm.example.com/gw/') };
  it.each([
    ['http://litellm:4000/ui/', RULES, '/ui/'],
    ['https://LiteLLM:4000/v1/models?a=b#c', RULES, '/v1/models?a=b#c'],
    ['http://litellm:4000', RULES, '/'],
    ['http://litellm:4000?a', RULES, '/?a'],
    ['http://litellm:4000//evil.example/', RULES, '/evil.example/'],
    ['http://litellm:4000/\\evil.example/', RULES, '/evil.example/'],
    ['http://llm.example.com/ui/', PUBLIC, 'https://llm.example.com/ui/'],
    ['http://llm.example.com/ui/', nested, 'https://llm.example.com/gw/ui/'],
    ['/ui/', RULES, '/ui/'],
    ['https://accounts.example/login?next=http://litellm:4000/', RULES, undefined],
    ['http://litellm:4000@evil.example/', RULES, undefined],
    ['http://litellm:4000.evil.example/', RULES, undefined],
    ['http://litellm:5000/', RULES, undefined],
    ['ftp://litellm:4000/', RULES, undefined],
  ])('of %s', (value, rules, expected) => {
    expect(clientLocation(value, rules)).toBe(expected ?? value);
  });
});
