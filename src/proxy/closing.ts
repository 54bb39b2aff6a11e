import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Calls `done` once an answer was sent whole or its client left. An answer that waits behind another's
 * on its connection (RFC 9112 §9.3.2) has no socket yet, and Node does not tell it of the latter.
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
  const { socket } = request;
  const finish = (): void => {
    socket.off('close', finish);
    response.off('close', finish);
    done();
  };
  socket.on('close', finish);
  response.on('close', finish);
}
