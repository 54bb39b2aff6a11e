import OpenAI from 'openai';
import { vi } from 'vitest';

/** Clients that ask one thing after the other, as a program with OpenAI's SDK does; no retries. */
export interface Loops {
  /** What failed, in words. */
  readonly errors: readonly string[];
  /** Resolves once each of them has begun and ended two more requests, a stream among them. */
  round(): Promise<void>;
  /** Resolves once what was under way is done. */
  stop(): Promise<void>;
}

const SAY = {
  model: 'mock',
  messages: [{ role: 'user' as const, content: 'hi' }],
};
const ANSWER = 'Hello from LiteLLM';

/** Starts four of them; each asks for the key anew before each request. */
export function startLoops(baseURL: string, keyNow: () => string): Loops {
  const errors: string[] = [];
  const counts = [0, 0, 0, 0];
  let isOver = false;

  const loop = async (at: number): Promise<void> => {
    for (let turn = at; !isOver; turn++) {
      const client = new OpenAI({ apiKey: keyNow(), baseURL, maxRetries: 0 });
      try {
        const text = turn % 2 === 0 ? await inOne(client) : await inPieces(client);
        if (!text.startsWith(ANSWER)) errors.push(`it answered ${JSON.stringify(text)}`);
      } catch (error) {
        errors.push(`${new Date().toISOString()} ${withCause(error)}`);
      }
      counts[at] = (counts[at] ?? 0) + 1;
    }
  };
  const loops = Promise.all(counts.map((_, at) => loop(at)));
  return {
    errors,
    async round() {
      // One is under way, and two after it.
      const wanted = counts.map((count) => count + 3);
      await vi.waitUntil(() => counts.every((count, at) => count >= (wanted[at] ?? 0)), {
        timeout: 60_000,
      });
    },
    async stop() {
      isOver = true;
      await loops;
    },
  };
}

/** fetch says `terminated` or `fetch failed`, and why in the cause. */
const withCause = (error: unknown): string =>
  error instanceof Error && error.cause !== undefined
    ? `${error}, because of ${withCause(error.cause)}`
    : String(error);

const inOne = async (client: OpenAI): Promise<string> =>
  (await client.chat.completions.create(SAY)).choices[0]?.message.content ?? '';

async function inPieces(client: OpenAI): Promise<string> {
  const stream = await client.chat.completions.create({ ...SAY, stream: true });
  let text = '';
  let end: string | null = null;
  for await (const { choices } of stream) {
    text += choices[0]?.delta.content ?? '';
    end = choices[0]?.finish_reason ?? end;
  }
  if (end !== 'stop') throw new Error('the stream ended before its end');
  return text;
}
