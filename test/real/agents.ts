import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';
import { bearer, type Given, refusalIn } from './ask.ts';
import { MODELS } from './stage.ts';

type Fields = Readonly<Record<string, string>>;

/** What Claude Code sends beside its key. */
const CLAUDE_CODE: Fields = {
  accept: 'application/json',
  'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14',
  'anthropic-dangerous-direct-browser-access': 'true',
  'anthropic-version': '2023-06-01',
  'content-type': 'application/json',
  'user-agent': 'claude-cli/2.1.0 (external, cli)',
  'x-app': 'cli',
  'x-stainless-lang': 'js',
  'x-stainless-retry-count': '0',
  'x-stainless-timeout': '600',
};
/** What Codex sends beside its key. */
const CODEX: Fields = {
  accept: 'text/event-stream',
  'content-type': 'application/json',
  originator: 'codex_cli_rs',
  session_id: '0199f6a2-0000-7000-8000-000000000000',
  'user-agent': 'codex_cli_rs/0.60.0 (Debian 12.0.0; x86_64) unknown',
};
const SUBSCRIPTION = 'sk-ant-oat01-a-token-of-a-subscription';

export const codingAgents = (given: Given) =>
  describe('a coding agent', () => {
    let keeping: SidecarProcess;
    beforeAll(async () => {
      const { folder, litellm, upstreamKey, key } = given();
      const home = join(folder, 'keeping');
      await mkdir(home);
      keeping = await startSidecarProcess(home, {
        SIDECAR_UPSTREAM: litellm.url,
        SIDECAR_UPSTREAM_KEY: upstreamKey,
        LITELLM_MASTER_KEY: key,
        SIDECAR_KEEP_PROVIDER_AUTH: 'true',
      });
    });
    afterAll(() => keeping?.stop());

    const claude = (model: string, fields: Fields, url = given().sidecar.url) =>
      fetch(`${url}/v1/messages?beta=true`, {
        method: 'POST',
        headers: { ...CLAUDE_CODE, ...fields },
        body: JSON.stringify({
          model,
          max_tokens: 64,
          messages: [{ role: 'user', content: 'hi' }],
        }),
      });
    const seen = () => given().provider.requests.at(-1)?.headers;

    test.each([
      ['ANTHROPIC_AUTH_TOKEN', bearer],
      ['ANTHROPIC_API_KEY', (key: string) => ({ 'x-api-key': key })],
      ['both', (key: string) => ({ ...bearer(key), 'x-api-key': key })],
      [
        'a subscription, and the key beside it',
        (key: string) => ({ ...bearer(SUBSCRIPTION), 'x-litellm-api-key': `Bearer ${key}` }),
      ],
    ])('Claude Code with %s gets its answer', async (_how, fields) => {
      const { key, providerKey } = given();
      const answer = await claude(MODELS.claude, fields(key));
      expect([answer.status, refusalIn(answer)]).toEqual([200, undefined]);
      expect(seen()).toMatchObject({ 'x-api-key': providerKey });
      expect(seen()).not.toHaveProperty('authorization');
    });

    test('Claude Code pays by its subscription where the operator keeps that', async () => {
      const { key } = given();
      const both = { ...bearer(SUBSCRIPTION), 'x-litellm-api-key': `Bearer ${key}` };
      const answer = await claude(MODELS.claude, both, keeping.url);
      expect(answer.status).toBe(200);
      expect(seen()).toMatchObject({ authorization: `Bearer ${SUBSCRIPTION}` });
      expect(JSON.stringify(seen())).not.toContain(key);
    });

    test('Claude Code with a subscription alone is told what to do', async () => {
      const answer = await claude(MODELS.claude, bearer(SUBSCRIPTION));
      expect([answer.status, refusalIn(answer)]).toEqual([401, 'malformed_key']);
      const { error } = (await answer.json()) as { error: { message: string } };
      expect(error.message).toContain('x-litellm-api-key');
      expect(error.message).not.toContain(SUBSCRIPTION);
    });

    test('Codex streams a response', async () => {
      const { sidecar, key } = given();
      const input = [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
      ];
      const answer = await fetch(`${sidecar.url}/v1/responses`, {
        method: 'POST',
        headers: { ...CODEX, ...bearer(key) },
        body: JSON.stringify({ model: MODELS.nvidia, stream: true, store: false, input }),
      });
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain('response.completed');
    });
  });
