import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, test } from 'vitest';
import { type Given, STRANGER } from './ask.ts';
import { MODELS } from './stage.ts';

const QUESTION = {
  model: MODELS.nvidia,
  max_tokens: 64,
  messages: [{ role: 'user' as const, content: 'hi' }],
};

export const anthropicForNode = (given: Given) =>
  describe('the Anthropic SDK for Node', () => {
    const client = (credential: { apiKey: string } | { authToken: string; apiKey: null }) =>
      new Anthropic({ ...credential, baseURL: given().sidecar.url, maxRetries: 0 });
    const answer = () => given().provider.words.join('');

    test.each([
      ['x-api-key', () => ({ apiKey: given().key })],
      ['Authorization', () => ({ apiKey: null, authToken: given().key })],
    ] as const)('gets a message with its key in %s', async (_carrier, credential) => {
      const { content, usage } = await client(credential()).messages.create(QUESTION);
      expect(content).toMatchObject([{ type: 'text', text: answer() }]);
      expect(usage).toMatchObject({ input_tokens: 5, output_tokens: 7 });
    });

    test('streams a message', async () => {
      const stream = client({ apiKey: given().key }).messages.stream(QUESTION);
      const pieces: string[] = [];
      stream.on('text', (piece) => pieces.push(piece));
      const { stop_reason } = await stream.finalMessage();
      expect(pieces).toEqual(given().provider.words);
      expect(stop_reason).toBe('end_turn');
    });

    test('a wrong key is its AuthenticationError, in its shape', async () => {
      const asked = client({ apiKey: STRANGER }).messages.create(QUESTION);
      const error = await asked.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(Anthropic.AuthenticationError);
      expect(error).toMatchObject({
        status: 401,
        type: 'authentication_error',
        error: { type: 'error', error: { type: 'authentication_error', code: 'unknown_key' } },
      });
    });
  });
