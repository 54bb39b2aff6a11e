import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createEventReader,
  createStreamVerdict,
  describeAnswer,
  errorMessageIn,
  faultInAnswer,
} from '../../src/cli/gateway-probe.ts';

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
  expect(faultInAnswer(text)).toBe(fault);
});

test.each([
  ['ends with [DONE]', [CHUNK, USAGE, '[DONE]'], undefined],
  ['is cut', [CHUNK], 'the stream ended without [DONE]'],
  ['goes on after [DONE]', [CHUNK, '[DONE]', CHUNK], 'the stream ended without [DONE]'],
  ['is empty', [], 'the stream holds no event'],
  ['is only [DONE]', ['[DONE]'], 'the stream holds no choices'],
  ['breaks in the middle', [CHUNK, '{"error":{"message":"gone"}}', '[DONE]'], 'gone'],
  ['holds rubbish', [CHUNK, 'rubbish', '[DONE]'], 'an event is not json'],
])('a stream that %s', (_case, events, fault) => {
  const verdict = createStreamVerdict();
  events.forEach(verdict.event);
  expect(verdict.end()).toBe(fault);
});

const readAll = (pieces: readonly string[]): readonly string[] => {
  const reader = createEventReader();
  return pieces.flatMap((piece) => [...reader.push(piece)]);
};

test('gives the data of each complete event, comments and other fields aside', () => {
  const text =
    ': ping\n\nevent: x\nid: 1\ndata: {"a":1}\n\ndata:two\ndata\ndata: lines\n\ndata: cut';
  expect(readAll([text])).toEqual(['{"a":1}', 'two\n\nlines']);
});

test.each(['\n', '\r\n', '\r'])('takes %j for the end of a line', (end) => {
  const text = `data: 1${end}${end}data: 2${end}${end}data: 3`;
  expect(readAll([text])).toEqual(['1', '2']);
});

test('a field whose name only begins with data is another field', () => {
  expect(readAll(['database: x\n\ndata: y\n\n'])).toEqual(['y']);
});

test('however the stream is cut, the events are the same', () => {
  const line = fc.stringMatching(/^[a-z {}:"]{0,12}$/);
  fc.assert(
    fc.property(
      fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (events, end, sizes) => {
        const block = (lines: string[]) => `${lines.map((l) => `data: ${l}${end}`).join('')}${end}`;
        // A lone CR ends a line only once the next character shows that no LF follows.
        const text = `${events.map(block).join('')}:${end}`;
        const pieces: string[] = [];
        for (let at = 0; at < text.length; ) {
          const size = sizes.next().value as number;
          pieces.push(text.slice(at, at + size));
          at += size;
        }
        expect(readAll(pieces)).toEqual(events.map((lines) => lines.join('\n')));
      },
    ),
  );
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
