import { APIError as AnthropicError } from '@anthropic-ai/sdk';
import { APIError as OpenAIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { errorBody } from '../../src/litellm/error-body.ts';
import type { Dialect } from '../../src/litellm/routes-table.ts';
import { REFUSAL_CODES, type RefusalCode, refusal, statusOf } from '../../src/refusal.ts';

const MESSAGE = 'this key "was" replaced: ask for the new one – naïve';
const DIALECTS: readonly Dialect[] = ['openai', 'anthropic', 'google'];

const bodyOf = (dialect: Dialect, code: RefusalCode) =>
  JSON.parse(errorBody(dialect, refusal(code, MESSAGE)));

/** The words that one code of each status is told in: OpenAI's, Anthropic's, Google's. */
const TOLD: [RefusalCode, string, string, string][] = [
  ['missing_key', 'authentication_error', 'authentication_error', 'UNAUTHENTICATED'],
  ['scope_denied', 'permission_error', 'permission_error', 'PERMISSION_DENIED'],
  ['bad_target', 'invalid_request_error', 'invalid_request_error', 'INVALID_ARGUMENT'],
  ['request_timeout', 'timeout_error', 'timeout_error', 'DEADLINE_EXCEEDED'],
  ['body_too_large', 'invalid_request_error', 'request_too_large', 'INVALID_ARGUMENT'],
  ['headers_too_large', 'invalid_request_error', 'invalid_request_error', 'INVALID_ARGUMENT'],
  ['too_many_failures', 'rate_limit_error', 'rate_limit_error', 'RESOURCE_EXHAUSTED'],
  ['sidecar_failed', 'server_error', 'api_error', 'INTERNAL'],
  ['upstream_failed', 'server_error', 'api_error', 'UNAVAILABLE'],
  ['overloaded', 'server_error', 'overloaded_error', 'UNAVAILABLE'],
  ['upstream_timeout', 'timeout_error', 'timeout_error', 'DEADLINE_EXCEEDED'],
];

describe('errorBody', () => {
  it.each(TOLD)('tells %s in the words of each API', (code, openai, anthropic, google) => {
    expect(bodyOf('openai', code).error.type).toBe(openai);
    expect(bodyOf('anthropic', code).error.type).toBe(anthropic);
    expect(bodyOf('google', code).error.status).toBe(google);
  });

  it('has words of its own for every status that a refusal has', () => {
    const told = new Set(TOLD.map(([code]) => statusOf(code)));
    expect(REFUSAL_CODES.filter((code) => !told.has(statusOf(code)))).toEqual([]);
  });

  it.each(DIALECTS)('keeps the cause out of %s', (dialect) => {
    const cause = new Error('connect ECONNREFUSED 10.0.0.7:4000');
    const told = refusal('upstream_unavailable', MESSAGE, { cause, retryAfter: 1 });
    expect(errorBody(dialect, told)).not.toContain('10.0.0.7');
  });

  it("is LiteLLM's own shape for OpenAI's clients: the code is a string", () => {
    expect(bodyOf('openai', 'unknown_key')).toEqual({
      error: {
        message: MESSAGE,
        type: 'authentication_error',
        param: null,
        code: 'unknown_key',
      },
    });
  });

  it('says who refuses, and why, in the details of Google', () => {
    expect(bodyOf('google', 'scope_denied')).toEqual({
      error: {
        code: 403,
        message: MESSAGE,
        status: 'PERMISSION_DENIED',
        details: [
          {
            '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
            reason: 'SCOPE_DENIED',
            domain: 'litellm-sidecar',
            metadata: { code: 'scope_denied' },
          },
        ],
      },
    });
  });

  it.each(REFUSAL_CODES)('gives a reason for %s that google.rpc.ErrorInfo allows', (code) => {
    const [info] = bodyOf('google', code).error.details;
    expect(info.reason).toMatch(/^[A-Z][A-Z0-9_]+[A-Z0-9]$/);
    expect(info.reason.length).toBeLessThanOrEqual(63);
  });
});

describe('the SDKs', () => {
  const headers = new Headers({ 'x-request-id': 'r-1' });

  it.each(REFUSAL_CODES)("OpenAI's shows message and code of %s", (code) => {
    const status = statusOf(code);
    const error = OpenAIError.generate(status, bodyOf('openai', code), undefined, headers);
    expect(error.message).toBe(`${status} ${MESSAGE}`);
    expect({ code: error.code, status: error.status }).toEqual({ code, status });
    expect(error.type).toEqual(expect.any(String));
  });

  it.each(REFUSAL_CODES)("Anthropic's shows message, type and code of %s", (code) => {
    const status = statusOf(code);
    const body = bodyOf('anthropic', code);
    const error = AnthropicError.generate(status, body, undefined, headers);
    expect(error.message).toContain(code);
    expect({ code: error.errorCode, status: error.status }).toEqual({ code, status });
    expect(error.type).toBe(body.error.type);
    expect(Reflect.get(error, 'apiMessage')).toBe(MESSAGE);
  });

  it.each([
    ['missing_key', 'AuthenticationError'],
    ['route_denied', 'PermissionDeniedError'],
    ['bad_request', 'BadRequestError'],
    ['too_many_failures', 'RateLimitError'],
    ['upstream_failed', 'InternalServerError'],
  ] as const)('make of %s the class that programs catch', (code, name) => {
    const status = statusOf(code);
    const openai = OpenAIError.generate(status, bodyOf('openai', code), undefined, headers);
    const anthropic = AnthropicError.generate(
      status,
      bodyOf('anthropic', code),
      undefined,
      headers,
    );
    expect([openai.constructor.name, anthropic.constructor.name]).toEqual([name, name]);
  });
});
