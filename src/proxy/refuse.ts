import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody } from '../litellm/error-body.ts';
import type { Dialect } from '../litellm/routes-table.ts';
import { type Refusal, refusal, statusOf } from '../refusal.ts';
import { discardRest, lingerThenDestroy, serveNoMore } from './client-connection.ts';
import { LIMIT_FIELDS } from './limit-fields.ts';

/** `Retry-After` in seconds: about how long LiteLLM takes to start. */
const LITELLM_STARTS_WITHIN = 5;

/** The refusals that do not depend on who asks: what stands in the way is here or at LiteLLM. */
export const refusals = {
  away: () =>
    refusal('upstream_unavailable', 'LiteLLM is not reachable: try again', {
      retryAfter: LITELLM_STARTS_WITHIN,
    }),
  keyChanges: () =>
    refusal('upstream_unavailable', "LiteLLM's key is being changed: try again", {
      retryAfter: 1,
    }),
  tooManyWait: () =>
    refusal('overloaded', 'LiteLLM is not reachable, and too many requests wait for it already', {
      retryAfter: LITELLM_STARTS_WITHIN,
    }),
  draining: () => refusal('draining', 'this gateway is stopping: try again', { retryAfter: 1 }),
  uploadStalled: () => refusal('request_timeout', 'the body of the request stopped coming'),
  answerLate: () => refusal('upstream_timeout', 'LiteLLM did not begin to answer in time'),
  brokeOff: (cause: Error) =>
    refusal('upstream_failed', 'LiteLLM broke off before it answered', { cause }),
  unsendable: (cause: Error) =>
    refusal('sidecar_failed', 'this request could not be sent on', { cause }),
  unknownExpectation: () => refusal('bad_request', 'Expect may only say 100-continue'),
  tooManyFailures: (retryAfter: number) =>
    refusal(
      'too_many_failures',
      'too many failed authentications from this address: check the key, then wait',
      { retryAfter },
    ),
} satisfies Record<string, (...given: never[]) => Refusal>;

/** To whom a refusal is said. */
export interface RefusalContext {
  readonly dialect: Dialect;
  readonly requestId: string;
  /** The origin of a page in a browser that may read the refusal (CORS). */
  readonly reader: string | undefined;
}

const EXPOSED = `x-request-id, x-sidecar-refusal, retry-after, x-should-retry, ${LIMIT_FIELDS}`;

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
  if (refusal.fields !== undefined) headers.push(...refusal.fields);
  if (refusal.final) headers.push('x-should-retry', 'false');
  if (context.reader !== undefined) {
    headers.push('access-control-allow-origin', context.reader);
    headers.push('access-control-expose-headers', EXPOSED, 'vary', 'Origin');
  }
  return { status, headers, body };
}

/**
 * Answers a request with a refusal. A body that is still coming is not wanted: the connection is
 * closed, but only after the client had the time to read why.
 *
 * @param context.whole whether the body is here already, or there is none
 * @param context.close whether the connection ends even where the body is here
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
  // Node keeps the reason phrase of a head that it refused to write.
  response.statusMessage = '';
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
