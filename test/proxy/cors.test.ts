import { describe, expect, it } from 'vitest';
import { createCors, isPreflight, preflightFields } from '../../src/proxy/cors.ts';
import { headOf } from '../support/heads.ts';

describe('a preflight', () => {
  const CORS = ['Origin: https://app', 'Access-Control-Request-Method: POST'];
  it.each([
    [true, 'OPTIONS /v1/models', CORS],
    [true, 'OPTIONS /v1/models', [...CORS, 'Content-Length: 0']],
    [false, 'OPTIONS /v1/models', CORS.slice(0, 1)],
    [false, 'OPTIONS /v1/models', CORS.slice(1)],
    [false, 'OPTIONS /v1/models', [...CORS, 'Content-Length: 2']],
    [false, 'GET /v1/models', CORS],
    [false, 'POST /v1/models', CORS],
  ])('is %s for %s with %j', (expected, line, fields) => {
    expect(isPreflight(headOf(line, fields))).toBe(expected);
  });
});

it('is answered with all that it asks for, as LiteLLM answers it', () => {
  const asked = ['Origin: https://app', 'Access-Control-Request-Headers: authorization, x-a'];
  expect(preflightFields(headOf('OPTIONS /', asked))).toEqual([
    ...['access-control-allow-methods', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'],
    ...['access-control-allow-headers', 'authorization, x-a', 'access-control-max-age', '600'],
    ...['vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'],
  ]);
  expect(preflightFields(headOf('OPTIONS /', []))).not.toContain('access-control-allow-headers');
});

describe('the pages that may read answers', () => {
  const LITELLM = ['Access-Control-Allow-Origin', '*', 'x-a', 'b'];

  it('are all where no origin is set, and answers stay as they are', () => {
    const cors = createCors([]);
    expect(cors.reader('https://evil.example')).toBe('https://evil.example');
    expect(cors.reader(undefined)).toBeUndefined();
    expect(cors.allow('https://evil.example')).toEqual(['access-control-allow-origin', '*']);
    const headers = [...LITELLM];
    cors.narrow(headers, 'https://evil.example');
    expect(headers).toEqual(LITELLM);
  });

  it('are those of the origins that are set', () => {
    const cors = createCors(['https://chat.example.com']);
    const reader = cors.reader('https://chat.example.com');
    expect(cors.allow(reader ?? '')).toEqual([
      'access-control-allow-origin',
      'https://chat.example.com',
    ]);
    for (const other of ['https://evil.example', 'https://chat.example.com.evil', 'null', '']) {
      expect(cors.reader(other)).toBeUndefined();
    }
    const [mine, others] = [[...LITELLM], [...LITELLM]];
    cors.narrow(mine, reader);
    cors.narrow(others, undefined);
    const allowed = ['access-control-allow-origin', 'https://chat.example.com'];
    expect(mine).toEqual(['x-a', 'b', ...allowed, 'vary', 'Origin']);
    expect(others).toEqual(['x-a', 'b', 'vary', 'Origin']);
  });
});
