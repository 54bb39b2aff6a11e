import type { Socket } from 'node:net';
import type * as undici from 'undici';
// @ts-expect-error: only undici's index has types
import connector from 'undici/lib/core/connect.js';
// @ts-expect-error
import symbols from 'undici/lib/core/symbols.js';
// @ts-expect-error
import dispatcherClient from 'undici/lib/dispatcher/client.js';

/**
 * The parts of undici that are used, by paths, which its fixed version keeps. Its index has fetch,
 * WebSocket, caches and mocks beside them: 17 ms of a start of 142, and 6 MB of 72, bundled too.
 */
const Client: typeof undici.Client = dispatcherClient;
const buildConnector: typeof undici.buildConnector = connector;

/** One connection to LiteLLM, used by one exchange at a time. */
export interface Connection {
  readonly client: undici.Client;
  /** Whether its socket has carried an exchange before: only such a one may die of old age. */
  reused: boolean;
  /** Its socket is gone; the connection is not used again. */
  dead: boolean;
  /** Set once the connection stands. */
  socket: Socket | undefined;
  /** When it was given back last, in milliseconds of the monotonic clock. */
  idleSince: number;
}

export type Connections = ReturnType<typeof createConnections>;

/**
 * Idle keep-alive, milliseconds: below uvicorn's 5 s and gunicorn's 2 s, so that it is we who close
 * an idle connection and not LiteLLM while a request is on its way.
 */
const KEEP_ALIVE_MS = 1000;
/**
 * So many idle connections are kept open while there is traffic for them. To open one takes longer
 * than to judge a request: a burst that opens many holds up the requests behind it.
 */
const KEPT_WARM = 64;
/** A connection that was idle for so long, in milliseconds, has its turn before it closes. */
const TURN_AFTER_MS = KEEP_ALIVE_MS / 2;
/** Dead connections in the row of idle ones that are put up with before the row is cleared. */
const DEAD_TOLERATED = 64;
/** Bytes of an answer's head; LiteLLM's own headers and a provider's fit many times. */
export const MAX_ANSWER_HEAD = 64 * 1024;

/** What is used of undici's parser, one to a socket. */
interface Parser {
  onHeadersComplete(status: number, upgrade: boolean, keepAlive: boolean): number;
}

/** Whether undici's parser has been taught to pass over a 100: once for all of them. */
let passesContinue = false;

/**
 * A server may say 100 to a request that did not ask (RFC 9110 §15.2: a client that did not may
 * discard it). undici breaks the connection off for it, and passes over every other answer of that
 * class: so its parser, which knows where each head ends, is told another one.
 */
function passOverContinue(socket: Socket | undefined): void {
  const parser = (socket as unknown as Record<symbol, Parser | undefined>)?.[symbols.kParser];
  if (passesContinue || parser === undefined) return;
  passesContinue = true;
  const shared = Object.getPrototypeOf(parser) as Parser;
  const read = shared.onHeadersComplete;
  shared.onHeadersComplete = function onHeadersComplete(status, upgrade, keepAlive) {
    return read.call(this, status === 100 ? 102 : status, upgrade, keepAlive);
  };
}

/**
 * The connections to one LiteLLM, without a limit: an LLM's answers are slow, and a queue here
 * would be one that nobody sees. Each is an undici client of its own, so that it is known whether a
 * socket was used before, and to take one costs the same with ten thousand open.
 */
export function createConnections(options: {
  origin: string;
  connectTimeoutMs: number;
  elapsed: () => number;
}) {
  const { elapsed } = options;
  const all = new Set<Connection>();
  /** The youngest last. */
  let idle: Connection[] = [];
  let idleDead = 0;

  const bury = (connection: Connection): void => {
    if (connection.dead) return;
    connection.dead = true;
    all.delete(connection);
    idleDead++;
    if (idleDead > DEAD_TOLERATED && idleDead > idle.length / 2) {
      idle = idle.filter(({ dead }) => !dead);
      idleDead = 0;
    }
    void connection.client.destroy().catch(() => undefined);
  };

  // One connector for all clients: undici would make one for each.
  const connect = buildConnector({ timeout: options.connectTimeoutMs });

  const takeFresh = (): Connection => {
    const client = new Client(options.origin, {
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect(target, done) {
        connect(target, (...result) => {
          connection.socket = result[1] ?? undefined;
          done(...result);
        });
      },
      maxHeaderSize: MAX_ANSWER_HEAD,
      // LiteLLM's own limit is 6000 s and streams have no heartbeat: the exchange has the limits.
      headersTimeout: 0,
      bodyTimeout: 0,
      pipelining: 1,
    });
    const connection: Connection = {
      client,
      reused: false,
      dead: false,
      socket: undefined,
      idleSince: 0,
    };
    all.add(connection);
    if (!passesContinue) client.once('connect', () => passOverContinue(connection.socket));
    client.on('disconnect', () => bury(connection));
    client.on('connectionError', () => bury(connection));
    return connection;
  };

  const nextIdle = (): Connection | undefined => {
    const oldest = Math.max(0, idle.length - KEPT_WARM);
    const since = idle[oldest]?.idleSince ?? 0;
    return elapsed() - since < TURN_AFTER_MS ? idle.pop() : idle.splice(oldest, 1)[0];
  };

  return {
    /**
     * An idle connection, or a new one. The youngest is taken, because what it needs is still in
     * the processor's caches, here and at LiteLLM; one that would close soon is taken before it,
     * unless many are idle.
     */
    take(): Connection {
      while (idle.length > 0) {
        const next = nextIdle();
        if (next?.dead === false) return next;
      }
      idleDead = 0;
      return takeFresh();
    },
    /** A connection that was never used, for a second try. */
    takeFresh,
    /** Gives a connection back whose exchange ended whole. */
    give(connection: Connection): void {
      if (connection.dead) return;
      connection.reused = true;
      connection.idleSince = elapsed();
      idle.push(connection);
    },
    /** Ends the idle connections and whatever is still in use. */
    destroy(): void {
      for (const connection of all) bury(connection);
    },
  };
}
