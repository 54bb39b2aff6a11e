import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tokens } from '../../src/litellm/usage.ts';

/**
 * What LiteLLM takes for OpenAI, Anthropic, Google AI Studio and Cohere. What a request uses stands
 * in the request itself, written by `meter`: so whoever asks knows what it must be counted as.
 */
export interface MeteredProvider {
  /** Without `/v1`. */
  readonly url: string;
  stop(): Promise<void>;
}

/** How a question that `meter` writes is answered. */
export interface Meter extends Partial<Tokens> {
  /** Milliseconds between two pieces of a stream, or before an answer that is none; by default 0. */
  readonly pace?: number;
  /** Pieces of text in a stream, by default 3. */
  readonly pieces?: number;
  /** The answer is a call of the tool `weather`. */
  readonly tool?: boolean;
  /** Anthropic's stream ends as its documents show it: with the output alone. */
  readonly short?: boolean;
  /** OpenAI's response ends at its limit of tokens. */
  readonly incomplete?: boolean;
}

/** A question for a prompt: the provider reads its numbers out of the body, whatever the shape. */
export const meter = (wanted: Meter): string =>
  `use ${Object.entries(wanted)
    .map(([name, value]) => `${name}=${Number(value)}`)
    .join(' ')} please`;

/** Upstream models that fail; every other one answers. */
export const FAILING = {
  /** 429 at once. */
  limited: 'gpt-limited',
  /** The connection breaks after the fourth event. */
  breaks: 'gpt-breaks',
  /** An error event follows the fourth event. */
  errs: 'gpt-errs',
  claudeErrs: 'claude-errs',
  /** A response says after the fourth event that it failed. */
  fails: 'gpt-fails',
} as const;

interface Wanted extends Required<Meter> {
  readonly model: string;
  readonly stream: boolean;
  /** OpenAI's chat sends its usage in a stream only where it is asked to. */
  readonly asksUsage: boolean;
  readonly base64: boolean;
}

const readWanted = (body: string, path: string): Wanted => {
  const number = (name: string, otherwise: number): number =>
    Number(new RegExp(`\\b${name}=(\\d+)`).exec(body)?.[1] ?? otherwise);
  const says = (member: string, value: string): boolean =>
    new RegExp(`"${member}": ?${value}`).test(body);
  return {
    input: number('input', 11),
    output: number('output', 7),
    cached: number('cached', 0),
    cacheWrite: number('cacheWrite', 0),
    reasoning: number('reasoning', 0),
    pace: number('pace', 0),
    pieces: number('pieces', 3),
    tool: number('tool', 0) === 1,
    short: number('short', 0) === 1,
    incomplete: number('incomplete', 0) === 1,
    model: /"model": ?"([^"]*)"/.exec(body)?.[1] ?? '',
    stream: says('stream', 'true') || path.includes(':stream'),
    asksUsage: says('include_usage', 'true'),
    base64: says('encoding_format', '"base64"'),
  };
};

/** An event of a stream: its type, where the stream names it, and its data. */
type StreamEvent = readonly [type: string | undefined, data: object | string];

/** One answer, as JSON or piece by piece. */
interface Dialect {
  whole(wanted: Wanted): object;
  events(wanted: Wanted): readonly StreamEvent[];
}

const words = ({ pieces }: Wanted): string[] =>
  Array.from({ length: pieces }, (_, at) => `Wort ${at + 1} – `);
const THOUGHT = 'Let me think.';
const CITY = '{"city":"Zürich"}';

const openaiUsage = (wanted: Wanted): object => ({
  prompt_tokens: wanted.input,
  completion_tokens: wanted.output,
  total_tokens: wanted.input + wanted.output,
  prompt_tokens_details: { cached_tokens: wanted.cached, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: wanted.reasoning, audio_tokens: 0 },
});

const CALL = {
  index: 0,
  id: 'call_1',
  type: 'function',
  function: { name: 'weather', arguments: CITY },
};

