import { describe, expect, test } from 'vitest';
import { bearer, type Given, refusalIn } from './ask.ts';

/** What LiteLLM answers without a key, and with what. */
const OPEN_AT_LITELLM: readonly (readonly [path: string, status: number])[] = [
  ['/', 200],
  ['/routes', 200],
  ['/redoc', 200],
  ['/ui/', 200],
  ['/get_image', 200],
  ['/test', 200],
  ['/config/yaml', 422],
  ['/.well-known/litellm-ui-config', 200],
  ['/public/model_hub', 200],
  ['/public/providers', 200],
];

const DENIED = [
  '/prompts/test',
  '/prompts/test/',
  '/Prompts/Test',
  '/guardrails/test_custom_code',
  '/mcp-rest/test/connection',
  '/mcp-rest/test/tools/list',
  '/sso/debug/login',
  '/sso/debug/callback',
  '/utils/transform_request',
];

export const closedRoutes = (given: Given) =>
  describe('what nobody reaches without a key', () => {
    test.each(OPEN_AT_LITELLM)('%s is open at LiteLLM and closed here', async (path, status) => {
      const { litellm, sidecar } = given();
      expect((await fetch(`${litellm.url}${path}`)).status).toBe(status);
      const answer = await fetch(`${sidecar.url}${path}`);
      expect([answer.status, refusalIn(answer)]).toEqual([401, 'missing_key']);
    });

    test('/openapi.json is closed too, which LiteLLM needs many seconds to write', async () => {
      const answer = await fetch(`${given().sidecar.url}/openapi.json`);
      expect([answer.status, refusalIn(answer)]).toEqual([401, 'missing_key']);
    });

    test('with the key they are LiteLLM’s to answer', async () => {
      const { sidecar, key } = given();
      const answer = await fetch(`${sidecar.url}/routes`, { headers: bearer(key) });
      expect([answer.status, refusalIn(answer)]).toEqual([200, undefined]);
      expect(await answer.json()).toHaveProperty('routes');
    });

    test.each(DENIED)('%s is closed to the master too', async (path) => {
      const { sidecar, key } = given();
      const headers = { ...bearer(key), 'content-type': 'application/json' };
      const answer = await fetch(`${sidecar.url}${path}`, { method: 'POST', headers, body: '{}' });
      expect([answer.status, refusalIn(answer)]).toEqual([403, 'route_denied']);
      expect((await fetch(`${sidecar.url}${path}`)).status).toBe(403);
    });
  });

export const healthRoutes = (given: Given) =>
  describe('health', () => {
    test.each(['/health/liveliness', '/health/liveness', '/health/readiness'])(
      '%s is answered without a key, by the sidecar',
      async (path) => {
        const { sidecar, litellm } = given();
        const own = await fetch(`${litellm.url}${path}`);
        expect([own.status, own.headers.get('cache-control')]).toEqual([200, null]);
        const told = async () => {
          const answer = await fetch(`${sidecar.url}${path}`);
          return [answer.status, answer.headers.get('cache-control')];
        };
        // A LiteLLM that is busy for three seconds, as at its first page, counts as away for a moment.
        await expect.poll(told, { timeout: 10_000 }).toEqual([200, 'no-store']);
      },
    );

    test('/health/readiness/details and /health want the key', async () => {
      const { sidecar, key } = given();
      const details = `${sidecar.url}/health/readiness/details`;
      expect((await fetch(details)).status).toBe(401);
      expect((await fetch(`${sidecar.url}/health`)).status).toBe(401);
      const answer = await fetch(details, { headers: bearer(key) });
      expect([answer.status, await answer.json()]).toMatchObject([200, { status: 'healthy' }]);
    });
  });

export const browsers = (given: Given) =>
  describe('a browser elsewhere', () => {
    const origin = 'https://chat.example.com';

    const FIELDS = [
      'allow-origin',
      'allow-methods',
      'allow-headers',
      'allow-credentials',
      'max-age',
    ];

    test.each(['/v1/chat/completions', '/key/generate', '/health/liveliness', '/no/such/route'])(
      'gets what LiteLLM itself answers to a preflight of %s, without a key',
      async (path) => {
        const ask = async (url: string) => {
          const { status, headers } = await fetch(`${url}${path}`, {
            method: 'OPTIONS',
            headers: {
              origin,
              'access-control-request-method': 'POST',
              'access-control-request-headers': 'authorization,content-type',
            },
          });
          const fields = FIELDS.map((name) => headers.get(`access-control-${name}`));
          // Newer releases of Starlette name QUERY as well, which nobody serves.
          return { status, fields: fields.map((field) => field?.replace(', QUERY', '')) };
        };
        const { sidecar, litellm } = given();
        expect(await ask(sidecar.url)).toEqual(await ask(litellm.url));
      },
    );

    test.each(['/health/liveliness', '/health/readiness'])('may read %s', async (path) => {
      const { headers } = await fetch(`${given().sidecar.url}${path}`, { headers: { origin } });
      expect(headers.get('access-control-allow-origin')).toBe('*');
    });

    test('may read why it was refused', async () => {
      const answer = await fetch(`${given().sidecar.url}/v1/models`, { headers: { origin } });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('access-control-allow-origin')).toMatch(/^(\*|https:\/\/chat.*)$/);
    });
  });

export const redirects = (given: Given) =>
  describe('a redirect of LiteLLM’s', () => {
    test.each([
      ['/v1/models/', '/v1/models', 'application/json'],
      ['/ui', '/ui/', 'text/html'],
    ])('%s leads to %s at the sidecar', async (path, target, type) => {
      const { litellm, sidecar, key } = given();
      const headers = bearer(key);
      const own = await fetch(`${litellm.url}${path}`, { redirect: 'manual' });
      expect(own.headers.get('location')).toBe(litellm.url + target);

      const url = `${sidecar.url}${path}`;
      const told = (await fetch(url, { headers, redirect: 'manual' })).headers.get('location');
      expect(new URL(told ?? '', url).href).toBe(sidecar.url + target);
      const followed = await fetch(url, { headers });
      expect([followed.status, followed.url]).toEqual([200, sidecar.url + target]);
      expect(followed.headers.get('content-type')).toContain(type);
    });
  });
