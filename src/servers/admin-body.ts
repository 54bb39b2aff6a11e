import type { IncomingMessage } from 'node:http';
import { hasBody, type Problem } from './admin-problem.ts';

/** Of bytes: the longest request is a list of addresses. */
const MOST_BYTES = 64 * 1024;

const unsupported = (detail: string): Problem => ({
  code: 'unsupported_media_type',
  detail,
  hints: ['send JSON, with `content-type: application/json`'],
});

/**
 * Reads a body of JSON; an empty one is `{}`. Resolves to undefined where the client left in
 * the middle: then nothing is done for it.
 */
export async function readBody(
  request: IncomingMessage,
): Promise<{ readonly fields: object } | Problem | undefined> {
  const { 'content-type': type, 'content-encoding': encoding } = request.headers;
  // A page of another site can send a form or plain text without being asked for leave; not JSON.
  if (type === undefined ? hasBody(request) : !isJson(type)) {
    return unsupported('only application/json is read here');
  }
  if (encoding !== undefined) return unsupported('a body is read as it is, without an encoding');
  const bytes = await readBytes(request);
  if (bytes === undefined) return undefined;
  return Buffer.isBuffer(bytes) ? parse(bytes) : bytes;
}

const isJson = (type: string): boolean =>
  type.split(';', 1)[0]?.trim().toLowerCase() === 'application/json';

function readBytes(request: IncomingMessage): Promise<Buffer | Problem | undefined> {
  const tooLarge: Problem = {
    code: 'body_too_large',
    detail: `a body may have ${MOST_BYTES / 1024} KiB`,
  };
  if (Number(request.headers['content-length'] ?? 0) > MOST_BYTES) return Promise.resolve(tooLarge);
  if (request.destroyed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > MOST_BYTES) finish(tooLarge);
      else chunks.push(chunk);
    };
    const onEnd = (): void => finish(Buffer.concat(chunks));
    const onClose = (): void => finish(undefined);
    function finish(result: Buffer | Problem | undefined): void {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    }
    request.on('data', onData).on('end', onEnd).on('close', onClose);
    // A client that leaves is told of here, too; `close` follows.
    request.on('error', () => undefined);
  });
}

const bad = (detail: string): Problem => ({ code: 'bad_request', detail });

function parse(bytes: Buffer): { fields: object } | Problem {
  if (bytes.length === 0) return { fields: {} };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // Not the parser's words: they quote what was sent.
    return bad('the body is not JSON in UTF-8');
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? { fields: value }
    : bad('the body must be a JSON object');
}