const chat: Dialect = {
  whole: (wanted) => ({
    ...{ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: wanted.model },
    choices: [
      {
        index: 0,
        message: wanted.tool
          ? { role: 'assistant', content: null, tool_calls: [CALL] }
          : { role: 'assistant', content: words(wanted).join('') },
        finish_reason: wanted.tool ? 'tool_calls' : 'stop',
      },
    ],
    usage: openaiUsage(wanted),
  }),
  events(wanted) {
    const frame = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1 };
    const chunk = (delta: object, finish_reason: string | null = null) =>
      ({
        ...{ ...frame, model: wanted.model },
        choices: [{ index: 0, delta, finish_reason }],
      }) as object;
    const said = wanted.tool
      ? [chunk({ role: 'assistant', content: null, tool_calls: [CALL] })]
      : words(wanted).map((content) => chunk({ role: 'assistant', content }));
    const usage = { ...frame, model: wanted.model, choices: [], usage: openaiUsage(wanted) };
    const all = [...said, chunk({}, wanted.tool ? 'tool_calls' : 'stop')];
    return [...(wanted.asksUsage ? [...all, usage] : all), '[DONE]'].map((data) => [
      undefined,
      data,
    ]);
  },
};

const completions: Dialect = {
  whole: (wanted) => ({
    ...{ id: 'cmpl-1', object: 'text_completion', created: 1, model: wanted.model },
    choices: [{ index: 0, text: words(wanted).join(''), logprobs: null, finish_reason: 'stop' }],
    usage: openaiUsage(wanted),
  }),
  events(wanted) {
    const frame = { id: 'cmpl-1', object: 'text_completion', created: 1, model: wanted.model };
    const said = words(wanted).map((text, at) => ({
      ...frame,
      choices: [{ index: 0, text, finish_reason: at + 1 < wanted.pieces ? null : 'stop' }],
    }));
    const usage = wanted.asksUsage ? [{ ...frame, choices: [], usage: openaiUsage(wanted) }] : [];
    return [...said, ...usage, '[DONE]'].map((data) => [undefined, data]);
  },
};

const responses: Dialect = {
  whole: (wanted) => ({
    ...{ id: 'resp_1', object: 'response', created_at: 1, error: null },
    ...{ model: wanted.model, parallel_tool_calls: true, tool_choice: 'auto', tools: [] },
    ...{ instructions: null, metadata: {}, temperature: 1, top_p: 1 },
    status: wanted.incomplete ? 'incomplete' : 'completed',
    incomplete_details: wanted.incomplete ? { reason: 'max_output_tokens' } : null,
    output: [message(words(wanted).join(''))],
    usage: {
      input_tokens: wanted.input,
      input_tokens_details: { cached_tokens: wanted.cached },
      output_tokens: wanted.output,
      output_tokens_details: { reasoning_tokens: wanted.reasoning },
      total_tokens: wanted.input + wanted.output,
    },
  }),
  events(wanted) {
    const whole = responses.whole(wanted);
    const begun = { ...whole, status: 'in_progress', output: [], usage: null };
    const at = { item_id: 'msg_1', output_index: 0, content_index: 0 };
    const all = [
      { type: 'response.created', response: begun },
      { type: 'response.output_item.added', output_index: 0, item: message('') },
      ...words(wanted).map((delta) => ({ type: 'response.output_text.delta', ...at, delta })),
      { type: 'response.output_text.done', ...at, text: words(wanted).join('') },
      { type: `response.${wanted.incomplete ? 'incomplete' : 'completed'}`, response: whole },
    ];
    return all.map((data, sequence_number) => [data.type, { ...data, sequence_number }]);
  },
};

const message = (said: string): object => ({
  ...{ type: 'message', id: 'msg_1', status: 'completed', role: 'assistant' },
  content: said === '' ? [] : [{ type: 'output_text', text: said, annotations: [] }],
});

/** Anthropic counts what it read from a cache, or wrote to one, beside `input_tokens`. */
const anthropicUsage = (wanted: Wanted) => ({
  input_tokens: wanted.input - wanted.cached - wanted.cacheWrite,
  cache_read_input_tokens: wanted.cached,
  cache_creation_input_tokens: wanted.cacheWrite,
  cache_creation: { ephemeral_5m_input_tokens: wanted.cacheWrite, ephemeral_1h_input_tokens: 0 },
  output_tokens: wanted.output,
});

