import { describe, expect, it } from 'vitest';
import type { Tokens, UsageReader, UsageReading } from '../../src/litellm/usage.ts';
import { EventUsage } from '../../src/litellm/usage-events.ts';
import { JsonUsage } from '../../src/litellm/usage-json.ts';
import { ANSWERS, type AnswerRow, readAnswer } from '../support/answers.ts';

/** Where LiteLLM's translation tells less than the provider did, or guesses. */
const TRANSLATED: Record<string, Partial<Tokens>> = {
  'chat-sse-thinking': { reasoning: 4 },
  'google-json-openai': { cached: 0 },
  'google-sse-openai': { cached: 0 },
};

/** Streams of a LiteLLM that was not set to tell their usage. */
const UNTOLD = new Set(['chat-sse-unset', 'chat-sse-claude-unset', 'completions-sse-unset']);
/** Streams that broke off, or say that they failed. */
const BROKEN = /-(?:errs|breaks)$/;

const expected = ({ name, used }: AnswerRow): UsageReading => {
  if (BROKEN.test(name)) return { fault: 'cut' };
  if (used === undefined || UNTOLD.has(name)) return { fault: 'absent' };
  return expect.objectContaining({ tokens: { ...used, ...TRANSLATED[name] } });
};

const readerFor = (type: string | undefined): UsageReader =>
  type?.startsWith('text/event-stream') ? new EventUsage() : new JsonUsage();

describe('the usage of what a real LiteLLM answered', () => {
  it.each(ANSWERS)('$name', (row) => {
    const { headers, body } = readAnswer(row.name);
    const reader = readerFor(headers['content-type']);
    reader.read(body);
    // The connection of this one broke off.
    expect(reader.end(row.name !== 'responses-sse-errs')).toEqual(expected(row));
    expect(reader.model).toBe(row.name === 'responses-sse-falls-back' ? 'claude' : '');
  });
});
