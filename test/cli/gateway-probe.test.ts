import { expect, test } from 'vitest';
import { describeAnswer, errorMessageIn } from '../../src/cli/answer-words.ts';
import { readStream } from '../../src/cli/gateway-probe.ts';
import { questionFor } from '../../src/cli/model-question.ts';

const CHUNK = '{"choices":[{"delta":{"content":"o"}}]}';
const USAGE = '{"choices":[],"usage":{"total_tokens":3}}';

test.each([
  ['choices', '{"choices":[{}]}', undefined],
  ['no json', '<html>', 'the answer is not json'],
  ['no choices', '{"choices":[]}', 'the answer holds no choices'],
  ['an error under a 200', '{"error":{"message":"quota"}}', 'quota'],
  ['an error without words', '{"error":{}}', 'an error without a message'],
  ['a null error beside choices', '{"error":null,"choices":[{}]}', undefined],
])('a whole answer with %s', (_case, text, fault) => {
  expect(questionFor('chat')?.faultIn(Buffer.from(text), 'application/json')).toBe(fault);
});

const BAD = '{"error":{"message":"quota"}}';
test.each([
  ['responses', '{"output":[{}]}', '{"output":[]}', 'holds no output'],
  ['completion', '{"choices":[{}]}', '{}', 'holds no choices'],
  ['embedding', '{"data":[{}]}', '<html>', 'is not json'],
  ['moderation', '{"results":[{}]}', '{}', 'holds no results'],
  ['rerank', '{"results":[{}]}', '{"data":[{}]}', 'holds no results'],
  ['image_generation', '{"data":[{}]}', '{"data":[]}', 'holds no data'],
  ['audio_transcription', '{"text":""}', '{}', 'holds no text'],
  ['audio_speech', 'ID3', '', 'is empty'],
])('an answer of a model for %s', (mode, good, bad, fault) => {
  const question = questionFor(mode);
  const judge = (text: string, type: string) => question?.faultIn(Buffer.from(text), type);
  const type = mode === 'audio_speech' ? 'audio/mpeg' : 'application/json';
  expect(judge(good, type)).toBeUndefined();
  expect(judge(bad, type)).toBe(`the answer ${fault}`);
  expect(judge(BAD, 'application/json')).toBe('quota');
});

test('a model that nothing is said of is asked to chat, one for something else nothing', () => {
  expect(questionFor(undefined)?.path).toBe('/v1/chat/completions');
  for (const mode of ['video_generation', 'realtime', '', 'constructor', '__proto__']) {
    expect(questionFor(mode)).toBeUndefined();
  }
});

test.each([
  ['ends with [DONE]', [CHUNK, USAGE, '[DONE]'], undefined],
  ['is cut', [CHUNK], 'the stream ended without [DONE]'],
  ['goes on after [DONE]', [CHUNK, '[DONE]', CHUNK], 'the stream ended without [DONE]'],
  ['is empty', [], 'the stream holds no event'],
  ['is only [DONE]', ['[DONE]'], 'the stream holds no choices'],
  ['breaks in the middle', [CHUNK, '{"error":{"message":"gone"}}', '[DONE]'], 'gone'],
  ['holds rubbish', [CHUNK, 'rubbish', '[DONE]'], 'an event is not json'],
])('a stream that %s', async (_case, events, fault) => {
  const text = events.map((data) => `data: ${data}\n\n`).join('');
  expect(await readStream(new Response(text), () => 7)).toEqual({ fault, firstByteMs: 7 });
});

test.each(['\n', '\r\n', '\r'])('the lines of a stream may end in %j', async (end) => {
  const text = [
    ': ping',
    '',
    'event: x',
    'id: 1',
    `data:${CHUNK}`,
    '',
    'data: [DONE]',
    '',
    ':',
    '',
  ];
  const { fault } = await readStream(new Response(text.join(end)), () => 0);
  expect(fault).toBeUndefined();
});

test('the first event is waited for, however the stream is cut', async () => {
  const bytes = new TextEncoder().encode(`: pong\n\ndata: ${CHUNK}\n\ndata: [DONE]\n\n`);
  let read = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(stream) {
      if (read === bytes.length) stream.close();
      else stream.enqueue(bytes.subarray(read, ++read));
    },
  });
  const { fault, firstByteMs } = await readStream(new Response(body), () => read);
  expect(fault).toBeUndefined();
  expect(firstByteMs).toBeGreaterThanOrEqual(`: pong\n\ndata: ${CHUNK}\n`.length);
  expect(firstByteMs).toBeLessThan(bytes.length);
});

test.each([
  ['OpenAI', { error: { message: 'Bad\nkey', code: '401' } }, 'Bad key'],
  ['Anthropic', { type: 'error', error: { type: 'x', message: 'overloaded' } }, 'overloaded'],
  ['Google', { error: { code: 401, status: 'UNAUTHENTICATED', message: 'no' } }, 'no'],
  ['a bare error', { error: 'nope' }, 'nope'],
  ['FastAPI', { detail: 'Not Found' }, 'Not Found'],
  ['FastAPI with an object', { detail: { error: 'no such model' } }, 'no such model'],
  ['a gateway', { message: 'no route' }, 'no route'],
  ['nothing', {}, undefined],
  ['no object', 'text', undefined],
  ['an empty message', { error: { message: ' ' } }, undefined],
])('finds the message as %s shapes it', (_who, body, message) => {
  expect(errorMessageIn(body)).toBe(message);
});

test('takes LiteLLM’s repeated names and its routing out of a provider’s message', () => {
  const message =
    'litellm.RateLimitError: RateLimitError: OpenAIException - slow down. ' +
    'Received Model Group=gpt\nAvailable Model Group Fallbacks=None';
  expect(errorMessageIn({ error: { message } })).toBe(
    'RateLimitError: OpenAIException - slow down',
  );
});

test('takes out what LiteLLM 1.104 says of its router', () => {
  const message =
    "this is a mock rate limit error\nLiteLLM: model group 'm' failed with the error above. " +
    'No fallback was attempted.';
  expect(errorMessageIn({ error: { message } })).toBe('this is a mock rate limit error');
});

test('an answer without a message is told by its type', () => {
  expect(describeAnswer(502, 'text/html; charset=utf-8', undefined)).toBe(
    '502 without an error message (text/html)',
  );
  expect(describeAnswer(502, '', undefined)).toBe('502 without an error message (no content type)');
  expect(describeAnswer(429, 'application/json', { error: 'x' })).toBe('429 x');
});
