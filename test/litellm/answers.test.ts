import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ANSWERS, readAnswer } from '../support/answers.ts';

describe('the recorded answers of LiteLLM', () => {
  const names = ANSWERS.map(({ name }) => name);

  test('are one file a question, and no other', () => {
    const files = readdirSync(new URL('answers', import.meta.url));
    const recorded = files.filter((file) => file.endsWith('.http'));
    expect(recorded.toSorted()).toEqual(names.map((name) => `${name}.http`).toSorted());
  });

  test.each(names)('%s has a head and a body, and no key', (name) => {
    const { status, headers, body } = readAnswer(name);
    expect(status).toBeGreaterThanOrEqual(200);
    expect(headers['content-type']).toMatch(/^(?:application\/json|text\/event-stream)/);
    expect(body.length).toBe(Number(headers['content-length'] ?? body.length));
    expect(body.length).toBeGreaterThan(0);
    expect(JSON.stringify(headers) + body).not.toMatch(/sk-[A-Za-z0-9]{20}/);
  });
});
