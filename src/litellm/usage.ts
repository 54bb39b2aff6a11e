/** What an answer said was used, in tokens: whole numbers, at least 0. */
export interface Tokens {
  /** All that was read, `cached` and `cacheWrite` included. */
  readonly input: number;
  /** All that was written, `reasoning` included. */
  readonly output: number;
  /** Of `input`: read from the provider's cache. */
  readonly cached: number;
  /** Of `input`: written to the provider's cache. */
  readonly cacheWrite: number;
  /** Of `output`: thought and not shown. */
  readonly reasoning: number;
}

export interface Usage {
  readonly tokens: Tokens;
  /** US dollars; undefined: LiteLLM named no price. */
  readonly costUsd: number | undefined;
}

/** Why an answer that should have said its usage has none that counts. */
export const USAGE_FAULTS = [
  /** It said none. */
  'absent',
  /** Negative, huge, a fraction, or no number at all. */
  'invalid',
  /** It ended before its usage came. */
  'cut',
  /** An encoding that cannot be read here, or that decodes to more than is looked at. */
  'encoding',
  /** An event, or the place of the usage, was beyond what is kept. */
  'too_large',
  /** A WebSocket: it is passed on unread. */
  'websocket',
] as const;
export type UsageFault = (typeof USAGE_FAULTS)[number];

/** An object of an answer, as JSON.parse makes it: what its members are is not known. */
export type Said = Readonly<Record<string, unknown>>;

export const isSaid = (value: unknown): value is Said =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What was found in an answer; `fault` where nothing that counts was. */
export type UsageReading =
  | {
      readonly tokens: Tokens;
      /** US dollars, as the answer's own `usage.cost` has it. */
      readonly cost: number | undefined;
    }
  | { readonly fault: UsageFault };

/** Reads the usage out of one answer, whose bytes it is shown as they pass. It never throws. */
export interface UsageReader {
  /** Events that carried data. */
  readonly chunks: number;
  /** The model that went on with a stream where another had begun it; '': the same. */
  readonly model: string;
  /** Returns whether an event with data began in these bytes, which stay as they are. */
  read(chunk: Buffer): boolean;
  /** @param whole whether the answer came to its end */
  end(whole: boolean): UsageReading;
}

/** More than any model reads or writes for one request: a number beyond it is a mistake. */
const MOST_TOKENS = 1_000_000_000;
/** US dollars; as `MOST_TOKENS`. */
const MOST_COST = 1_000_000;

/** A count as an answer says it: 0 where it says none, and for a lie NaN, which spoils each sum. */
function count(said: unknown): number {
  if (said === undefined || said === null) return 0;
  const isCount = typeof said === 'number' && Number.isInteger(said);
  return isCount && said >= 0 && said <= MOST_TOKENS ? said : Number.NaN;
}

const NOTHING: Said = {};

const detailsOf = (said: unknown): Said => (isSaid(said) ? said : NOTHING);

/** A price in dollars; undefined: none, or none that can be one. */
const priceOf = (said: unknown): number | undefined =>
  typeof said === 'number' && said >= 0 && said <= MOST_COST ? said : undefined;

/**
 * What an answer cost. A stream's head is written before its price is known, and says 0; where both
 * the head and the end of an answer name a price, the end of a stream knows better.
 *
 * @param header the value of `x-litellm-response-cost`, '' where there is none
 * @param said the answer's own `usage.cost`
 */
export function costOf(
  header: string,
  said: number | undefined,
  eventStream: boolean,
): number | undefined {
  if (eventStream && said !== undefined) return said;
  const price = header === '' ? undefined : priceOf(Number(header));
  return price === undefined || (eventStream && price === 0) ? said : price;
}

/** Reads an object that an answer calls its usage, in any of the dialects. */
export function readUsage(said: Said): UsageReading {
  const tokens = tokensOf(said);
  if (tokens === undefined) return { fault: 'absent' };
  const { input, output, cached, cacheWrite, reasoning } = tokens;
  if (input === 0 && output === 0) return { fault: 'absent' };
  // A part is not more than its whole, and NaN is not less than anything.
  const addsUp = cached + cacheWrite <= input && reasoning <= output;
  return addsUp ? { tokens, cost: priceOf(said['cost']) } : { fault: 'invalid' };
}

/**
 * The dialects differ in their members' names, and so they are told apart: a LiteLLM translates one
 * into another, and its pass-through routes do not. undefined: none of the names is there.
 */
