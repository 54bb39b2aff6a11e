/**
 * The upstream of the bench, a process of its own: a bare TCP server with answers made beforehand,
 * so that it takes a small share of the core that it has in common with the load generator.
 * It trusts its peers' HTTP; it is no example of a server.
 */
import { createServer } from 'node:net';
import { ANSWER_BODY, SSE_END, sseChunk } from './payloads.js';

const json = (/** @type {string | Buffer} */ body, status = '200 OK') =>
  `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nx-litellm-model-group: bench\r\n` +
  `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const ANSWER = Buffer.from(json(ANSWER_BODY));
const HEALTHY = Buffer.from(json('{"status":"healthy"}'));
const SSE_HEAD =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n' +
  'x-litellm-model-group: bench\r\nTransfer-Encoding: chunked\r\n\r\n';

/**
 * Sends `count` events, each in a write of its own, `gapMs` apart.
 * @param {import('node:net').Socket} socket
 * @param {number} count
 * @param {number} gapMs 0: as fast as the event loop turns
 */
function stream(socket, count, gapMs) {
  let left = count;
  const later = (/** @type {() => void} */ f) =>
    gapMs > 0 ? setTimeout(f, gapMs) : setImmediate(f);
  const next = () => {
    if (socket.destroyed) return;
    left -= 1;
    socket.write(left === 0 ? sseChunk() + SSE_END : sseChunk(), 'latin1');
    if (left > 0) later(next);
  };
  socket.write(SSE_HEAD, 'latin1');
  later(next);
}

/**
 * One event at once, then one each `gapMs`, without an end.
 * @param {import('node:net').Socket} socket
 * @param {number} gapMs 0: nothing more
 */
function hold(socket, gapMs) {
  socket.write(SSE_HEAD + sseChunk(), 'latin1');
  if (gapMs === 0) return;
  const timer = setInterval(() => socket.write(sseChunk(), 'latin1'), gapMs);
  socket.once('close', () => clearInterval(timer));
}

/**
 * @param {import('node:net').Socket} socket
 * @param {string} mode
 * @param {Buffer} body
 */
function answer(socket, mode, body) {
  const [verb, first = '0', second = '0'] = mode.split(' ');
  if (verb === 'sse') stream(socket, Number(first), Number(second));
  else if (verb === 'hold') hold(socket, Number(first));
  else if (verb === 'echo') socket.write(json(body));
  else socket.write(verb === 'json' ? ANSWER : HEALTHY);
}

/** Reads requests with a Content-Length or without a body; the bench sends no other. */
function serve(/** @type {import('node:net').Socket} */ socket) {
  /** @type {Buffer | undefined} */
  let pending;
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    let buffer = pending === undefined ? chunk : Buffer.concat([pending, chunk]);
    pending = undefined;
    while (buffer.length > 0) {
      const end = buffer.indexOf('\r\n\r\n');
      const head = end < 0 ? '' : buffer.latin1Slice(0, end);
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      const total = end + 4 + length;
      if (end < 0 || buffer.length < total) {
        pending = buffer;
        return;
      }
      const mode = /\r\nx-bench: *([^\r]*)/i.exec(head)?.[1] ?? 'health';
      answer(socket, mode, buffer.subarray(end + 4, total));
      buffer = buffer.subarray(total);
    }
  });
}

const server = createServer({ noDelay: true }, serve);
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined });
});
process.on('disconnect', () => process.exit(0));
