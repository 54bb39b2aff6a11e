import {
  type ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';

/** A reason phrase (RFC 9112 §4) without the bytes that no two programs read alike. */
const PLAIN = /^[\t\x20-\x7e]*$/;

/**
 * The reason phrase for the client: LiteLLM's, or the usual one where that holds control characters
 * or bytes outside ASCII, which Node refuses or undici has decoded already.
 */
export function reasonPhrase(status: number, said: string): string {
  const usual = STATUS_CODES[status] ?? '';
  return said === usual || PLAIN.test(said) ? said : usual;
}

/**
 * Writes the head of LiteLLM's answer. What Node refuses to write is left out, once it has refused:
 * above all `Trailer` where no chunks are sent, as with a length, to HEAD or to HTTP/1.0.
 *
 * @param headers name, value, name, value
 * @throws what Node throws where it refuses even the rest
 */
export function writeAnswerHead(
  response: ServerResponse,
  status: number,
  said: string,
  headers: readonly string[],
): void {
  const reason = reasonPhrase(status, said);
  try {
    response.writeHead(status, reason, headers as string[]);
  } catch {
    response.writeHead(status, reason, withoutRefused(headers));
  }
}

function withoutRefused(headers: readonly string[]): string[] {
  const out: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const [name = '', value = ''] = headers.slice(at, at + 2);
    if (isWritable(name, value)) out.push(name, value);
  }
  return out;
}

function isWritable(name: string, value: string): boolean {
  if (name.toLowerCase() === 'trailer') return false;
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}
