import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Requests that one connection may have unanswered, or send in one packet: no SDK and no proxy
 * pipelines. A hundred thousand of them on ten connections held everybody else up for 10 s.
 */
const MOST = 16;

/** What was sent on a connection so far. */
interface Sent {
  latest: ServerResponse;
  /** What had been read when the latest request came: those of one packet have it in common. */
  bytesRead: number;
  inPacket: number;
  /** The answers before the latest that were not made yet. */
  owed: ServerResponse[];
}

/**
 * Ends connections that send requests without waiting for answers (RFC 9112 §9.3.2 lets a server
 * close at any time, and has clients send again what was not answered).
 *
 * @returns whether a request is served
 */
export function createPipelineGuard(): (
  request: IncomingMessage,
  response: ServerResponse,
) => boolean {
  const connections = new WeakMap<Socket, Sent>();
  const ended = new WeakSet<Socket>();

  return ({ socket }, response) => {
    const sent = connections.get(socket);
    const { bytesRead } = socket;
    if (sent === undefined) {
      connections.set(socket, { latest: response, bytesRead, inPacket: 1, owed: [] });
      return true;
    }
    if (ended.has(socket)) {
      dropTheRest(socket);
      return false;
    }
    const before = sent.latest;
    sent.inPacket = bytesRead === sent.bytesRead ? sent.inPacket + 1 : 1;
    sent.owed = before.writableEnded ? NONE_OWED : [...sent.owed.filter(isOwed), before];
    if (sent.inPacket > MOST || sent.owed.length >= MOST) {
      ended.add(socket);
      dropTheRest(socket);
      if (before.writableFinished) socket.destroySoon();
      else before.once('close', () => socket.destroySoon());
      return false;
    }
    sent.latest = response;
    sent.bytesRead = bytesRead;
    return true;
  };
}

/** What Node's parser is told of a head that no HTTP follows: it reads no further. */
const NO_HTTP_FOLLOWS = 2;

/**
 * Reads nothing more as HTTP. What came in one piece may hold two thousand requests more: Node
 * would make all of them, and an error with a stack for each as the connection ends, which took it
 * 50 ms. It has no interface for that; its parser asks this property what follows a head.
 */
function dropTheRest(socket: Socket): void {
  socket.pause();
  const { parser } = socket as { parser?: { onIncoming: () => number } | null };
  if (parser) parser.onIncoming = () => NO_HTTP_FOLLOWS;
}

const NONE_OWED: ServerResponse[] = [];
const isOwed = ({ writableEnded }: ServerResponse): boolean => !writableEnded;
