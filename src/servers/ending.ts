import type { Server, ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { lingerThenDestroy, serveNoMore } from '../proxy/client-connection.ts';

/**
 * A connection on which nothing came for so long, in milliseconds, is idle: whatever its client had
 * sent before it could know is here by then.
 */
const QUIET_MS = 200;
const LOOK_EVERY_MS = 50;
/**
 * All that had connected are taken once nobody came in so many looks, each a turn of the event loop
 * or more; so many milliseconds lie between them.
 */
const QUIET_LOOKS = 4;
const TURN_MS = 10;
/** What that may take at the most. */
const LISTENING_MS = 500;
/** Once no answer is owed: what connections may take that do not fall silent. Milliseconds. */
const CLOSING_MS = 1000;

/** What a connection had brought when it was looked at, and since when it has been no more. */
interface Look {
  readonly bytesRead: number;
  readonly since: number;
}

interface EndingOptions {
  /** The latest answer on a connection, made or owed. */
  readonly latest: (socket: Socket) => ServerResponse | undefined;
  /** The monotonic clock, milliseconds. */
  readonly elapsed: () => number;
}

/** The connections of a server that speak HTTP. */
function watchConnections(server: Server, { latest, elapsed }: EndingOptions) {
  const open = new Set<Socket>();
  const looks = new WeakMap<Socket, Look>();
  /** Those that came while nothing was read on new ones. */
  let held: Socket[] | undefined;
  function onClose(this: Socket): void {
    open.delete(this);
  }
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    // Node begins to read at the end of this turn.
    if (held?.push(socket)) queueMicrotask(() => socket.pause());
    // It comes again with each upgrade that is served as a plain request.
    socket.off('close', onClose).once('close', onClose);
  });
  const isOwed = (socket: Socket): boolean => latest(socket)?.writableFinished === false;
  return {
    open,
    /**
     * Reads nothing on connections that are made from now on.
     *
     * @returns how many there are so far, and what has them read
     */
    hold() {
      const those: Socket[] = [];
      held = those;
      return {
        count: () => those.length,
        release(): void {
          held = undefined;
          for (const socket of those) socket.resume();
        },
      };
    },
    /** Ends those that have been idle since it looked before. */
    endIdle(): void {
      const now = elapsed();
      for (const socket of open) {
        const before = looks.get(socket);
        const { bytesRead } = socket;
        if (isOwed(socket) || before?.bytesRead !== bytesRead) {
          looks.set(socket, { bytesRead, since: now });
        } else if (now - before.since >= QUIET_MS) {
          open.delete(socket);
          // With its end read, and not at once: a reset would meet what is on its way even so.
          serveNoMore(socket);
          socket.end();
          lingerThenDestroy(socket);
        }
      }
    },
  };
}

/**
 * How a server that stops lets go of its connections: none is closed under a request that its
 * client has sent. First each answer says that it is the last (RFC 9112 §9.6), and later what is
 * left ends as it falls idle.
 */
export function createEnding(server: Server, options: EndingOptions) {
  const { latest, elapsed } = options;
  const { open, hold, endIdle } = watchConnections(server, options);
  let began = false;

  return {
    /** Somebody else looks after a connection from now on: it speaks HTTP no more. */
    forget: (socket: Socket) => void open.delete(socket),
    /**
     * Makes an answer the last on its connection, where the server is about to stop.
     *
     * @returns false where the answer before it was that already: the request is not served
     */
    onRequest(socket: Socket, response: ServerResponse): boolean {
      if (!began) return true;
      const before = latest(socket);
      if (before?.headersSent === true && !before.shouldKeepAlive) return false;
      // A client that does not wait for answers gets this one, too.
      if (before !== undefined) before.shouldKeepAlive = true;
      response.shouldKeepAlive = false;
      return true;
    },
    /** From now on each answer ends its connection, of requests under way, too. */
    begin(): void {
      began = true;
      for (const socket of open) {
        const answer = latest(socket);
        if (answer?.headersSent === false) answer.shouldKeepAlive = false;
      }
      endIdle();
    },
    /**
     * Takes no new connections: resolves once those that were made before have been taken, which
     * the end of the listener would reset. They are answered only then: a client that has its
     * answer connects again.
     */
    async stopListening(): Promise<void> {
      const { count, release } = hold();
      const deadline = elapsed() + LISTENING_MS;
      for (let quiet = 0; quiet < QUIET_LOOKS && elapsed() < deadline; ) {
        const before = count();
        await sleep(TURN_MS);
        quiet = count() === before ? quiet + 1 : 0;
      }
      // Node's own `close` of a server for HTTP would end idle connections at once.
      NetServer.prototype.close.call(server);
      release();
    },
    /** Ends connections as they fall idle, until `work` is done and they are gone. */
    async whileIdle<Result>(work: Promise<Result>): Promise<Result> {
      const timer = setInterval(endIdle, LOOK_EVERY_MS);
      const result = await work;
      const deadline = elapsed() + CLOSING_MS;
      while (open.size > 0 && elapsed() < deadline) await sleep(LOOK_EVERY_MS);
      clearInterval(timer);
      return result;
    },
  };
}
