import { expect, it } from 'vitest';
import { missingCredential } from '../../src/cli/missing-credential.ts';

it.each([
  [
    'InternalServerError: Nvidia_nimException - Missing credentials. Please pass an `api_key`, or set the `NVIDIA_NIM_API_KEY` or `NVIDIA_NIM_ADMIN_KEY` environment variable.',
    'NVIDIA_NIM_API_KEY',
  ],
  [
    'AuthenticationError: OpenAIException - The api_key client option must be set either by passing api_key to the client or by setting the OPENAI_API_KEY environment variable',
    'OPENAI_API_KEY',
  ],
  [
    'AuthenticationError: Missing Anthropic API Key - A call is being made to anthropic but no key is set either in the environment variables or via params. Please set `ANTHROPIC_API_KEY` or `ANTHROPIC_AUTH_TOKEN` in your environment vars',
    'ANTHROPIC_API_KEY',
  ],
  ['401 Incorrect API key provided: OPENAI_API_KEY. You can find your API key at …', undefined],
  ['Rate limit reached for OPENAI_API_KEY', undefined],
  ['the messages must be set', undefined],
  ['', undefined],
])('in %j is %s', (error, variable) => {
  expect(missingCredential(error)).toBe(variable);
});
