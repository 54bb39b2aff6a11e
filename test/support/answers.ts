import { readFileSync } from 'node:fs';
import type { Tokens } from '../../src/litellm/usage.ts';
import { METERED } from './metered-litellm.ts';
import { type Meter, meter } from './metered-provider.ts';

/** One of LiteLLM's answers in test/litellm/answers, and the question it answered. */
export interface AnswerRow {
  /** Of its file, without `.http`. */
  readonly name: string;
  readonly path: string;
  readonly body: object | FormData;
  /** Whether LiteLLM was set to tell usage and cost in every stream. */
  readonly tellsUsage: boolean;
  /** What the provider counted; undefined: nothing, or the answer ended before it could say so. */
  readonly used: Tokens | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const fileOf = (name: string): URL => new URL(`../litellm/answers/${name}.http`, import.meta.url);

/** The recorded answer: a head with LF alone, an empty line, and the body byte for byte. */
export function readAnswer(name: string): Answer {
  const bytes = readFileSync(fileOf(name));
  const end = bytes.indexOf('\n\n');
  const [status = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\n');
  return {
    status: Number(status.split(' ')[1]),
    headers: Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2))),
    body: bytes.subarray(end + 2),
  };
}

const NOTHING: Tokens = { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };

const PLAIN = { input: 120, output: 30 } as const;
const CACHED = { ...PLAIN, cached: 40 } as const;
const WROTE = { ...CACHED, cacheWrite: 50 } as const;
const THOUGHT = { ...CACHED, reasoning: 12 } as const;

const ask = (question: Meter) => [{ role: 'user', content: meter(question) }];
const TOOL = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: {} } } },
};
const LIMIT = { max_tokens: 2048 };
/** Slow enough that what comes first is passed on before the end, as providers do. */
const SLOW = { ...PLAIN, pace: 150, pieces: 6 } as const;
const STREAM = { stream: true };
const ASKS_USAGE = { ...STREAM, stream_options: { include_usage: true } };

const chat = (model: string, use: Meter, more: object = {}) =>
  ['/v1/chat/completions', { model, messages: ask(use), ...more }] as const;
const completion = (use: Meter, more: object = {}) =>
  ['/v1/completions', { model: METERED.instruct, prompt: meter(use), ...more }] as const;
const response = (model: string, use: Meter, more: object = {}) =>
  ['/v1/responses', { model, input: meter(use), ...more }] as const;
const message = (model: string, use: Meter, more: object = {}) =>
  ['/v1/messages', { model, messages: ask(use), ...LIMIT, ...more }] as const;
const google = (model: string, verb: string, use: Meter) =>
  [
    `/v1beta/models/${model}:${verb}`,
    { contents: [{ role: 'user', parts: [{ text: meter(use) }] }] },
  ] as const;
const THINKS = { thinking: { type: 'enabled', budget_tokens: 1024 } };

/** A name, what was asked, and what the provider counted. */
type Told = readonly [string, readonly [string, object | FormData], Meter | undefined];

