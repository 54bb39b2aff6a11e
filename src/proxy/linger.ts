import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

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
