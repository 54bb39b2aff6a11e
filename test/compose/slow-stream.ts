import { expect } from 'vitest';

export interface Read {
  readonly text: string;
  readonly ended: 'whole' | 'cut';
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/**
 * Asks for a stream that the provider makes last, and reads what comes.
 *
 * @param length `slow`: eight seconds
 */
export async function readSlowly(
  url: string,
  key: string,
  length: 'slow' | 'a minute' = 'slow',
): Promise<Read> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'nvidia-llama-3-1-405b',
      stream: true,
      messages: [{ role: 'user', content: length }],
    }),
  });
  expect(answer.status).toBe(200);
  const decoder = new TextDecoder();
  let text = '';
  try {
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
    return { text, ended: 'whole', at: Date.now() };
  } catch {
    return { text, ended: 'cut', at: Date.now() };
  }
}
