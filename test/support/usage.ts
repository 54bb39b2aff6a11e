import type { UsageReport, UsageStoreView } from '../../src/usage/report.ts';
import { adminCall } from './admin.ts';
import type { Script } from './fake-upstream.ts';

/** Answers every request as a model does that read 10 tokens and wrote 20, for a tenth of a cent. */
export const sayUsage: Script = async (peer) => {
  await peer.body;
  const usage = { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 };
  peer.answer(
    '200 OK',
    JSON.stringify({ object: 'chat.completion', choices: [], usage }),
    'Content-Type: application/json',
    'x-litellm-model-group: gpt-4o',
    'x-litellm-response-cost: 0.001',
  );
};

type Place = { readonly state: string };

/** What a running sidecar counted. */
export const usageOf = async (sidecar: Place, query = ''): Promise<UsageReport> =>
  (await adminCall(sidecar, 'GET', `/api/usage${query}`)).body as UsageReport;

/** Has it write what it has. */
export const saveUsage = async (sidecar: Place): Promise<UsageStoreView> =>
  (await adminCall(sidecar, 'POST', '/api/usage/save')).body as UsageStoreView;
