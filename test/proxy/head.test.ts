import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasBody, MOST_FIELDS } from '../../src/proxy/head.ts';
import { headOf } from '../support/heads.ts';

describe('the head of a request', () => {
  it('holds names in lower case beside the values as they came', () => {
    const head = headOf('POST /a?b', ['HOST: Gateway', 'X-Mixed-Case: Value', 'x-empty:']);
    expect(head).toMatchObject({ method: 'POST', target: '/a?b', host: 'Gateway', http10: false });
    expect(head.names).toEqual(['host', 'x-mixed-case', 'x-empty']);
    expect(head.values).toEqual(['Gateway', 'Value', '']);
  });

  it('knows which fields stand more than once, in any case', () => {
    const head = headOf('GET /', ['Authorization: a', 'accept: x', 'AUTHORIZATION: b', 'Host: h']);
    expect([...head.repeated]).toEqual(['authorization']);
  });

  it('takes the first value of a field, and all subprotocols', () => {
    const head = headOf('GET /', [
      ...['Origin: https://a', 'Origin: https://b', 'X-Request-Id: one', 'Upgrade: websocket'],
      ...['User-Agent: curl/8', 'user-agent: other'],
      ...['Sec-WebSocket-Protocol: realtime', 'sec-websocket-protocol: a, b'],
      ...['Access-Control-Request-Method: POST', 'Content-Length: 3'],
    ]);
    expect(head).toMatchObject({
      userAgent: 'curl/8',
      ...{ origin: 'https://a', requestId: 'one', upgrade: 'websocket', contentLength: '3' },
      ...{ subprotocols: 'realtime, a, b', requestMethod: 'POST', transferEncoding: undefined },
    });
  });

  it.each([
    [['Connection: keep-alive'], []],
    [['Connection: close'], []],
    [['Connection: close, X-Hop ,,  Authorization'], ['close', 'x-hop', 'authorization']],
    [
      ['Connection: x-a', 'connection: X-B'],
      ['x-a', 'x-b'],
    ],
    [['Connection: upgrade,\tX-Tab'], ['upgrade', 'x-tab']],
  ])('reads the options of %j', (fields, options) => {
    expect(headOf('GET /', fields).connectionOptions).toEqual(options);
  });

  it('reads no more than one field too many', () => {
    const fields = Array.from({ length: 5000 }, (_, at) => `x-${at}: y`);
    expect(headOf('GET /', fields).names).toHaveLength(MOST_FIELDS + 1);
  });

  it('sees each name that stands twice, and no other', () => {
    const name = fc.constantFrom('a', 'A', 'b', 'B', 'accept', 'Accept', 'x');
    fc.assert(
      fc.property(fc.array(name, { maxLength: 8 }), (names) => {
        const lower = names.map((each) => each.toLowerCase());
        const twice = lower.filter((each, at) => lower.indexOf(each) < at);
        const { repeated } = headOf(
          'GET /',
          names.map((each) => `${each}: v`),
        );
        expect([...repeated].sort()).toEqual([...new Set(twice)].sort());
      }),
    );
  });

  it.each([
    [[], false],
    [['Content-Length: 0'], false],
    [['Content-Length: 1'], true],
    [['Transfer-Encoding: chunked'], true],
  ])('with %j has a body: %s', (fields, expected) => {
    expect(hasBody(headOf('POST /', fields))).toBe(expected);
  });
});
