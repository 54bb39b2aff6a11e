import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import { EMBEDDING } from '../support/fake-provider.ts';
import { type Given, STRANGER } from './ask.ts';
import { MOCK_ANSWER, MODELS } from './stage.ts';

const MESSAGES = [{ role: 'user', content: 'hi' }] as const;

export const openaiForNode = (given: Given) =>
  describe('the OpenAI SDK for Node', () => {
    const client = (apiKey = given().key) =>
      new OpenAI({ apiKey, baseURL: `${given().sidecar.url}/v1`, maxRetries: 0 });
    const ask = (model: string, sdk = client()) =>
      sdk.chat.completions.create({ model, messages: [...MESSAGES] });
    const refused = async (sdk: OpenAI): Promise<InstanceType<typeof OpenAI.APIError>> => {
      const error = await ask(MODELS.mock, sdk).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
      return error as InstanceType<typeof OpenAI.APIError>;
    };

    test.each([MODELS.nvidia, MODELS.slashes])('chats with %s', async (model) => {
      const { choices, usage } = await ask(model);
      expect(choices[0]?.message.content).toBe(given().provider.words.join(''));
      expect(usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 7 });
    });

    test('chats with a mock, which no provider hears of', async () => {
      const before = given().provider.requests.length;
      expect((await ask(MODELS.mock)).choices[0]?.message.content).toBe(MOCK_ANSWER);
      expect(given().provider.requests).toHaveLength(before);
    });

    test('gets a stream in the pieces that the provider sent', async () => {
      const stream = await client().chat.completions.create({
        model: MODELS.nvidia,
        messages: [...MESSAGES],
        stream: true,
      });
      const pieces: string[] = [];
      let tokens: number | undefined;
      for await (const { choices, usage } of stream) {
        const piece = choices[0]?.delta.content ?? '';
        if (piece !== '') pieces.push(piece);
        tokens = usage?.completion_tokens ?? tokens;
      }
      expect(pieces).toEqual(given().provider.words);
      expect(tokens).toBe(7);
    });

    test('lists the models', async () => {
      const { data } = await client().models.list();
      expect(data.map(({ id }) => id).toSorted()).toEqual(Object.values(MODELS).toSorted());
    });

    test('gets embeddings, in base64 as it asks for them', async () => {
      const { data } = await client().embeddings.create({ model: MODELS.embeddings, input: 'hi' });
      expect(data[0]?.embedding).toEqual(EMBEDDING);
    });

    test('a wrong key is its AuthenticationError, with our code', async () => {
      const { code, requestID, headers } = await refused(client(STRANGER));
      expect(code).toBe('unknown_key');
      expect(headers?.get('x-sidecar-refusal')).toBe('unknown_key');
      expect(requestID).toBe(headers?.get('x-request-id'));
    });

    test('a key that was copied in part is told from a wrong one', async () => {
      expect((await refused(client(given().key.slice(0, -1)))).code).toBe('malformed_key');
    });

    test('no key', async () => {
      const sdk = client().withOptions({ defaultHeaders: { Authorization: null } });
      expect((await refused(sdk)).code).toBe('missing_key');
    });

    test('what the provider refuses is told as the provider’s', async () => {
      const error = await refused(client().withOptions({ fetch: asBroken }));
      expect(error.message).toContain('the provider says: no such key');
      expect(error.headers?.has('x-sidecar-refusal')).toBe(false);
      await expect(ask(MODELS.limited)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    });
  });

/** The same request, of the model whose provider refuses LiteLLM's key. */
const asBroken: typeof fetch = (input, init) =>
  fetch(input, { ...init, body: String(init?.body).replace(MODELS.mock, MODELS.broken) });
