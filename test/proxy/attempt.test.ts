import { errors } from 'undici';
import { describe, expect, it } from 'vitest';
import { readFailure } from '../../src/proxy/attempt.ts';

const coded = (code: string): Error => Object.assign(new Error(code), { code });

describe('an error before the request was sent', () => {
  it.each(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])(
    '%s: LiteLLM is away',
    (code) => {
      expect(readFailure(coded(code), false)).toEqual({ kind: 'away' });
    },
  );

  it("undici's connect timeout: LiteLLM is away", () => {
    expect(readFailure(new errors.ConnectTimeoutError(), false)).toEqual({ kind: 'away' });
  });

  it('a connection that ended just before: another one may do', () => {
    expect(readFailure(new errors.ClientDestroyedError(), false)).toEqual({ kind: 'stale' });
    expect(readFailure(new errors.ClientClosedError(), false)).toEqual({ kind: 'stale' });
  });

  it('what undici will not send: nobody is away', () => {
    expect(readFailure(new errors.InvalidArgumentError('path'), false)).toEqual({
      kind: 'unsendable',
    });
    expect(readFailure(new errors.NotSupportedError('expect'), false)).toEqual({
      kind: 'unsendable',
    });
  });
});

describe('an error after the request was sent', () => {
  it.each([
    ['a reset', coded('ECONNRESET')],
    ['a FIN', new errors.SocketError('other side closed')],
    ['a refused connection, whatever that means by then', coded('ECONNREFUSED')],
  ])('%s: it broke off', (_, error) => {
    expect(readFailure(error, true)).toEqual({ kind: 'died', error: 'reset' });
  });

  it.each([
    ['no HTTP', new errors.HTTPParserError('Expected HTTP/')],
    ['a wrong length', new errors.ResponseContentLengthMismatchError()],
    ['a head that is too large', new errors.HeadersOverflowError()],
    ["llhttp's own words", coded('HPE_INVALID_CONSTANT')],
  ])('%s: it does not speak HTTP', (_, error) => {
    expect(readFailure(error, true)).toEqual({ kind: 'died', error: 'protocol' });
  });
});
