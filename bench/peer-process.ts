/**
 * The bench's Node proxies, by name: keep-alive to the upstream, one key compared, nothing else.
 * `undici` is its dispatcher with the least that forwards, without checks of the target, hop-by-hop
 * rules, limits and log: the floor for a proxy in one Node process, not something to put anywhere.
 */
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import { createRequire } from 'node:module';
import type * as HttpProxy3 from 'http-proxy-3';
import type * as Undici from 'undici';
import { serveAndTell } from './harness/processes.ts';

const require = createRequire(import.meta.url);
const [, , name = '', upstreamPort, key] = process.argv;
const upstream = `http://127.0.0.1:${upstreamPort}`;

function httpProxy(): RequestListener {
  // 1.18.1 has no types of its own, and the same interface.
  const { createProxyServer } = require(name) as typeof HttpProxy3;
  const proxy = createProxyServer({ target: upstream, agent: new Agent({ keepAlive: true }) });
  proxy.on('error', (_error, _request, response) => response.destroy());
  return (request, response) => void proxy.web(request, response);
}

function undici(): RequestListener {
  const { Pool } = require('undici') as typeof Undici;
  const limits = { headersTimeout: 0, bodyTimeout: 0 };
  const pool = new Pool(upstream, { connections: null, pipelining: 1, ...limits });
  return (request, response) => {
    const { url: path = '/', method = 'GET' } = request;
    const headers = forwarded(request.rawHeaders, new Set(['connection']));
    const send = (body: Buffer | IncomingMessage) =>
      pool.dispatch({ path, method, headers, body }, createHandler(response));
    // A body that came with its head goes up as one buffer: undici keeps a stream's garbage so long
    // that collecting it doubles p99.
    queueMicrotask(() => {
      if (request.readableLength !== Number(request.headers['content-length'])) {
        send(request);
        return;
      }
      send(request.read());
      request.resume();
    });
  };
}

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

function forwarded(raw: readonly (string | Buffer)[], left: ReadonlySet<string>): string[] {
  const headers: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const field = String(raw[at]);
    if (!left.has(field.toLowerCase())) headers.push(field, String(raw[at + 1]));
  }
  return headers;
}

const flush = (response: ServerResponse) =>
  response.headersSent && !response.writableEnded && response.flushHeaders();

/** undici 7's inner interface: its newer one is wrapped around this and parses headers again. */
const createHandler = (response: ServerResponse): Undici.Dispatcher.DispatchHandler => ({
  onConnect(abort) {
    response.once('close', () => {
      if (!response.writableFinished) abort();
    });
  },
  onHeaders(status, raw, resume) {
    response.on('drain', resume);
    response.writeHead(status, forwarded(raw, HOP_BY_HOP));
    // A stream's head does not wait for its first event; an answer's leaves with the body.
    if (!response.hasHeader('content-length')) setImmediate(flush, response);
    return true;
  },
  onData: (chunk) => response.write(chunk),
  onComplete: () => void response.end(),
  onError: () => void response.destroy(),
});

const forward = name === 'undici' ? undici() : httpProxy();
const right = `Bearer ${key}`;
serveAndTell(
  createServer((request: IncomingMessage, response: ServerResponse) => {
    if (request.headers.authorization === right) forward(request, response);
    else response.writeHead(401).end();
  }),
);
