/**
 * What answers in `bench/handover.ts`, a process of its own: the provider behind a LiteLLM, which
 * counts in SSE at a pace; and with a LITELLM_MASTER_KEY what stands in for LiteLLM itself.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { serveAndTell } from '../harness/processes.ts';
import { GAP_MS, MOCK_ANSWER, MOCK_MODEL, PACED_MODEL, word } from './clients.ts';

/** About what LiteLLM takes for an answer while sixteen clients ask, in milliseconds. */
const ANSWER_MS = 50;

const key = process.env['LITELLM_MASTER_KEY'];
let isLeaving = false;

function send(response: ServerResponse, status: number, body: object): void {
  // Who was told to stop lets no connection wait for another request.
  const leaving = isLeaving ? { connection: 'close' } : {};
  response.writeHead(status, { 'content-type': 'application/json', ...leaving });
  response.end(JSON.stringify(body));
}

function count(response: ServerResponse, chunks: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const chunk = (delta: object, finish_reason: string | null) => {
    const choices = [{ index: 0, delta, finish_reason }];
    const frame = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1 };
    response.write(`data: ${JSON.stringify({ ...frame, model: PACED_MODEL, choices })}\n\n`);
  };
  let next = 0;
  const timer = setInterval(() => {
    if (next < chunks) return chunk({ role: 'assistant', content: word(next++) }, null);
    clearInterval(timer);
    chunk({}, 'stop');
    response.end('data: [DONE]\n\n');
  }, GAP_MS);
  response.once('close', () => clearInterval(timer));
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await text(request);
  const { url = '', headers } = request;
  if (url.startsWith('/health')) return send(response, 200, { db: 'Not connected' });
  if (key !== undefined && headers.authorization !== `Bearer ${key}`) {
    return send(response, 401, { error: { message: 'wrong key', type: 'auth_error' } });
  }
  if (url.endsWith('/models')) {
    return send(response, 200, { data: [MOCK_MODEL, PACED_MODEL].map((id) => ({ id })) });
  }
  const chunks = /count to (\d+)/.exec(body)?.[1];
  if (chunks !== undefined) return count(response, Number(chunks));
  const message = { role: 'assistant', content: MOCK_ANSWER };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  setTimeout(() => send(response, 200, { object: 'chat.completion', choices }), ANSWER_MS);
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
if (key === undefined) serveAndTell(server);
else {
  server.listen(Number(process.argv[process.argv.indexOf('--port') + 1]), '127.0.0.1');
  process.on('SIGTERM', () => {
    isLeaving = true;
    server.close(() => process.exit(0));
  });
}
