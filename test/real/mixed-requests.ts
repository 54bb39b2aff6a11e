import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import type { Tokens } from '../../src/litellm/usage.ts';
import { METERED } from '../support/metered-litellm.ts';
import { type Meter, meter } from '../support/metered-provider.ts';

/** What an SDK, or a caller without one, was told that an answer used. */
export interface Told {
  readonly tokens: Tokens;
  /** US dollars; undefined: LiteLLM said none. */
  readonly costUsd: number | undefined;
}

/** A client of the sidecar with its SDKs. */
export interface Caller {
  readonly openai: OpenAI;
  readonly anthropic: Anthropic;
  readonly url: string;
  readonly key: string;
}

export const callerOf = (url: string, key: string): Caller => ({
  openai: new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 }),
  anthropic: new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 }),
  url,
  key,
});

/** One way of asking a model. */
interface Way {
  readonly model: string;
  /** Of an answer that uses nothing that anybody could know: undefined. */
  ask(caller: Caller, use: Meter): Promise<Told | undefined>;
}

const LIMIT = { max_tokens: 64 } as const;
const user = (use: Meter) => [{ role: 'user' as const, content: meter(use) }];

/** What LiteLLM adds to the usage of an event. */
const costIn = (usage: unknown): number | undefined =>
  (usage as { readonly cost?: number | null } | undefined)?.cost ?? undefined;
const costOf = (response: Response): number | undefined => {
  const said = response.headers.get('x-litellm-response-cost');
  return said === null ? undefined : Number(said);
};

const ofCompletion = (usage: OpenAI.CompletionUsage): Tokens => ({
  input: usage.prompt_tokens,
  output: usage.completion_tokens,
  cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
  cacheWrite: usage.prompt_tokens_details?.cache_write_tokens ?? 0,
  reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
});

const ofResponse = (usage: OpenAI.Responses.ResponseUsage): Tokens => ({
  input: usage.input_tokens,
  output: usage.output_tokens,
  cached: usage.input_tokens_details.cached_tokens,
  cacheWrite: usage.input_tokens_details.cache_write_tokens ?? 0,
  reasoning: usage.output_tokens_details.reasoning_tokens,
});

const ofMessage = (usage: Anthropic.Usage): Tokens => {
  const [cached, cacheWrite] = [usage.cache_read_input_tokens, usage.cache_creation_input_tokens];
  return {
    input: usage.input_tokens + (cached ?? 0) + (cacheWrite ?? 0),
    output: usage.output_tokens,
    cached: cached ?? 0,
    cacheWrite: cacheWrite ?? 0,
    reasoning: 0,
  };
};

const there = <Usage>(usage: Usage | null | undefined): Usage => {
  if (usage === null || usage === undefined) throw new Error('the answer says no usage');
  return usage;
};

const chatJson = (model: string, tools?: OpenAI.ChatCompletionFunctionTool[]): Way => ({
  model,
  async ask({ openai }, use) {
    const question = { model, messages: user(use), ...(tools && { tools }) };
    const asked = openai.chat.completions.create(question);
    const { data, response } = await asked.withResponse();
    return { tokens: ofCompletion(there(data.usage)), costUsd: costOf(response) };
  },
});

const chatStream = (model: string): Way => ({
  model,
  async ask({ openai }, use) {
    const question = { model, messages: user(use), stream: true } as const;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await openai.chat.completions.create(question)) {
      usage = chunk.usage ?? usage;
    }
    return { tokens: ofCompletion(there(usage)), costUsd: costIn(usage) };
  },
});

const responsesJson = (model: string): Way => ({
  model,
  async ask({ openai }, use) {
    const asked = openai.responses.create({ model, input: meter(use) });
    const { data, response } = await asked.withResponse();
    return { tokens: ofResponse(there(data.usage)), costUsd: costOf(response) };
  },
});

const responsesStream = (model: string): Way => ({
  model,
  async ask({ openai }, use) {
    const stream = await openai.responses.create({ model, input: meter(use), stream: true });
    let usage: OpenAI.Responses.ResponseUsage | undefined;
    for await (const event of stream) {
      if (event.type === 'response.completed') usage = event.response.usage;
    }
    return { tokens: ofResponse(there(usage)), costUsd: costIn(usage) };
  },
});

const messagesJson = (model: string): Way => ({
  model,
  async ask({ anthropic }, use) {
    const asked = anthropic.messages.create({ model, ...LIMIT, messages: user(use) });
    const { data, response } = await asked.withResponse();
    return { tokens: ofMessage(data.usage), costUsd: costOf(response) };
  },
});

const messagesStream = (model: string): Way => ({
  model,
  async ask({ anthropic }, use) {
    const stream = anthropic.messages.stream({ model, ...LIMIT, messages: user(use) });
    let costUsd: number | undefined;
    stream.on('streamEvent', (event) => {
      if (event.type === 'message_delta') costUsd = costIn(event.usage);
    });
    return { tokens: ofMessage((await stream.finalMessage()).usage), costUsd };
  },
});

const completionsStream: Way = {
  model: METERED.instruct,
  async ask({ openai }, use) {
    const question = { model: METERED.instruct, prompt: meter(use), stream: true } as const;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await openai.completions.create(question)) {
      usage = chunk.usage ?? usage;
    }
    return { tokens: ofCompletion(there(usage)), costUsd: costIn(usage) };
  },
};

