import { createLitellm, type Litellm } from './litellm.ts';
import { FAILING } from './metered-provider.ts';

/** Names in `config.yaml`, as clients ask for them. Where nothing else is said there is a price. */
export const METERED = {
  openai: 'gpt-4o',
  /** Thinks. */
  o3: 'o3',
  instruct: 'instruct',
  embeddings: 'text-embedding-3-small',
  claude: 'claude',
  gemini: 'gemini',
  image: 'image',
  transcribe: 'transcribe',
  rerank: 'rerank',
  /** LiteLLM knows no price of it. */
  unpriced: 'house/unpriced',
  limited: 'limited',
  breaks: 'breaks',
  errs: 'errs',
  claudeErrs: 'claude-errs',
  /** A response fails in mid-stream, and `claude` goes on. */
  fallsBack: 'falls-back',
} as const;

const PROVIDER_KEY = 'the-key-of-the-provider';

const rowsFor = (provider: string): readonly (readonly [string, object])[] => {
  const openai = (model: string) => ({
    ...{ model: `openai/${model}`, api_base: `${provider}/v1`, api_key: PROVIDER_KEY },
  });
  const other = (model: string) => ({ ...openai(''), model, api_base: provider });
  return [
    [METERED.openai, openai('gpt-4o')],
    [METERED.o3, openai('o3')],
    [METERED.instruct, { ...openai(''), model: 'text-completion-openai/gpt-3.5-turbo-instruct' }],
    [METERED.embeddings, openai('text-embedding-3-small')],
    [METERED.claude, other('anthropic/claude-sonnet-4-5')],
    [METERED.gemini, other('gemini/gemini-2.5-flash')],
    [METERED.image, openai('gpt-image-1')],
    [METERED.transcribe, openai('gpt-4o-transcribe')],
    [METERED.rerank, other('cohere/rerank-v3.5')],
    [METERED.unpriced, openai('house-model')],
    [METERED.limited, openai(FAILING.limited)],
    [METERED.breaks, openai(FAILING.breaks)],
    [METERED.errs, openai(FAILING.errs)],
    [METERED.claudeErrs, other(`anthropic/${FAILING.claudeErrs}`)],
    [METERED.fallsBack, openai(FAILING.fails)],
  ];
};

/**
 * @param provider its origin
 * @param tellsUsage `include_cost_in_streaming_usage` and `always_include_stream_usage`: both, or
 *   neither
 */
export const meteredConfig = (provider: string, tellsUsage: boolean): object => ({
  model_list: rowsFor(provider).map(([model_name, litellm_params]) => ({
    ...{ model_name, litellm_params },
  })),
  litellm_settings: {
    ...(tellsUsage && { include_cost_in_streaming_usage: true }),
    disable_hf_tokenizer_download: true,
  },
  router_settings: {
    num_retries: 0,
    disable_cooldowns: true,
    fallbacks: [{ [METERED.fallsBack]: [METERED.claude] }],
  },
  general_settings: {
    master_key: 'os.environ/LITELLM_MASTER_KEY',
    ...(tellsUsage && { always_include_stream_usage: true }),
  },
});

/** What a LiteLLM with that configuration finds in its environment. */
export const meteredEnvironment = (provider: string) => ({
  GEMINI_API_BASE: provider,
  GEMINI_API_KEY: PROVIDER_KEY,
  ANTHROPIC_API_BASE: provider,
  ANTHROPIC_API_KEY: PROVIDER_KEY,
});

/** A LiteLLM in front of a metered provider. Nothing runs before `start`. */
export const createMeteredLitellm = (given: {
  readonly folder: string;
  readonly masterKey: string;
  /** The provider's origin. */
  readonly provider: string;
  readonly tellsUsage: boolean;
}): Promise<Litellm> =>
  createLitellm({
    folder: given.folder,
    masterKey: given.masterKey,
    config: meteredConfig(given.provider, given.tellsUsage),
    env: meteredEnvironment(given.provider),
  });
