import { expect, test } from 'vitest';
import {
  describeAnswer,
  errorMessageIn,
  type Outcome,
  summarise,
} from '../../src/cli/commands/probe.ts';
import { oneLine } from '../../src/text/safe.ts';

const ok: Outcome = { state: 'ok', latencyMs: 10, firstByteMs: 5 };
const failed: Outcome = { state: 'failed', error: 'no', latencyMs: 10 };
const skipped: Outcome = { state: 'skipped', error: 'a pattern' };
const unfinished: Outcome = { state: 'unfinished' };
const rows = (...outcomes: Outcome[]) => outcomes.map((outcome) => ({ model: 'm', outcome }));

test.each([
  ['all are ok', rows(ok, ok), true],
  ['one is skipped', rows(ok, skipped), true],
  ['one failed', rows(ok, failed), false],
  ['one is not finished', rows(ok, unfinished), false],
  ['none was asked', rows(skipped), false],
  ['there is none', rows(), false],
])('where %s', (_case, models, passed) => {
  expect(summarise(models).passed).toBe(passed);
});

test('counts each state', () => {
  expect(summarise(rows(ok, ok, failed, skipped, unfinished))).toEqual({
    ok: 2,
    failed: 1,
    skipped: 1,
    unfinished: 1,
    passed: false,
  });
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

test('one line holds no escape sequence, no line break and no more than it may', () => {
  expect(oneLine('\u001b[31mred\u001b[0m\r\n\tx\u0000 y')).toBe('[31mred [0m x y');
  expect(oneLine('a'.repeat(50), 10)).toBe(`${'a'.repeat(9)}…`);
  expect(oneLine('a'.repeat(10), 10)).toBe('a'.repeat(10));
});

test('an answer without a message is told by its type', () => {
  expect(describeAnswer(502, 'text/html; charset=utf-8', undefined)).toBe(
    '502 without an error message (text/html)',
  );
  expect(describeAnswer(502, '', undefined)).toBe('502 without an error message (no content type)');
  expect(describeAnswer(429, 'application/json', { error: 'x' })).toBe('429 x');
});
