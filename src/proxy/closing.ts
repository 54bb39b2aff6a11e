import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Of each connection on which answers wait behind another's: who wants to know of its end. */
const waiting = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls `done` once an answer was sent whole or its client left. An answer that waits behind
 * another's on its connection (RFC 9112 §9.3.2) has no socket yet: Node does not tell it of the
 * latter.
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
  const others = waitingOn(request.socket);
  const finish = (): void => {
    if (others.delete(finish)) done();
  };
  others.add(finish);
  response.once('close', finish);
}

/** One listener a connection, however many answers wait on it. */
function waitingOn(socket: Socket): Set<() => void> {
  const known = waiting.get(socket);
  if (known !== undefined) return known;
  const made = new Set<() => void>();
  waiting.set(socket, made);
  socket.once('close', () => {
    for (const finish of [...made]) finish();
  });
  return made;
}
