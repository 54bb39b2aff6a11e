import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { generateKey } from '../../src/keyring/key.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.ts';
import { createLitellm, findLitellm, type Litellm } from '../support/litellm.ts';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';

/** A client's gateway as it is in earnest: sidecar, LiteLLM, and a provider behind it. */
export interface Stage {
  readonly folder: string;
  readonly provider: FakeProvider;
  readonly litellm: Litellm;
  readonly sidecar: SidecarProcess;
  /** What clients present. */
  readonly key: string;
  /** What LiteLLM runs with. */
  readonly upstreamKey: string;
  /** What LiteLLM shows the provider. */
  readonly providerKey: string;
  stop(): Promise<void>;
}

export const MODELS = {
  mock: 'mock',
  /** LiteLLM makes a 429 of it. */
  limited: 'mock-429',
  /** As in the shipped config.yaml, but the provider is ours. */
  nvidia: 'nvidia-llama-3-1-405b',
  slashes: 'meta/llama-3.1/instruct',
  embeddings: 'embeddings',
  claude: 'claude',
  /** The provider refuses LiteLLM's key. */
  broken: 'broken',
} as const;

export const MOCK_ANSWER = "Hello from LiteLLM's mock.";

/** Whether this LiteLLM can have metrics of its own: the package is not among what it requires. */
export const HAS_METRICS =
  spawnSync(join(dirname(findLitellm()), 'python'), ['-c', 'import prometheus_client']).status ===
  0;

const configFor = (provider: string, api_key: string): object => {
  const at = { api_base: `${provider}/v1`, api_key };
  const mock = (model: string, mock_response: string) => ({ model, ...at, mock_response });
  const rows: readonly (readonly [string, object])[] = [
    [MODELS.mock, mock('openai/gpt-4o', MOCK_ANSWER)],
    [MODELS.limited, mock('openai/limited', 'litellm.RateLimitError')],
    [MODELS.nvidia, { model: 'nvidia_nim/meta/llama-3.1-405b-instruct', ...at }],
    [MODELS.slashes, { model: 'openai/paced', ...at }],
    [MODELS.embeddings, { model: 'openai/text-embedding-3-small', ...at }],
    [MODELS.claude, { model: 'anthropic/claude-sonnet-4-5', api_base: provider, api_key }],
    [MODELS.broken, { model: 'openai/broken', ...at }],
  ];
  return {
    model_list: rows.map(([model_name, litellm_params]) => ({ model_name, litellm_params })),
    litellm_settings: {
      ...(HAS_METRICS && { callbacks: ['prometheus'] }),
      include_cost_in_streaming_usage: true,
      // A subscription's token goes on to the provider, where the sidecar leaves it.
      model_group_settings: { forward_client_headers_to_llm_api: [MODELS.claude] },
      // Else each stream of a Llama model asks huggingface.co for a tokenizer, and all others wait.
      disable_hf_tokenizer_download: true,
    },
    // A model that fails shall fail at once, and each time by itself.
    router_settings: { num_retries: 0, disable_cooldowns: true },
    general_settings: {
      master_key: 'os.environ/LITELLM_MASTER_KEY',
      always_include_stream_usage: true,
    },
  };
};

/** Starts all three; resolves when a request would be answered. What began ends where one fails. */
export async function setStage(): Promise<Stage> {
  findLitellm();
  const endings: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of endings.toReversed()) await end();
  };
  try {
    return { ...(await startAll(endings)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startAll(endings: (() => Promise<unknown>)[]): Promise<Omit<Stage, 'stop'>> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-litellm-'));
  endings.push(() => rm(folder, { recursive: true, force: true }));
  const provider = await startFakeProvider();
  endings.push(provider.stop);
  const key = generateKey();
  const upstreamKey = generateKey();
  const providerKey = 'the-key-of-the-provider';
  const litellm = await createLitellm({
    folder: join(folder, 'litellm'),
    masterKey: upstreamKey,
    config: configFor(provider.url, providerKey),
    env: {
      // A key that reached its log is to be seen there.
      LITELLM_DISABLE_REDACT_SECRETS: 'true',
      GEMINI_API_BASE: provider.url,
      GEMINI_API_KEY: providerKey,
      LANGFUSE_HOST: provider.url,
      LANGFUSE_PUBLIC_KEY: 'pk-lf-test',
      LANGFUSE_SECRET_KEY: providerKey,
    },
  });
  endings.push(litellm.stop);
  const isUp = litellm.start();
  // Whether it came up is asked below; until then nobody listens.
  isUp.catch(() => undefined);
  const home = join(folder, 'sidecar');
  await mkdir(home);
  const sidecar = await startSidecarProcess(home, {
    SIDECAR_UPSTREAM: litellm.url,
    SIDECAR_UPSTREAM_KEY: upstreamKey,
    LITELLM_MASTER_KEY: key,
    SIDECAR_LOG_LEVEL: 'trace',
    SIDECAR_LITELLM_METRICS: 'true',
    // A busy machine starts LiteLLM slowly, and all wrong keys come from one address.
    SIDECAR_HOLD: '2m',
    SIDECAR_FAILURES_PER_MINUTE: '0',
  });
  endings.push(sidecar.stop);
  await isUp;
  return { folder, provider, litellm, sidecar, key, upstreamKey, providerKey };
}
