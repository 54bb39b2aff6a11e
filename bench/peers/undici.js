/**
 * undici's dispatcher with the least that forwards: no checks of the target, no hop-by-hop rules,
 * no limits, no log. The ceiling for a proxy in one Node process, not something to put anywhere.
 */
import { createServer } from 'node:http';
import { Pool } from 'undici';
import { serveFromEnvironment } from './serve.js';

serveFromEnvironment(({ upstream, refused }) => {
  const pool = new Pool(upstream, {
    connections: null,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return createServer((request, response) => {
    if (refused(request, response)) return;
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i];
      if (name?.toLowerCase() !== 'connection') headers.push(name, request.rawHeaders[i + 1]);
    }
    const send = (/** @type {import('undici').Dispatcher.DispatchOptions['body']} */ body) =>
      pool.dispatch(
        { path: request.url ?? '/', method: request.method ?? 'GET', headers, body },
        createHandler(response),
      );
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
  });
});

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

/** @param {import('node:http').ServerResponse} response */
const flush = (response) =>
  response.headersSent && !response.writableEnded && response.flushHeaders();

/**
 * undici 7's inner interface: its newer one is wrapped around this and parses headers once more.
 * @param {import('node:http').ServerResponse} response
 * @returns {import('undici').Dispatcher.DispatchHandler}
 */
const createHandler = (response) => ({
  onConnect(abort) {
    response.once('close', () => {
      if (!response.writableFinished) abort();
    });
  },
  onHeaders(status, raw, resume) {
    const headers = [];
    for (let i = 0; i < raw.length; i += 2) {
      const name = String(raw[i]);
      if (!HOP_BY_HOP.has(name.toLowerCase())) headers.push(name, String(raw[i + 1]));
    }
    response.on('drain', resume);
    response.writeHead(status, headers);
    // A stream's head does not wait for its first event; an answer's leaves with the body.
    if (!response.hasHeader('content-length')) setImmediate(flush, response);
    return true;
  },
  onData: (chunk) => response.write(chunk),
  onComplete() {
    response.end();
  },
  onError() {
    response.destroy();
  },
});