const embeddings: Way = {
  model: METERED.embeddings,
  async ask({ openai }, use) {
    const asked = openai.embeddings.create({ model: METERED.embeddings, input: meter(use) });
    const { data, response } = await asked.withResponse();
    const { prompt_tokens } = data.usage;
    return {
      tokens: { input: prompt_tokens, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 },
      costUsd: costOf(response),
    };
  },
};

interface GoogleUsage {
  readonly promptTokenCount: number;
  readonly candidatesTokenCount: number;
  readonly cachedContentTokenCount?: number;
  readonly thoughtsTokenCount?: number;
}

/** Google's SDK is none of ours; what it reads is the usage of the last event. */
const google = (verb: string): Way => ({
  model: METERED.gemini,
  async ask({ url, key }, use) {
    const response = await fetch(`${url}/v1beta/models/${METERED.gemini}:${verb}`, {
      method: 'POST',
      headers: { 'x-goog-api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ contents: [{ role: 'user', parts: [{ text: meter(use) }] }] }),
    });
    const last = (await response.text()).trim().split('\n').at(-1) ?? '';
    const { usageMetadata } = JSON.parse(last.replace(/^data: /, '')) as {
      readonly usageMetadata: GoogleUsage;
    };
    const reasoning = usageMetadata.thoughtsTokenCount ?? 0;
    const tokens = {
      input: usageMetadata.promptTokenCount,
      output: usageMetadata.candidatesTokenCount + reasoning,
      cached: usageMetadata.cachedContentTokenCount ?? 0,
      cacheWrite: 0,
      reasoning,
    };
    return { tokens, costUsd: costOf(response) };
  },
});

/** Long enough that nobody waits for its end. */
const ENDLESS = { pace: 100, pieces: 300 } as const;

/** Leaves a stream after its first event. */
const leaves = (model: string, open: (caller: Caller, use: Meter) => Stream): Way => ({
  model,
  async ask(caller, use) {
    const stream = await open(caller, { ...use, ...ENDLESS });
    for await (const _ of stream) break;
    stream.controller.abort();
    return undefined;
  },
});
type Stream = Promise<AsyncIterable<unknown> & { readonly controller: AbortController }>;

/** Leaves before there is an answer. */
const leavesEarly: Way = {
  model: METERED.openai,
  async ask({ openai }, use) {
    const question = { model: METERED.openai, messages: user({ ...use, pace: 30_000 }) };
    const signal = AbortSignal.timeout(100);
    const left = await openai.chat.completions.create(question, { signal }).then(
      () => false,
      (error) => error instanceof OpenAI.APIUserAbortError,
    );
    if (!left) throw new Error('there was an answer');
    return undefined;
  },
};

const limited: Way = {
  model: METERED.limited,
  async ask({ openai }, use) {
    const asked = openai.chat.completions.create({ model: METERED.limited, messages: user(use) });
    const error = await asked.catch((reason: unknown) => reason);
    if (!(error instanceof OpenAI.RateLimitError)) throw error;
    return undefined;
  },
};

const WEATHER: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: {} } } },
};

/** Every way, each with what may stand in its question. */
export const WAYS: readonly (Way & { readonly name: string; readonly more?: Meter })[] = [
  { name: 'chat', ...chatJson(METERED.openai) },
  { name: 'chat with tools', ...chatJson(METERED.openai, [WEATHER]), more: { tool: true } },
  { name: 'chat of a model that thinks', ...chatJson(METERED.o3) },
  { name: 'chat without a price', ...chatJson(METERED.unpriced) },
  { name: 'chat of Claude', ...chatJson(METERED.claude) },
  { name: 'a stream', ...chatStream(METERED.openai), more: { pieces: 8, pace: 5 } },
  { name: 'a stream without a price', ...chatStream(METERED.unpriced) },
  { name: 'a stream of Claude', ...chatStream(METERED.claude) },
  { name: 'a stream of Gemini', ...chatStream(METERED.gemini) },
  { name: 'a stream of completions', ...completionsStream },
  { name: 'embeddings', ...embeddings },
  { name: 'responses', ...responsesJson(METERED.openai) },
  { name: 'a stream of responses', ...responsesStream(METERED.o3), more: { pieces: 8, pace: 5 } },
  { name: 'responses of Claude', ...responsesStream(METERED.claude) },
  { name: 'messages', ...messagesJson(METERED.claude) },
  { name: 'messages of an OpenAI model', ...messagesJson(METERED.openai) },
  { name: 'a stream of messages', ...messagesStream(METERED.claude), more: { pieces: 8, pace: 5 } },
  { name: 'a stream of messages of OpenAI', ...messagesStream(METERED.openai) },
  { name: 'Google', ...google('generateContent') },
  { name: 'a stream of Google', ...google('streamGenerateContent?alt=sse') },
  { name: 'a limit', ...limited },
  { name: 'a client that leaves before the answer', ...leavesEarly },
  {
    name: 'a client that leaves a stream',
    ...leaves(METERED.openai, ({ openai }, use) =>
      openai.chat.completions.create({ model: METERED.openai, messages: user(use), stream: true }),
    ),
  },
  {
    name: 'a client that leaves a stream of messages',
    ...leaves(METERED.claude, ({ anthropic }, use) =>
      anthropic.messages.create({
        model: METERED.claude,
        ...LIMIT,
        messages: user(use),
        stream: true,
      }),
    ),
  },
  {
    name: 'a client that leaves a stream of responses',
    ...leaves(METERED.openai, ({ openai }, use) =>
      openai.responses.create({ model: METERED.openai, input: meter(use), stream: true }),
    ),
  },
];
