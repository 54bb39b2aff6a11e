import { describe, expect, it } from 'vitest';
import { refusalAnswer } from '../../src/proxy/refuse.ts';
import { REFUSAL_CODES, refusal, statusOf } from '../../src/refusal.ts';

const CONTEXT = { dialect: 'openai', requestId: 'id-1', reader: undefined } as const;

const answer = (code: (typeof REFUSAL_CODES)[number], context = {}, extra = {}) => {
  const { status, headers, body } = refusalAnswer(refusal(code, 'Größe', extra), {
    ...CONTEXT,
    ...context,
  });
  const field = (name: string): string | undefined => {
    const at = headers.findIndex((each, index) => index % 2 === 0 && each === name);
    return at < 0 ? undefined : headers[at + 1];
  };
  return { status, field, body };
};

describe('the answer of a refusal', () => {
  it.each(REFUSAL_CODES)(
    '%s: its status, its code in a header, and the length in bytes',
    (code) => {
      const { status, field, body } = answer(code);
      expect(status).toBe(statusOf(code));
      expect(field('x-sidecar-refusal')).toBe(code);
      expect(field('x-request-id')).toBe('id-1');
      expect(field('content-length')).toBe(String(Buffer.byteLength(body)));
      expect(field('content-type')).toBe('application/json');
      expect(field('cache-control')).toBe('no-store');
      expect(field('www-authenticate')).toBe(status === 401 ? 'Bearer' : undefined);
      expect(JSON.parse(body)).toMatchObject({ error: { code, message: 'Größe' } });
    },
  );

  it('says when to try again where that is known', () => {
    expect(answer('draining', {}, { retryAfter: 5 }).field('retry-after')).toBe('5');
    expect(answer('unknown_key').field('retry-after')).toBeUndefined();
  });

  it('is readable for a page of another origin, and for no other', () => {
    const { field } = answer('missing_key', { reader: 'https://app.example' });
    expect(field('access-control-allow-origin')).toBe('https://app.example');
    expect(field('access-control-expose-headers')).toContain('x-sidecar-refusal');
    expect(field('vary')).toBe('Origin');
    expect(answer('missing_key').field('access-control-allow-origin')).toBeUndefined();
    expect(answer('missing_key').field('vary')).toBeUndefined();
  });

  it("is told in the shape that the route's clients read", () => {
    expect(JSON.parse(answer('unknown_key', { dialect: 'anthropic' }).body)).toMatchObject({
      type: 'error',
      error: { type: 'authentication_error' },
    });
    expect(JSON.parse(answer('unknown_key', { dialect: 'google' }).body)).toMatchObject({
      error: { code: 401, status: 'UNAUTHENTICATED' },
    });
  });

  it('holds no cause', () => {
    const { body } = answer('sidecar_failed', {}, { cause: new Error('10.1.2.3 sk-secret') });
    expect(body).not.toMatch(/10\.1\.2\.3|sk-secret/);
  });
});
