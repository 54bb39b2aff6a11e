import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody } from '../litellm/error-body.ts';
import type { Dialect } from '../litellm/routes-table.ts';
import { type Refusal, refusal, statusOf } from '../refusal.ts';

/** Seconds: about how long LiteLLM takes to start. */
const RETRY_AFTER = 5;

/** What a client is told when its request was admitted and could still not be served. */
export const away = (): Refusal =>
  refusal('upstream_unavailable', 'LiteLLM is not reachable: try again', {
    retryAfter: RETRY_AFTER,
  });

export const keyChanges = (): Refusal =>
  refusal('upstream_unavailable', "LiteLLM's key is being changed: try again", { retryAfter: 1 });

export const tooManyWait = (): Refusal =>
  refusal('overloaded', 'LiteLLM is not reachable, and too many requests wait for it already', {
    retryAfter: RETRY_AFTER,
  });

export const draining = (): Refusal =>
  refusal('draining', 'this gateway is stopping: try again', { retryAfter: 1 });

export const uploadStalled = (): Refusal =>
  refusal('request_timeout', 'the body of the request stopped coming');

export const answerLate = (): Refusal =>
  refusal('upstream_timeout', 'LiteLLM did not begin to answer in time');

export const brokeOff = (cause: Error): Refusal =>
  refusal('upstream_failed', 'LiteLLM broke off before it answered', { cause });

export const unsendable = (cause: Error): Refusal =>
  refusal('sidecar_failed', 'this request could not be sent on', { cause });

export const unknownExpectation = (): Refusal =>
  refusal('bad_request', 'Expect may only say 100-continue');

/** How long, and how much, is read of a body nobody wants (RFC 9112 §9.6). */
const LINGER_MS = 2000;
const LINGER_BYTES = 1024 * 1024;

/**
 * Reads and forgets what a client is still sending although it has its answer. Closing at once may
 * reset the connection, and the reset overtake the answer. Calls `done` once, at the body's end or
 * at the limit; past the limit the connection must be closed.
 */
export function discardRest(request: IncomingMessage, done: (ended: boolean) => void): void {
  if (request.readableEnded || request.destroyed) {
    done(request.readableEnded);
    return;
  }
  let bytes = 0;
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) finish(false);
  };
  const onEnd = (): void => finish(true);
  const onClose = (): void => finish(false);
  const timer = setTimeout(() => finish(false), LINGER_MS);
  function finish(ended: boolean): void {
    clearTimeout(timer);
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    done(ended);
  }
  request.on('data', onData).on('end', onEnd).on('close', onClose);
  request.resume();
}

/** The same where the answer is whole: its connection lives on only if the body ends in time. */
export function discardOrClose(request: IncomingMessage): void {
  discardRest(request, (ended) => {
    if (!ended) request.socket.destroySoon();
  });
}

/**
 * The same for a bare socket whose last bytes are on their way: what still comes is read and
 * forgotten until the client closes too, or its time is up.
 */
export function lingerThenDestroy(socket: Duplex): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}

/** Connections that end with an answer that is under way. */
const ending = new WeakSet<Duplex>();

/** What comes on this connection from now on is not served any more (RFC 9112 §9.6). */
export const serveNoMore = (socket: Duplex): void => void ending.add(socket);

export const isServedNoMore = (socket: Duplex): boolean => ending.has(socket);

/** To whom a refusal is said. */
export interface RefusalContext {
  readonly dialect: Dialect;
  readonly requestId: string;
  readonly origin: string | undefined;
}

const EXPOSED = 'x-request-id, x-sidecar-refusal, retry-after';

/** The answer that a refusal makes: its status, its fields (name, value, …) and its body. */
export function refusalAnswer(
  refusal: Refusal,
  context: RefusalContext,
): { status: number; headers: string[]; body: string } {
  const body = errorBody(context.dialect, refusal);
  const status = statusOf(refusal.code);
  const headers = [
    ...['content-type', 'application/json'],
    ...['content-length', String(Buffer.byteLength(body))],
    ...['x-sidecar-refusal', refusal.code],
    ...['x-request-id', context.requestId],
    ...['cache-control', 'no-store'],
  ];
  // Where Anthropic's SDKs look for the id of a request.
  if (context.dialect === 'anthropic') headers.push('request-id', context.requestId);
  // RFC 9110 §11.6.1: a 401 names the scheme.
  if (status === 401) headers.push('www-authenticate', 'Bearer');
  if (refusal.retryAfter !== undefined) headers.push('retry-after', String(refusal.retryAfter));
  if (context.origin !== undefined) {
    headers.push('access-control-allow-origin', context.origin);
    headers.push('access-control-expose-headers', EXPOSED, 'vary', 'Origin');
  }
  return { status, headers, body };
}

/**
 * Answers a request with a refusal. A body that is still coming is not wanted: the connection is
 * closed, but only after the client had the time to read why.
 *
 * @param context.whole whether the body is here already, or there is none
 * @param context.close whether the connection ends even then
 */
export function refuseRequest(
  request: IncomingMessage,
  response: ServerResponse,
  refusal: Refusal,
  context: RefusalContext & { close: boolean; whole: boolean },
): void {
  const { status, headers, body } = refusalAnswer(refusal, context);
  if (context.close || !context.whole) {
    headers.push('connection', 'close');
    serveNoMore(request.socket);
  }
  response.writeHead(status, headers);
  if (context.whole) {
    response.end(body);
    return;
  }
  response.write(body);
  discardRest(request, () => response.end());
}

/** Says a refusal on a bare socket, where no request could be read or an upgrade was asked for. */
export function refuseSocket(socket: Duplex, refusal: Refusal, context: RefusalContext): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers, body } = refusalAnswer(refusal, context);
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`];
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`);
  lines.push(`date: ${new Date().toUTCString()}`, 'connection: close', '', body);
  socket.on('error', () => socket.destroy());
  socket.end(lines.join('\r\n'));
  lingerThenDestroy(socket);
}
