/**
 * The upstream of a bench, a process of its own: a bare TCP server with answers made beforehand, so
 * that it takes a small share of the core that it has in common with the load.
 * It trusts its peers' HTTP; it is no example of a server.
 */
import { createServer, type Socket } from 'node:net';
import { ANSWER_BODY, jsonAnswer, SSE_HEAD, sseChunk } from './payloads.ts';
import { serveAndTell } from './processes.ts';

const ANSWERS = {
  litellm: jsonAnswer(ANSWER_BODY, 'litellm'),
  three: jsonAnswer(ANSWER_BODY, 'three'),
};
const HEALTHY = jsonAnswer('{"status":"healthy"}', 'three');

/** One event at once, then one each `gapMs` (0: nothing more), without an end. */
function hold(socket: Socket, gapMs: number): void {
  socket.write(SSE_HEAD + sseChunk(), 'latin1');
  if (gapMs === 0) return;
  const timer = setInterval(() => socket.write(sseChunk(), 'latin1'), gapMs);
  socket.once('close', () => clearInterval(timer));
}

function answer(socket: Socket, mode: string, body: Buffer): void {
  const [verb, first = '0'] = mode.split(' ');
  if (verb === 'hold') hold(socket, Number(first));
  else if (verb === 'echo') socket.write(jsonAnswer(body, 'three'));
  else if (verb === 'json') socket.write(ANSWERS[first === 'three' ? 'three' : 'litellm']);
  else socket.write(HEALTHY);
}

/** Reads requests with a Content-Length or without a body; a bench sends no other. */
function serve(socket: Socket): void {
  let pending: Buffer | undefined;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    let buffer = pending === undefined ? chunk : Buffer.concat([pending, chunk]);
    pending = undefined;
    while (buffer.length > 0) {
      const end = buffer.indexOf('\r\n\r\n');
      const head = end < 0 ? '' : buffer.toString('latin1', 0, end);
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

serveAndTell(createServer({ noDelay: true }, serve));
