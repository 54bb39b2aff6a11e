import { describe, expect, test } from 'vitest';
import { bearer, type Given, refusalIn, STRANGER } from './ask.ts';
import { MODELS } from './stage.ts';

const GOOGLE_QUESTION = JSON.stringify({ contents: [{ parts: [{ text: 'hi' }] }] });
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

/** Where a client may put its key. */
const CARRIERS: readonly (readonly [string, (key: string) => string])[] = [
  ['x-litellm-api-key', (key) => key],
  ['x-litellm-api-key', (key) => `Bearer ${key}`],
  ['authorization', (key) => `Bearer ${key}`],
  ['authorization', (key) => `bearer ${key}`],
  ['api-key', (key) => key],
  ['x-api-key', (key) => key],
  ['x-goog-api-key', (key) => key],
  ['ocp-apim-subscription-key', (key) => key],
];

export const carriers = (given: Given) =>
  describe('the places of a key', () => {
    const get = (headers: Record<string, string>) =>
      fetch(`${given().sidecar.url}/v1/models`, { headers });

    test.each(CARRIERS.map(([name, write]) => [`${name}: ${write('sk-…')}`, name, write] as const))(
      '%s',
      async (_shown, name, write) => {
        const right = await get({ [name]: write(given().key) });
        expect([right.status, refusalIn(right)]).toEqual([200, undefined]);
        const wrong = await get({ [name]: write(STRANGER) });
        expect([wrong.status, refusalIn(wrong)]).toEqual([401, 'unknown_key']);
      },
    );

    test('a bare key in Authorization opens nothing, here as at LiteLLM', async () => {
      const authorization = given().key;
      expect((await get({ authorization })).status).toBe(401);
    });

    test('the first place counts, in LiteLLM’s order', async () => {
      const { key } = given();
      const first = await get({ ...bearer(STRANGER), 'x-litellm-api-key': key });
      expect(first.status).toBe(200);
      const second = await get({ ...bearer(key), 'x-litellm-api-key': STRANGER });
      expect([second.status, refusalIn(second)]).toEqual([401, 'unknown_key']);
      expect((await get({ ...bearer(key), 'x-api-key': STRANGER })).status).toBe(200);
    });

    test('LiteLLM’s own key opens nothing', async () => {
      const answer = await get(bearer(given().upstreamKey));
      expect([answer.status, refusalIn(answer)]).toEqual([401, 'unknown_key']);
    });
  });

export const googleStyle = (given: Given) =>
  describe('Google’s way to ask', () => {
    const post = (path: string, headers: Record<string, string> = {}, body = GOOGLE_QUESTION) =>
      fetch(`${given().sidecar.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      });
    const text = async (answer: Response): Promise<unknown> => {
      const { candidates } = (await answer.json()) as {
        candidates: { content: { parts: { text: string }[] } }[];
      };
      return candidates[0]?.content.parts[0]?.text;
    };

    test.each([MODELS.nvidia, MODELS.slashes])('?key= on generateContent of %s', async (model) => {
      const answer = await post(`/v1beta/models/${model}:generateContent?key=${given().key}`);
      expect(await text(answer)).toBe(given().provider.words.join(''));
    });

    test('x-goog-api-key, and the slashes of a model encoded', async () => {
      const model = encodeURIComponent(MODELS.slashes);
      const headers = { 'x-goog-api-key': given().key };
      const answer = await post(`/v1beta/models/${model}:generateContent`, headers);
      expect(await text(answer)).toBe(given().provider.words.join(''));
    });

    test('a stream', async () => {
      const path = `/v1beta/models/${MODELS.nvidia}:streamGenerateContent`;
      const answer = await post(`${path}?alt=sse&key=${given().key}`);
      const events = (await answer.text()).split('\n\n').filter((event) => event !== '');
      expect(events.length).toBeGreaterThanOrEqual(given().provider.words.length);
    });

    test('a wrong key is told in Google’s shape', async () => {
      const answer = await post(`/v1beta/models/${MODELS.mock}:generateContent?key=${STRANGER}`);
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({
        error: { code: 401, status: 'UNAUTHENTICATED', details: [{ reason: 'UNKNOWN_KEY' }] },
      });
    });

    test('?key= opens no other route', async () => {
      const answer = await fetch(`${given().sidecar.url}/v1/models?key=${given().key}`);
      expect([answer.status, refusalIn(answer)]).toEqual([401, 'missing_key']);
    });

    const GEMINI = '/gemini/v1beta/models/gemini-flash:generateContent';
    test.each([
      ['?key=', (key: string) => [`${GEMINI}?key=${key}`, {}] as const],
      ['x-goog-api-key', (key: string) => [GEMINI, { 'x-goog-api-key': key }] as const],
      ['Authorization', (key: string) => [GEMINI, bearer(key)] as const],
      [
        'Authorization, beside litellm_user_api_key, which overrides all at LiteLLM',
        (key: string) => [GEMINI, { ...bearer(key), litellm_user_api_key: STRANGER }] as const,
      ],
    ])('/gemini/* passes with the key in %s', async (_carrier, place) => {
      const { key, providerKey, provider } = given();
      const [path, headers] = place(key);
      const answer = await post(path, headers);
      const reached = `/v1beta/models/gemini-flash:generateContent?key=${providerKey}`;
      expect([answer.status, await answer.json()]).toEqual([200, { path: reached }]);
      expect(provider.requests.at(-1)?.path).toBe(reached);
      const [otherPath, otherHeaders] = place(STRANGER);
      expect(refusalIn(await post(otherPath, otherHeaders))).toBe('unknown_key');
    });

    test.each([
      ['the password of Basic', (key: string) => basic('pk-lf-client', key)],
      ['a Bearer token', bearer],
    ])('/langfuse/* passes with the key as %s', async (_carrier, place) => {
      const path = '/langfuse/api/public/ingestion';
      const answer = await post(path, place(given().key), '{}');
      const reached = '/api/public/ingestion';
      expect([answer.status, await answer.json()]).toEqual([200, { path: reached }]);
      const { authorization } = given().provider.requests.at(-1)?.headers ?? {};
      expect({ authorization }).toEqual(basic('pk-lf-test', given().providerKey));
      expect(refusalIn(await post(path, place(STRANGER), '{}'))).toBe('unknown_key');
    });
  });
