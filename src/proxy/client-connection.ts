import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * What a client's connection needs around its answers: to hear of their end, to read away a body
 * that nobody wants, and to serve nothing behind an answer that ends the connection.
 */

/** The answers on a connection that wait behind another one's: each wants to hear of its end. */
const behindOthers = new WeakMap<Duplex, Set<() => void>>();

/**
 * Calls `done` once, when an answer was sent whole or its client left. Node gives no socket to an
 * answer that waits behind another's on its connection (RFC 9112 §9.3.2), and so does not tell that
 * answer when the client leaves: the connection is listened to in its stead.
 */
export function whenClosed(
  request: IncomingMessage,
  response: ServerResponse,
  done: () => void,
): void {
  if (response.socket !== null) {
    response.once('close', done);
    return;
  }
  const waiting = waitingOn(request.socket);
  const finish = (): void => {
    if (waiting.delete(finish)) done();
  };
  waiting.add(finish);
  response.once('close', finish);
}

/** One listener for each connection, however many answers wait on it. */
function waitingOn(socket: Duplex): Set<() => void> {
  const known = behindOthers.get(socket);
  if (known !== undefined) return known;
  const made = new Set<() => void>();
  behindOthers.set(socket, made);
  socket.once('close', () => {
    for (const finish of [...made]) finish();
  });
  return made;
}

/** Connections that end with an answer that is under way. */
const ending = new WeakSet<Duplex>();

/** From now on no further request on this connection is served (RFC 9112 §9.6). */
export const serveNoMore = (socket: Duplex): void => void ending.add(socket);

export const isServedNoMore = (socket: Duplex): boolean => ending.has(socket);

/**
 * Ends an answer before it is whole. Where nothing but the end of the connection tells where an
 * answer ends, as in HTTP/1.0 (RFC 9112 §6.3), a FIN would make the part a whole: nginx speaks
 * HTTP/1.0 to what stands behind it by default. So that connection is reset.
 */
export function breakOff(request: IncomingMessage, response: ServerResponse): void {
  const endsByClose = request.httpVersionMinor === 0 && response.headersSent;
  // Once all is written Node may be ending the connection, which cannot be reset then.
  if (endsByClose && !response.writableFinished) response.socket?.resetAndDestroy();
  else response.destroy();
}

/**
 * How long, and how much, is read of a body that nobody wants (RFC 9112 §9.6). As much as images
 * in a request are: nginx, which sends the whole of a body, answers its client with a 502 of its
 * own where it is cut off before.
 */
const LINGER_MS = 5000;
const LINGER_BYTES = 64 * 1024 * 1024;

/**
 * Reads and forgets what a client is still sending although it has its answer. To close at once may
 * reset the connection, and the reset may overtake the answer.
 *
 * @param done called once: with true at the body's end; with false at the limit of time or bytes,
 *   where the connection must be closed
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

/** After a whole answer: the connection lives on only if the rest of the body ends in time. */
export function discardOrClose(request: IncomingMessage): void {
  discardRest(request, (ended) => {
    if (!ended) request.socket.destroySoon();
  });
}

/**
 * After the last bytes were written on a bare socket: what the client still sends is read and
 * forgotten until it closes the connection too, or its time is up.
 */
export function lingerThenDestroy(socket: Duplex): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}

/** What a client may take to read the rest after LiteLLM closed a WebSocket. Milliseconds. */
const LAST_WORDS_MS = 30_000;

/** Ends a connection whose client may keep its half open, or read no more. */
export function endThenDestroy(socket: Duplex): void {
  const timer = setTimeout(() => socket.destroy(), LAST_WORDS_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.end(() => lingerThenDestroy(socket));
}
