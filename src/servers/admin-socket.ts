import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isServedNoMore } from '../proxy/refuse.ts';
import type { AdminApi } from './admin-api.ts';
import { type ProblemCode, problemAnswer, sendAnswer } from './admin-problem.ts';
import { lockSocket } from './admin-socket-lock.ts';
import { createUnderWay } from './admin-under-way.ts';

export interface AdminSocketOptions {
  /** `admin.sock` in the state folder, which must be there; any length. */
  readonly path: string;
  /** Told of errors of the listening socket. */
  readonly onError: (error: unknown) => void;
}

/** The way in for the command line, and the lock on the state folder. */
export interface AdminSocket {
  /** Until then every request is answered 503 `starting`. */
  serve(api: AdminApi): void;
  /**
   * Whether this process still has the state folder: asked before each save. A file call; it is
   * false for good once another took the name or somebody removed it.
   */
  isStillOurs(): boolean;
  /**
   * New requests are answered 503 `stopping`; resolves once those under way have their answers,
   * after 2 s at most. The folder stays locked until `close`.
   */
  drain(): Promise<void>;
  /** The same; then the name goes, if it is ours, and the lock with it. */
  close(): Promise<void>;
}

const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 3_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
} as const;
const MAX_CONNECTIONS = 256;
const DRAIN_WITHIN_MS = 2_000;

const CLOSED = {
  starting: 'the sidecar is starting',
  stopping: 'the sidecar is stopping',
} as const satisfies Partial<Record<ProblemCode, string>>;

/**
 * Takes the lock on a state folder. File permissions are the login: who can connect is its owner.
 *
 * @throws StartupError `locked` where another sidecar has it; `state` where there can be no socket
 */
export async function openAdminSocket(options: AdminSocketOptions): Promise<AdminSocket> {
  const underWay = createUnderWay();
  let serving: AdminApi | keyof typeof CLOSED = 'starting';
  const server = createServer(LIMITS, (request, response) => {
    if (isServedNoMore(request.socket)) return;
    underWay.add(response);
    if (typeof serving === 'object') serving.handle(request, response, actorOf(request));
    else sendClosed(request, response, serving);
  });
  server.maxConnections = MAX_CONNECTIONS;
  const lock = await lockSocket(options.path, server);
  server.on('error', options.onError);

  const drain = async (): Promise<void> => {
    serving = 'stopping';
    underWay.endConnections();
    server.closeIdleConnections();
    await underWay.settled(DRAIN_WITHIN_MS);
  };
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await drain();
    await lock.release();
  };
  return {
    serve(api) {
      if (serving === 'starting') serving = api;
    },
    isStillOurs: lock.isStillOurs,
    drain,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

function sendClosed(
  request: IncomingMessage,
  response: ServerResponse,
  code: keyof typeof CLOSED,
): void {
  sendAnswer(request, response, problemAnswer({ code, detail: CLOSED[code] }));
}

/** The user that the command line runs as, by its own word: whoever connects may do the same. */
function actorOf({ headers }: IncomingMessage): string {
  const name = headers['x-sidecar-actor']?.toString() ?? '';
  return /^[A-Za-z0-9._@-]{1,64}$/.test(name) ? `cli:${name}` : 'socket';
}
