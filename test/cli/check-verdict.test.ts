import { expect, test } from 'vitest';
import { createStreamVerdict, faultInAnswer } from '../../src/cli/commands/probe.ts';

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
