import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { WatchedClock } from '../clock.ts';
import { breakOff, endThenDestroy, serveNoMore } from '../proxy/client-connection.ts';
import type { Gateway } from '../proxy/gateway.ts';
import { createEnding } from './ending.ts';
import { listenerOf } from './listener.ts';
import { excusePauses } from './pauses.ts';
import { createPipelineGuard } from './pipelining.ts';

interface TrafficServerOptions {
  readonly gateway: Gateway;
  /** Milliseconds a client may take for the head of a request; 0: no limit. */
  readonly headersTimeoutMs: number;
  /**
   * Milliseconds that an idle connection is kept; 0: no limit. Whoever is in front must close
   * first, or it sends a request on a connection that ends: AWS's load balancers keep theirs for
   * 60 s, Go's clients for 90 s, Caddy for 120 s.
   */
  readonly keepAliveMs: number;
  /** The monotonic clock, milliseconds. */
  readonly elapsed: () => number;
  readonly watched: WatchedClock;
}

export type TrafficServer = ReturnType<typeof createTrafficServer>;

/**
 * After so many milliseconds of silence the kernel asks a client whether it is there, ten times in
 * as many seconds: one that vanished in a silent stream would keep LiteLLM at work.
 */
const PROBE_AFTER_MS = 30_000;
const MAX_HEADER_SIZE = 32 * 1024;
/** How often Node looks for connections whose head is late. */
const CHECK_EVERY_MS = 1000;

/**
 * The port that clients talk to. It owns sockets and parsing; what is served, the gateway decides.
 */
export function createTrafficServer(options: TrafficServerOptions) {
  const { gateway, elapsed } = options;
  const server = openServer(options);
  /** The latest answer on each connection: a parse error must not be written into its middle. */
  const latest = new WeakMap<Socket, ServerResponse>();
  const ending = createEnding(server, { latest: (socket) => latest.get(socket), elapsed });

  const isServed = createPipelineGuard();
  const serve =
    (expect: 'none' | 'continue' | 'unknown') =>
    (request: IncomingMessage, response: ServerResponse): void => {
      if (!isServed(request, response)) return;
      if (!ending.onRequest(request.socket, response)) return;
      latest.set(request.socket, response);
      gateway.onRequest(request, response, expect);
    };
  server.on('request', serve('none'));
  server.on('checkContinue', serve('continue'));
  server.on('checkExpectation', serve('unknown'));
  const answering = (socket: Socket): ServerResponse | undefined => {
    const response = latest.get(socket);
    return response?.writableFinished === false ? response : undefined;
  };
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    ending.forget(socket);
    // Whatever is said on the bare socket behind a request that has no answer yet would be taken
    // for that answer.
    if (answering(socket) !== undefined) socket.destroy();
    else gateway.onConnect(request, socket);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    ending.forget(socket);
    if (answering(socket) !== undefined) socket.destroy();
    else if (isWebSocket(request)) gateway.onUpgrade(request, socket, head);
    else serveAsPlain(server, request, socket, head);
  });
  server.on('clientError', createErrorListener(gateway, answering));

  return {
    ...listenerOf(server),
    /** Lets go of the connections, in three steps. */
    ending,
    /** Closes what is left. */
    async close(): Promise<void> {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function openServer({ headersTimeoutMs, keepAliveMs, watched }: TrafficServerOptions): Server {
  const server = createServer({
    keepAliveTimeout: keepAliveMs,
    keepAlive: true,
    keepAliveInitialDelay: PROBE_AFTER_MS,
    headersTimeout: headersTimeoutMs,
    // A body may take as long as it keeps coming: the exchanges watch over that.
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    maxHeaderSize: MAX_HEADER_SIZE,
    insecureHTTPParser: false,
    // The gateway refuses a missing Host with a body that SDKs can read.
    requireHostHeader: false,
  });
  if (headersTimeoutMs > 0) excusePauses(server, { headersTimeout: headersTimeoutMs }, watched);
  // An idle connection has had its time. Without a listener Node closes it, and so resets a request
  // that has come by now and was not read yet.
  server.on('timeout', (socket: Socket) => {
    const { bytesRead } = socket;
    setImmediate(() => {
      if (socket.bytesRead !== bytesRead) return;
      serveNoMore(socket);
      endThenDestroy(socket);
    });
  });
  return server;
}

/** Hears where Node cannot read on as HTTP, or has waited too long for the head of a request. */
function createErrorListener(
  gateway: Gateway,
  answering: (socket: Socket) => ServerResponse | undefined,
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  /** Node tells of the same connection again with each packet that comes: once is enough. */
  const told = new WeakSet<Socket>();
  return ({ code = '' }, socket) => {
    if (told.has(socket)) return;
    told.add(socket);
    const response = answering(socket);
    // Load balancers and browsers open connections ahead: one that was never used is closed
    // without an answer.
    const unused = code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0;
    if (unused || code === 'ECONNRESET') socket.destroy();
    else if (response === undefined) gateway.onUnreadable(socket, code);
    // A whole request came before what cannot be read: its answer is the last on the connection.
    else if (response.req.complete) response.once('close', () => socket.destroySoon());
    // The body cannot be read of a request whose answer waits its turn or has begun: too late.
    else if (response.socket === null) socket.destroy();
    else if (response.headersSent) breakOff(response.req, response);
    else gateway.onUnreadable(socket, code);
  };
}

const isWebSocket = (request: IncomingMessage): boolean =>
  request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket';

/** Fields that only speak of the upgrade (RFC 7540 §3.2 has the second). */
const ABOUT_UPGRADE = /^(?:upgrade|http2-settings|connection)$/i;

/**
 * Any upgrade but WebSocket is a plain request (RFC 9110 §7.8: a server may ignore it), but with an
 * `upgrade` listener Node has stopped parsing by now, and would lose a POST that Java's client
 * sends with `Upgrade: h2c`. So its head is put back in front of its body, without the upgrade, and
 * the connection is served from its beginning. `Connection` goes too: its other options are kept.
 */
function serveAsPlain(
  server: Server,
  request: IncomingMessage,
  socket: Socket,
  rest: Buffer,
): void {
  const { rawHeaders } = request;
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    const value = rawHeaders[at + 1] ?? '';
    if (!ABOUT_UPGRADE.test(name)) lines.push(`${name}: ${value}`);
    else if (name.toLowerCase() === 'connection') lines.push(`${name}: ${otherOptions(value)}`);
  }
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  socket.unshift(Buffer.concat([head, rest]));
  server.emit('connection', socket);
}

function otherOptions(connection: string): string {
  const others = connection
    .split(',')
    .map((option) => option.trim())
    .filter((option) => !/^(?:upgrade|http2-settings)$/i.test(option));
  return others.length === 0 ? 'keep-alive' : others.join(', ');
}