function tokensOf(said: Said): Tokens | undefined {
  if ('prompt_tokens' in said || 'completion_tokens' in said) return inChat(said);
  if ('input_tokens' in said || 'output_tokens' in said) return inResponses(said);
  if ('promptTokenCount' in said || 'totalTokenCount' in said) return inGoogle(said);
  if ('total_input_tokens' in said) return inInteractions(said);
  if (isSaid(said['tokens'])) return tokensOf(said['tokens']);
  if (isSaid(said['billed_units'])) return tokensOf(said['billed_units']);
  // Only what writes nothing says a total alone: an embedding, a ranking.
  return 'total_tokens' in said ? { ...NO_TOKENS, input: count(said['total_tokens']) } : undefined;
}

/** What an answer used of which only the price is known. */
export const NO_TOKENS: Tokens = { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };

/**
 * OpenAI's chat, completions and embeddings. `prompt_tokens` includes what the cache had, of
 * Anthropic's models too (calculate_usage in LiteLLM's llms/anthropic/chat/transformation.py).
 */
function inChat(said: Said): Tokens {
  const read = detailsOf(said['prompt_tokens_details']);
  const written = detailsOf(said['completion_tokens_details']);
  return {
    input: count(said['prompt_tokens']),
    output: count(said['completion_tokens']),
    cached: count(read['cached_tokens'] ?? said['cache_read_input_tokens']),
    cacheWrite: count(
      read['cache_creation_tokens'] ??
        read['cache_write_tokens'] ??
        said['cache_creation_input_tokens'],
    ),
    reasoning: count(written['reasoning_tokens']),
  };
}

/**
 * OpenAI's responses, images and transcriptions, and Anthropic's messages, whose `input_tokens`
 * alone do not include what the cache had: the two names of its cache tell them apart, as they do
 * for LiteLLM (is_anthropic_usage_object in llms/anthropic/chat/transformation.py). On
 * `/v1/messages` it speaks Anthropic's way for every provider
 * (translate_openai_usage_to_anthropic_usage_delta in llms/anthropic/pass_through/adapters).
 */
function inResponses(said: Said): Tokens {
  const { cache_read_input_tokens: fromCache, cache_creation_input_tokens: intoCache } = said;
  const read = detailsOf(said['input_tokens_details']);
  const written = detailsOf(said['output_tokens_details']);
  // Where Anthropic took several steps, to make a long talk short, its sums leave out those.
  const { iterations } = said;
  const steps = Array.isArray(iterations) && iterations.length > 0 ? iterations : [said];
  const sumOf = (name: string): number =>
    steps.reduce((sum: number, step: unknown) => sum + count(detailsOf(step)[name]), 0);
  const cached = sumOf('cache_read_input_tokens');
  const cacheWrite = sumOf('cache_creation_input_tokens');
  return {
    input: sumOf('input_tokens') + cached + cacheWrite,
    output: sumOf('output_tokens'),
    cached: fromCache === undefined ? count(read['cached_tokens']) : cached,
    cacheWrite: intoCache === undefined ? count(read['cache_write_tokens']) : cacheWrite,
    reasoning: count(written['reasoning_tokens'] ?? written['thinking_tokens']),
  };
}

/**
 * Google's generateContent. Its thoughts stand beside the candidates, except in models whose total
 * shows that they are in them (is_candidate_token_count_inclusive in LiteLLM's
 * vertex_and_google_ai_studio_gemini.py). What tools read stands beside the prompt; the cache's
 * part is in it.
 */
function inGoogle(said: Said): Tokens {
  const input = count(said['promptTokenCount']) + count(said['toolUsePromptTokenCount']);
  const shown = count(said['candidatesTokenCount'] ?? said['responseTokenCount']);
  const reasoning = count(said['thoughtsTokenCount']);
  return {
    input,
    output: withThoughts(shown, reasoning, input, said['totalTokenCount']),
    cached: count(said['cachedContentTokenCount']),
    cacheWrite: 0,
    reasoning,
  };
}

const withThoughts = (shown: number, thought: number, input: number, total: unknown): number =>
  input + shown === total && thought <= shown ? shown : shown + thought;

/** Google's interactions, of which LiteLLM translates input and output alone. */
function inInteractions(said: Said): Tokens {
  const input = count(said['total_input_tokens']) + count(said['total_tool_use_tokens']);
  const shown = count(said['total_output_tokens']);
  const reasoning = count(said['total_thought_tokens'] ?? said['total_reasoning_tokens']);
  return {
    input,
    output: withThoughts(shown, reasoning, input, said['total_tokens']),
    cached: count(said['total_cached_tokens']),
    cacheWrite: 0,
    reasoning,
  };
}