const anthropicContent = (wanted: Wanted): Record<string, unknown>[] => [
  ...(wanted.reasoning > 0 ? [{ type: 'thinking', thinking: THOUGHT, signature: 'c2ln' }] : []),
  wanted.tool
    ? { type: 'tool_use', id: 'toolu_1', name: 'weather', input: JSON.parse(CITY) }
    : { type: 'text', text: words(wanted).join('') },
];

const anthropic: Dialect = {
  whole: (wanted) => ({
    ...{ id: 'msg_1', type: 'message', role: 'assistant', model: wanted.model },
    ...{ stop_reason: wanted.tool ? 'tool_use' : 'end_turn', stop_sequence: null },
    content: anthropicContent(wanted),
    usage: anthropicUsage(wanted),
  }),
  events(wanted) {
    const { cache_creation: _, ...cumulated } = anthropicUsage(wanted);
    const begun = { ...cumulated, output_tokens: 1 };
    const blocks = anthropicContent(wanted).flatMap((block, index) => [
      { type: 'content_block_start', index, content_block: emptied(block) },
      ...deltas(wanted, block).map((delta) => ({ type: 'content_block_delta', index, delta })),
      { type: 'content_block_stop', index },
    ]);
    const stop_reason = wanted.tool ? 'tool_use' : 'end_turn';
    const all = [
      {
        type: 'message_start',
        message: { ...anthropic.whole(wanted), content: [], stop_reason: null, usage: begun },
      },
      { type: 'ping' },
      ...blocks,
      {
        type: 'message_delta',
        delta: { stop_reason, stop_sequence: null },
        usage: wanted.short ? { output_tokens: wanted.output } : cumulated,
      },
      { type: 'message_stop' },
    ];
    return all.map((data) => [data.type, data]);
  },
};

const emptied = (block: Record<string, unknown>): object => ({
  ...block,
  ...('text' in block && { text: '' }),
  ...('thinking' in block && { thinking: '', signature: '' }),
  ...('input' in block && { input: {} }),
});

const deltas = (wanted: Wanted, { type }: Record<string, unknown>): object[] => {
  if (type === 'tool_use') return [{ type: 'input_json_delta', partial_json: CITY }];
  if (type === 'text') return words(wanted).map((text) => ({ type: 'text_delta', text }));
  return [
    { type: 'thinking_delta', thinking: THOUGHT },
    { type: 'signature_delta', signature: 'c2ln' },
  ];
};

const google: Dialect = {
  whole: (wanted) => googleChunk(wanted, words(wanted).join(''), true),
  events: (wanted) =>
    words(wanted).map((said, at) => [
      undefined,
      googleChunk(wanted, said, at + 1 === wanted.pieces),
    ]),
};

/** Google counts what was thought beside the candidates, and repeats its usage in each chunk. */
const googleChunk = (wanted: Wanted, said: string, last: boolean): object => ({
  candidates: [
    {
      index: 0,
      content: { role: 'model', parts: [{ text: said }] },
      ...(last && { finishReason: 'STOP' }),
    },
  ],
  usageMetadata: {
    promptTokenCount: wanted.input,
    ...(wanted.cached > 0 && { cachedContentTokenCount: wanted.cached }),
    ...(last && { candidatesTokenCount: wanted.output - wanted.reasoning }),
    ...(wanted.reasoning > 0 && { thoughtsTokenCount: wanted.reasoning }),
    totalTokenCount: wanted.input + (last ? wanted.output : wanted.reasoning),
  },
  modelVersion: 'gemini-2.5-flash',
  responseId: 'g1',
});

/** OpenAI's SDKs ask for base64 unless they are told otherwise: little-endian 32-bit floats. */
const embedding = (wanted: Wanted): object => {
  const numbers = [0.25, -0.5, 1];
  const bytes = Buffer.from(new Float32Array(numbers).buffer).toString('base64');
  return {
    ...{ object: 'list', model: wanted.model },
    data: [{ object: 'embedding', index: 0, embedding: wanted.base64 ? bytes : numbers }],
    usage: { prompt_tokens: wanted.input, total_tokens: wanted.input },
  };
};

