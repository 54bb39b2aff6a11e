import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { EMBEDDING } from '../support/fake-provider.ts';
import { type Given, STRANGER } from './ask.ts';
import { runProgram } from './run-program.ts';
import { MODELS } from './stage.ts';

/** Runs a script beside this file with LiteLLM's own Python; what it printed, read as JSON. */
async function runScript(given: Given, name: string, env: Record<string, string>) {
  const script = fileURLToPath(new URL(name, import.meta.url));
  const { code, stdout, stderr } = await runProgram(given().litellm.python, [script], {
    env: { ...env, MODEL: MODELS.nvidia, WRONG_KEY: STRANGER },
  });
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

export const sdksForPython = (given: Given) =>
  describe('the SDKs for Python', () => {
    let openai: Record<string, unknown>;
    let anthropic: Record<string, unknown>;

    // A script is one process, and most of its time goes into its imports.
    beforeAll(async () => {
      const { sidecar, key } = given();
      [openai, anthropic] = await Promise.all([
        runScript(given, 'openai_sdk.py', {
          OPENAI_BASE_URL: `${sidecar.url}/v1`,
          OPENAI_API_KEY: key,
          EMBEDDINGS_MODEL: MODELS.embeddings,
        }),
        runScript(given, 'anthropic_sdk.py', {
          ANTHROPIC_BASE_URL: sidecar.url,
          ANTHROPIC_API_KEY: key,
        }),
      ]);
    });

    test('OpenAI: chats', () => {
      expect(openai).toMatchObject({ chat: given().provider.words.join(''), tokens: 7 });
    });

    test('OpenAI: gets a stream in the pieces that the provider sent', () => {
      expect(openai['pieces']).toEqual(given().provider.words);
    });

    test('OpenAI: gets embeddings as floats', () => {
      expect(openai['embedding']).toEqual(EMBEDDING);
    });

    test('OpenAI: lists the models', () => {
      expect(openai['models']).toEqual(Object.values(MODELS).toSorted());
    });

    test('OpenAI: a wrong key is its AuthenticationError, with our code', () => {
      expect(openai['wrong']).toEqual({
        kind: 'AuthenticationError',
        status: 401,
        code: 'unknown_key',
        header: 'unknown_key',
      });
    });

    test('Anthropic: gets a message', () => {
      expect(anthropic).toMatchObject({ message: given().provider.words.join(''), tokens: 7 });
    });

    test('Anthropic: streams a message', () => {
      expect(anthropic['pieces']).toEqual(given().provider.words);
    });

    test('Anthropic: a wrong key is its AuthenticationError, in its shape', () => {
      expect(anthropic['wrong']).toMatchObject({
        kind: 'AuthenticationError',
        status: 401,
        body: { type: 'error', error: { type: 'authentication_error', code: 'unknown_key' } },
      });
    });
  });
