/**
 * The bytes that the bench sends and gets: about 1 KB of JSON each way, and SSE chunks the size
 * of OpenAI's. Fixed lengths, so that upstream and load generator do as little as can be.
 */

const words = (/** @type {number} */ n) =>
  Array.from({ length: n }, (_, i) => `word${i % 10}`).join(' ');

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

export const PATH = '/v1/chat/completions';

/** Microseconds of the machine's monotonic clock, which all processes share: 16 digits. */
export const stamp = () => String(process.hrtime.bigint() / 1000n).padStart(16, '0');

export const STAMP_MARK = '"sent":"';
export const STAMP_DIGITS = 16;

const BEFORE =
  'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,' +
  `"model":"bench",${STAMP_MARK}`;
const AFTER =
  '","choices":[{"index":0,"delta":{"content":"word "},"logprobs":null,"finish_reason":null}]}\n\n';
const SIZE = (BEFORE.length + STAMP_DIGITS + AFTER.length).toString(16);

/** One SSE event with the time of its sending, framed as an HTTP chunk. */
export const sseChunk = () => `${SIZE}\r\n${BEFORE}${stamp()}${AFTER}\r\n`;

/** The last event and the end of the chunked body. */
export const SSE_END = 'e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n';

/**
 * One request as it goes over the wire.
 * @param {{key: string, mode: string, body?: string}} options `mode` tells the upstream what to do:
 *   `json`, `echo`, `sse <chunks> <ms between>`, `hold <ms between, 0: never>`
 */
export const rawRequest = ({ key, mode, body = REQUEST_BODY }) =>
  [
    `POST ${PATH} HTTP/1.1`,
    'Host: bench.test',
    `Authorization: Bearer ${key}`,
    'Content-Type: application/json',
    'User-Agent: bench/1',
    'Accept: application/json',
    `X-Bench: ${mode}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n');
