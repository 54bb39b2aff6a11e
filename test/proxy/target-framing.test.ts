import { describe, expect, it } from 'vitest';
import { MOST_FIELDS } from '../../src/proxy/head.ts';
import { checkFraming } from '../../src/proxy/target.ts';
import { headOf } from '../support/heads.ts';

const HOST = 'Host: gateway';
const POST = 'POST /v1/chat/completions';
const code = (line: string, fields: readonly string[], options = {}) =>
  checkFraming(headOf(line, fields, options))?.code;

describe('the framing of a request', () => {
  it.each([
    ['no body', 'GET /v1/models', [HOST]],
    ['a Content-Length', POST, [HOST, 'Content-Length: 2']],
    ['a GET with a Content-Length', 'GET /v1/models', [HOST, 'Content-Length: 2']],
    ['chunks', POST, [HOST, 'Transfer-Encoding: chunked']],
    ['chunks in capitals', POST, [HOST, 'Transfer-Encoding: CHUNKED']],
    ['repeated list fields', POST, [HOST, 'Accept: a', 'Accept: b']],
  ])('is good with %s', (_, line, fields) => {
    expect(code(line, fields)).toBeUndefined();
  });

  it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS'])('is refused with a chunked %s', (method) => {
    expect(code(`${method} /v1/models`, [HOST, 'Transfer-Encoding: chunked'])).toBe('bad_request');
  });

  it.each([
    ['two lengths', [HOST, 'Content-Length: 2', 'Content-Length: 2']],
    ['a length and chunks', [HOST, 'Content-Length: 2', 'Transfer-Encoding: chunked']],
    ['chunks twice', [HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked']],
    ['another coding', [HOST, 'Transfer-Encoding: gzip, chunked']],
    ['identity', [HOST, 'Transfer-Encoding: identity']],
    ['an empty coding', [HOST, 'Transfer-Encoding: ']],
    ['two Hosts', [HOST, 'Host: other']],
    ['no Host', []],
  ])('is refused with %s', (_, fields) => {
    expect(code(POST, fields)).toBe('bad_request');
  });

  it.each(['CONNECT litellm:4000', 'TRACE /v1/models'])('is refused for %s', (line) => {
    expect(code(line, [HOST])).toBe('bad_request');
  });

  it('asks HTTP/1.0 for no Host, and takes no Transfer-Encoding from it', () => {
    expect(code('GET /v1/models', [], { http10: true })).toBeUndefined();
    const chunked = [HOST, 'Transfer-Encoding: chunked'];
    expect(code(POST, chunked, { http10: true })).toBe('bad_request');
  });

  it.each([0, 2])('is refused in HTTP/%s', (httpVersionMajor) => {
    expect(code('GET /v1/models', [HOST], { httpVersionMajor })).toBe('bad_request');
  });

  it('is refused with more fields than Node shows', () => {
    const fields = (count: number) => Array.from({ length: count }, (_, at) => `x-${at}: y`);
    expect(code(POST, [HOST, ...fields(MOST_FIELDS - 1)])).toBeUndefined();
    expect(code(POST, [HOST, ...fields(MOST_FIELDS)])).toBe('headers_too_large');
    expect(code(POST, [HOST, ...fields(5000)])).toBe('headers_too_large');
  });
});
