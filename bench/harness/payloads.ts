/**
 * The bytes that a bench sends and gets: about 1 KB of JSON each way, SSE chunks the size of
 * OpenAI's, and the answer's headers. Fixed lengths: upstream and load do as little as can be.
 */

const words = (count: number): string =>
  Array.from({ length: count }, (_, at) => `word${at % 10}`).join(' ');

export const PATH = '/v1/chat/completions';

export const REQUEST_BODY = JSON.stringify({
  model: 'bench',
  temperature: 0.2,
  messages: [
    { role: 'system', content: 'You are a benchmark.' },
    { role: 'user', content: words(150) },
  ],
});

export const ANSWER_BODY = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1767225600,
  model: 'bench',
  choices: [
    { index: 0, message: { role: 'assistant', content: words(130) }, finish_reason: 'stop' },
  ],
  usage: { prompt_tokens: 160, completion_tokens: 130, total_tokens: 290 },
});

/** Which headers an answer has beside its type and length. */
export type HeaderSet = 'litellm' | 'three';

const HEADERS: Readonly<Record<HeaderSet, readonly string[]>> = {
  /** What LiteLLM 1.104 sends (`get_custom_headers` in its proxy), behind uvicorn: twenty in all. */
  litellm: [
    'date: Sun, 29 Nov 2026 03:00:00 GMT',
    'server: uvicorn',
    'x-litellm-call-id: 5b1f2f0e-6c1d-4b35-9b0e-2f1f0a6d8c11',
    'x-litellm-model-id: 1f6d3c9a4be0f2d7735c8e21a90b6447d8f1e6a2c05b9d3387e4f612a0c9d5be',
    'x-litellm-model-name: openai/gpt-5-mini',
    'x-litellm-model-api-base: https://api.openai.com/v1',
    'x-litellm-version: 1.104.2',
    'x-litellm-response-cost: 0.00030200000000000002',
    'x-litellm-response-cost-original: 0.00030200000000000002',
    'x-litellm-response-cost-input: 4e-05',
    'x-litellm-response-cost-output: 0.000262',
    'x-litellm-key-spend: 0.0',
    'x-litellm-response-duration-ms: 812.345',
    'x-litellm-overhead-duration-ms: 3.211',
    'x-litellm-callback-duration-ms: 0.05',
    'x-litellm-model-group: bench',
    'x-litellm-attempted-retries: 0',
    'x-litellm-attempted-fallbacks: 0',
  ],
  three: ['x-litellm-model-group: bench'],
};

const headOf = (set: HeaderSet, ...framing: string[]): string =>
  ['HTTP/1.1 200 OK', ...HEADERS[set], ...framing, '', ''].join('\r\n');

/** A whole answer as it goes over the wire. */
export const jsonAnswer = (body: string | Buffer, set: HeaderSet): Buffer => {
  const length = `content-length: ${Buffer.byteLength(body)}`;
  const head = headOf(set, length, 'content-type: application/json');
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
};

export const SSE_HEAD = headOf(
  'litellm',
  'content-type: text/event-stream; charset=utf-8',
  'transfer-encoding: chunked',
);

/** Microseconds of the machine's monotonic clock, which all processes share: 16 digits. */
const stamp = (): string => String(process.hrtime.bigint() / 1000n).padStart(16, '0');
const STAMP_MARK = Buffer.from('"sent":"');
const STAMP_DIGITS = 16;

const BEFORE =
  'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,' +
  `"model":"bench",${STAMP_MARK}`;
const AFTER =
  '","choices":[{"index":0,"delta":{"content":"word "},"logprobs":null,"finish_reason":null}]}\n\n';
const SIZE = (BEFORE.length + STAMP_DIGITS + AFTER.length).toString(16);

/** One SSE event with the time of its sending, framed as an HTTP chunk. */
export const sseChunk = (): string => `${SIZE}\r\n${BEFORE}${stamp()}${AFTER}\r\n`;

/**
 * Calls back with the milliseconds since each stamped chunk in these bytes was sent. A stamp that
 * two reads share goes unseen.
 */
export function delays(bytes: Buffer, each: (ms: number) => void): void {
  let at = bytes.indexOf(STAMP_MARK);
  if (at < 0) return;
  const now = Number(process.hrtime.bigint() / 1000n);
  while (at >= 0) {
    const from = at + STAMP_MARK.length;
    const to = from + STAMP_DIGITS;
    if (to > bytes.length) return;
    each((now - Number(bytes.toString('latin1', from, to))) / 1000);
    at = bytes.indexOf(STAMP_MARK, from);
  }
}

interface RawRequest {
  readonly key: string;
  readonly mode: string;
  readonly bodyKB?: number | undefined;
}

/** The model stands behind what is long, as an SDK may have it. */
const bodyOf = (kB: number): string => {
  const content = words(Math.round((kB * 1000) / 'word0 '.length));
  return JSON.stringify({ messages: [{ role: 'user', content }], model: 'bench' });
};

/**
 * One request as it goes over the wire.
 * @param options.mode what the upstream shall do: `json litellm`, `json three`, `echo`,
 *   `hold <ms between the chunks of a stream without an end, 0: one chunk alone>`
 * @param options.bodyKB thousands of bytes of the body, about; undefined: that of all benches, 1
 */
export const rawRequest = ({ key, mode, bodyKB }: RawRequest): Buffer => {
  const body = bodyKB === undefined ? REQUEST_BODY : bodyOf(bodyKB);
  const lines = [
    `POST ${PATH} HTTP/1.1`,
    'Host: bench.test',
    `Authorization: Bearer ${key}`,
    'Content-Type: application/json',
    'User-Agent: bench/1',
    'Accept: application/json',
    `X-Bench: ${mode}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from([...lines, '', body].join('\r\n'));
};

/**
 * What becomes of one chat completion, which may take two minutes; rejects where its answer is cut
 * off.
 * @param options.key without it, none is sent
 */
export async function ask(port: number, options: { key?: string; mode?: string; body?: string }) {
  const { key, mode = 'json litellm', body = REQUEST_BODY } = options;
  const answer = await fetch(`http://127.0.0.1:${port}${PATH}`, {
    ...{ method: 'POST', body, signal: AbortSignal.timeout(120_000) },
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...{ 'content-type': 'application/json', 'x-bench': mode },
    },
  });
  const { status, headers } = answer;
  const refusal = headers.get('x-sidecar-refusal') ?? '';
  return { status, headers, refusal, said: await answer.text() };
}
