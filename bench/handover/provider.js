/** The provider behind LiteLLM, a process of its own: it counts in SSE, at a pace. */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { chunksAsked, GAP_MS, word } from './chat.js';

/**
 * @param {import('node:http').ServerResponse} response
 * @param {number} chunks
 */
function count(response, chunks) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (/** @type {object} */ delta, /** @type {string | null} */ finish_reason) => {
    const choices = [{ index: 0, delta, finish_reason }];
    const frame = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1 };
    response.write(`data: ${JSON.stringify({ ...frame, model: 'paced', choices })}\n\n`);
  };
  let next = 0;
  const timer = setInterval(() => {
    if (next < chunks) {
      send({ role: 'assistant', content: word(next) }, null);
      next += 1;
      return;
    }
    clearInterval(timer);
    send({}, 'stop');
    response.end('data: [DONE]\n\n');
  }, GAP_MS);
  response.once('close', () => clearInterval(timer));
}

const server = createServer((request, response) => {
  text(request).then(
    (body) => count(response, chunksAsked(body)),
    () => response.destroy(),
  );
});
server.listen({ port: 0, host: '127.0.0.1' }, () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined });
});
process.on('disconnect', () => process.exit(0));
