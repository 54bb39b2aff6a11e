import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';

/** What LiteLLM, or whatever listens at its address, said to one question. */
export type Answer =
  /** `json` is undefined where the body was no JSON, or longer than 4 MiB. */
  | { readonly kind: 'said'; readonly status: number; readonly json: unknown }
  /** It talks, and not HTTP. */
  | { readonly kind: 'no_http' }
  /** Nobody there, or no whole answer in time. */
  | { readonly kind: 'silent' };

/** A list of all the models of all the providers takes less than one. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * One GET on a connection of its own. Never rejects.
 *
 * @param timeoutMs Milliseconds to the end of the answer, name look-up included.
 */
export async function ask(
  url: URL,
  headers: OutgoingHttpHeaders,
  timeoutMs: number,
): Promise<Answer> {
  return await new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const isTalk = error.code?.startsWith('HPE_') === true;
      resolve({ kind: isTalk ? 'no_http' : 'silent' });
    };
    try {
      // Not its `timeout`, which is of the pauses: one who sends a byte a second has time for ever.
      const signal = AbortSignal.timeout(timeoutMs);
      request(url, { agent: false, headers, signal }, (answer) => {
        jsonOf(answer).then(
          (json) => resolve({ kind: 'said', status: answer.statusCode ?? 0, json }),
          fail,
        );
      })
        .on('error', fail)
        .end();
    } catch (error) {
      // A header that cannot be sent.
      fail(error as NodeJS.ErrnoException);
    }
  });
}

/** Rejects where the body does not come whole. */
async function jsonOf(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += chunk.length;
    // Leaving the loop closes the connection.
    if (size > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A field of a value of which nothing is known. */
export const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
