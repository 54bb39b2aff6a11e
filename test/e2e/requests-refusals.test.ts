import { describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { get, post } from '../support/ask.ts';
import { sayLine } from '../support/attack.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
const nobody = (port: number) => ({ port, key: generateKey() });

describe('a refusal', () => {
  it("has OpenAI's shape, and says who answered", async () => {
    const { sidecar } = await stage();
    const { response, text } = await post(nobody(sidecar.port));
    expect(response.statusCode).toBe(401);
    expect(response.headers).toMatchObject({
      'content-type': 'application/json',
      'x-sidecar-refusal': 'unknown_key',
      'www-authenticate': 'Bearer',
      'cache-control': 'no-store',
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(response.headers['access-control-allow-origin']).toBeUndefined();
    expect(JSON.parse(text)).toEqual({
      error: {
        message: expect.stringContaining('key'),
        type: 'authentication_error',
        param: null,
        code: 'unknown_key',
      },
    });
  });

  it.each(['/v1/messages', '/v1/messages/count_tokens', '/anthropic/v1/messages'])(
    "on %s has Anthropic's shape",
    async (path) => {
      const { sidecar } = await stage();
      const { response, text } = await post(nobody(sidecar.port), '{}', { path });
      expect(response.headers['x-sidecar-refusal']).toBe('unknown_key');
      expect(JSON.parse(text)).toMatchObject({
        type: 'error',
        error: { type: 'authentication_error', code: 'unknown_key' },
      });
    },
  );

  it("on generateContent has Google's shape", async () => {
    const { sidecar } = await stage();
    const path = '/v1beta/models/g:streamGenerateContent';
    const { response, text } = await post(nobody(sidecar.port), '{}', { path });
    expect(response.headers['www-authenticate']).toBe('Bearer');
    expect(JSON.parse(text)).toMatchObject({
      error: {
        code: 401,
        status: 'UNAUTHENTICATED',
        details: [{ metadata: { code: 'unknown_key' } }],
      },
    });
  });

  it('can be read by a page of another origin', async () => {
    const { sidecar } = await stage();
    const headers = { origin: 'https://app.example' };
    const { response } = await get(nobody(sidecar.port), '/v1/models', { headers });
    expect(response.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-expose-headers': expect.stringContaining('x-sidecar-refusal'),
      vary: 'Origin',
    });
  });

  it('of an upstream that is away says when to try again', async () => {
    const { sidecar, upstream } = await stage({ script: sayLine });
    await upstream.stop();
    const { response } = await get(sidecar);
    expect(response.statusCode).toBe(503);
    expect(response.headers['retry-after']).toBe('5');
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
  });

  it('is an access line without the key, and a count by its reason', async () => {
    const { sidecar } = await stage();
    const caller = nobody(sidecar.port);
    await get(caller, '/v1/models?secret=1');
    expect(sidecar.accessLines()).toEqual([
      expect.objectContaining({ status: 401, refusal: 'unknown_key', route: '/v1/models' }),
    ]);
    expect(sidecar.logText()).not.toMatch(new RegExp(`${caller.key}|secret`));
    expect(await sidecar.metrics()).toContain(
      'litellm_sidecar_refusals_total{reason="unknown_key"} 1',
    );
  });
});

describe('failed authentications', () => {
  it('of one address are limited, but never lock a valid key out', async () => {
    const settings = { SIDECAR_FAILURES_PER_MINUTE: '2' };
    const { sidecar } = await stage({ script: sayLine, settings });
    const guess = async () => {
      const { response } = await get(nobody(sidecar.port));
      return [response.statusCode, response.headers['x-sidecar-refusal']];
    };
    expect(await guess()).toEqual([401, 'unknown_key']);
    expect(await guess()).toEqual([401, 'unknown_key']);
    expect(await guess()).toEqual([429, 'too_many_failures']);
    const { response } = await get(nobody(sidecar.port));
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(50);
    // The same address with the key, without one, and on a health route.
    expect((await get(sidecar)).response.statusCode).toBe(200);
    const missing = await get(sidecar, '/v1/models', { headers: { authorization: '' } });
    expect(missing.response.headers['x-sidecar-refusal']).toBe('missing_key');
    const health = await get(nobody(sidecar.port), '/health/liveliness');
    expect(health.response.statusCode).toBe(200);
  });

  it('of one client behind a trusted proxy are its own', async () => {
    const settings = {
      SIDECAR_FAILURES_PER_MINUTE: '1',
      SIDECAR_TRUSTED_PROXIES: '127.0.0.1',
    };
    const { sidecar } = await stage({ settings });
    const guessFrom = async (address: string) => {
      const headers = { 'x-forwarded-for': address };
      const { response } = await get(nobody(sidecar.port), '/v1/models', { headers });
      return response.statusCode;
    };
    expect(await guessFrom('2001:db8::1')).toBe(401);
    expect(await guessFrom('2001:db8::2')).toBe(429);
    expect(await guessFrom('2001:db8:0:1::1')).toBe(401);
    // What the client itself put in front does not count.
    expect(await guessFrom('203.0.113.1')).toBe(401);
    expect(await guessFrom('192.0.2.99, 203.0.113.1')).toBe(429);
  });
});