const TOLD: readonly Told[] = [
  ['chat-json', chat(METERED.openai, CACHED), CACHED],
  ['chat-json-tool', chat(METERED.openai, { ...PLAIN, tool: true }, { tools: [TOOL] }), PLAIN],
  ['chat-json-reasoning', chat(METERED.o3, THOUGHT), THOUGHT],
  ['chat-json-unpriced', chat(METERED.unpriced, PLAIN), PLAIN],
  ['chat-json-claude', chat(METERED.claude, WROTE, LIMIT), WROTE],
  ['chat-json-gemini', chat(METERED.gemini, THOUGHT), THOUGHT],
  ['chat-json-429', chat(METERED.limited, PLAIN), undefined],
  ['chat-sse', chat(METERED.openai, CACHED, STREAM), CACHED],
  ['chat-sse-asked', chat(METERED.openai, CACHED, ASKS_USAGE), CACHED],
  [
    'chat-sse-tool',
    chat(METERED.openai, { ...PLAIN, tool: true }, { ...STREAM, tools: [TOOL] }),
    PLAIN,
  ],
  ['chat-sse-reasoning', chat(METERED.o3, THOUGHT, STREAM), THOUGHT],
  ['chat-sse-unpriced', chat(METERED.unpriced, PLAIN, STREAM), PLAIN],
  ['chat-sse-claude', chat(METERED.claude, WROTE, { ...LIMIT, ...STREAM }), WROTE],
  ['chat-sse-thinking', chat(METERED.claude, THOUGHT, { ...LIMIT, ...STREAM, ...THINKS }), THOUGHT],
  ['chat-sse-gemini', chat(METERED.gemini, THOUGHT, STREAM), THOUGHT],
  ['chat-sse-breaks', chat(METERED.breaks, SLOW, STREAM), undefined],
  ['chat-sse-errs', chat(METERED.errs, SLOW, STREAM), undefined],
  ['completions-json', completion(CACHED), CACHED],
  ['completions-sse', completion(CACHED, STREAM), CACHED],
  [
    'embeddings-json',
    ['/v1/embeddings', { model: METERED.embeddings, input: meter({ input: 120 }) }],
    { input: 120 },
  ],
  ['responses-json', response(METERED.openai, THOUGHT), THOUGHT],
  ['responses-json-claude', response(METERED.claude, CACHED), CACHED],
  ['responses-sse', response(METERED.openai, THOUGHT, STREAM), THOUGHT],
  ['responses-sse-claude', response(METERED.claude, CACHED, STREAM), CACHED],
  [
    'responses-sse-incomplete',
    response(METERED.openai, { ...THOUGHT, incomplete: true }, STREAM),
    THOUGHT,
  ],
  ['responses-sse-errs', response(METERED.errs, SLOW, STREAM), undefined],
  ['responses-sse-breaks', response(METERED.breaks, SLOW, STREAM), undefined],
  ['responses-sse-falls-back', response(METERED.fallsBack, SLOW, STREAM), PLAIN],
  ['messages-json', message(METERED.claude, WROTE), WROTE],
  ['messages-json-openai', message(METERED.openai, CACHED), CACHED],
  ['messages-json-429', message(METERED.limited, PLAIN), undefined],
  ['messages-sse', message(METERED.claude, WROTE, STREAM), WROTE],
  [
    'messages-sse-tool',
    message(METERED.claude, { ...WROTE, tool: true, reasoning: 12 }, STREAM),
    WROTE,
  ],
  ['messages-sse-openai', message(METERED.openai, CACHED, STREAM), CACHED],
  ['messages-sse-short', message(METERED.claude, { ...WROTE, short: true }, STREAM), WROTE],
  ['messages-sse-errs', message(METERED.claudeErrs, SLOW, STREAM), undefined],
  ['messages-count', ['/v1/messages/count_tokens', message(METERED.claude, PLAIN)[1]], undefined],
  ['messages-sse-breaks', message(METERED.breaks, SLOW, STREAM), undefined],
  ['google-json', google(METERED.gemini, 'generateContent', THOUGHT), THOUGHT],
  ['google-json-openai', google(METERED.openai, 'generateContent', CACHED), CACHED],
  ['google-sse', google(METERED.gemini, 'streamGenerateContent?alt=sse', THOUGHT), THOUGHT],
  ['google-stream', google(METERED.gemini, 'streamGenerateContent', THOUGHT), THOUGHT],
  ['google-sse-openai', google(METERED.openai, 'streamGenerateContent?alt=sse', CACHED), CACHED],
  [
    'passthrough-anthropic-json',
    ['/anthropic/v1/messages', message('claude-sonnet-4-5', WROTE)[1]],
    WROTE,
  ],
  [
    'passthrough-anthropic-sse',
    ['/anthropic/v1/messages', message('claude-sonnet-4-5', WROTE, STREAM)[1]],
    WROTE,
  ],
  [
    'passthrough-gemini-json',
    ['/gemini/v1beta/models/gemini-2.5-flash:generateContent', google('', '', THOUGHT)[1]],
    THOUGHT,
  ],
  ['image-json', ['/v1/images/generations', { model: METERED.image, prompt: meter(PLAIN) }], PLAIN],
  ['transcription-json', ['/v1/audio/transcriptions', recording()], PLAIN],
  [
    'rerank-json',
    ['/v1/rerank', { model: METERED.rerank, query: meter(PLAIN), documents: ['one'] }],
    { input: 120 },
  ],
];

function recording(): FormData {
  const form = new FormData();
  form.set('model', METERED.transcribe);
  form.set('prompt', meter(PLAIN));
  form.set('file', new Blob(['RIFF']), 'one.wav');
  return form;
}

/** The same streams of a LiteLLM with nothing set. */
const PLAIN_LITELLM = new Set([
  ...['chat-json', 'chat-sse', 'chat-sse-asked', 'chat-sse-claude', 'completions-sse'],
  ...['responses-sse', 'messages-sse', 'messages-sse-openai', 'google-sse'],
]);

const rowOf = ([name, [path, body], used]: Told): AnswerRow => ({
  ...{ name, path, body, tellsUsage: true },
  used: used && { ...NOTHING, ...used },
});

/** Every answer, in the order in which it was recorded. */
export const ANSWERS: readonly AnswerRow[] = [
  ...TOLD.map(rowOf),
  ...TOLD.filter(([name]) => PLAIN_LITELLM.has(name)).map((told) => {
    const row = rowOf(told);
    return { ...row, name: `${row.name}-unset`, tellsUsage: false };
  }),
];