const image = (wanted: Wanted): object => ({
  created: 1,
  data: [{ b64_json: 'iVBORw0KGgo=' }],
  usage: {
    input_tokens: wanted.input,
    input_tokens_details: { text_tokens: wanted.input, image_tokens: 0 },
    output_tokens: wanted.output,
    total_tokens: wanted.input + wanted.output,
  },
});

const transcription = (wanted: Wanted): object => ({
  text: words(wanted).join(''),
  usage: {
    type: 'tokens',
    input_tokens: wanted.input,
    input_token_details: { text_tokens: 0, audio_tokens: wanted.input },
    output_tokens: wanted.output,
    total_tokens: wanted.input + wanted.output,
  },
});

const rerank = (wanted: Wanted): object => ({
  id: 'r1',
  results: [{ index: 0, relevance_score: 0.9 }],
  meta: {
    api_version: { version: '2' },
    billed_units: { search_units: 1 },
    tokens: { input_tokens: wanted.input, output_tokens: 0 },
  },
});

const whole = (answer: (wanted: Wanted) => object): Dialect => ({
  whole: answer,
  events: (wanted) => [[undefined, answer(wanted)]],
});

/** The first that the path ends like. */
const DIALECTS: readonly (readonly [RegExp, Dialect])[] = [
  [/\/chat\/completions$/, chat],
  [/\/completions$/, completions],
  [/\/responses$/, responses],
  [/\/messages$/, anthropic],
  [/:(?:stream)?generateContent$/i, google],
  [/\/messages\/count_tokens$/, whole(({ input }) => ({ input_tokens: input }))],
  [/\/embeddings$/, whole(embedding)],
  [/\/images\/generations$/, whole(image)],
  [/\/audio\/transcriptions$/, whole(transcription)],
  [/\/rerank$/, whole(rerank)],
];

const LIMITED = {
  error: { message: 'the provider says: slow down', type: 'rate_limit_error', code: '429' },
};

const FAILS_AT = 4;
const FAILED = {
  status: 'failed',
  error: { code: 'rate_limit_exceeded', message: 'the provider says: slow down' },
  ...{
    model: FAILING.fails,
    output: [],
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [],
  },
};
const ERRORS: ReadonlyMap<string, StreamEvent> = new Map([
  [FAILING.errs, [undefined, LIMITED]],
  [
    FAILING.fails,
    [
      'response.failed',
      {
        type: 'response.failed',
        sequence_number: FAILS_AT,
        response: { id: 'resp_1', object: 'response', created_at: 1, ...FAILED },
      },
    ],
  ],
  [
    FAILING.claudeErrs,
    ['error', { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }],
  ],
]);

/** Starts one on a free port of the loopback. */
export async function startMeteredProvider(): Promise<MeteredProvider> {
  const server = createServer((request, response) => {
    // Whoever leaves in mid-request breaks it off.
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '', 'http://provider');
  const wanted = readWanted(await text(request), pathname);
  const dialect = DIALECTS.find(([path]) => path.test(pathname))?.[1];
  if (dialect === undefined) return json(response, 404, { error: { message: pathname } });
  if (wanted.model === FAILING.limited) return json(response, 429, LIMITED);
  if (!wanted.stream && wanted.pace > 0) await sleep(wanted.pace);
  if (!wanted.stream) return json(response, 200, dialect.whole(wanted));
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  await stream(response, dialect.events(wanted), wanted);
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function stream(
  response: ServerResponse,
  events: readonly StreamEvent[],
  { model, pace }: Wanted,
): Promise<void> {
  for (const [at, event] of events.entries()) {
    if (pace > 0 && at > 0) await sleep(pace);
    if (response.destroyed) return;
    if (at === FAILS_AT && model === FAILING.breaks) return void response.destroy();
    const error = at === FAILS_AT ? ERRORS.get(model) : undefined;
    if (error !== undefined) return void response.end(framed(error));
    response.write(framed(event));
  }
  response.end();
}

const framed = ([type, data]: StreamEvent): string => {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return `${type === undefined ? '' : `event: ${type}\n`}data: ${text}\n\n`;
};
