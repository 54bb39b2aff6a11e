import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a client sent. */
export interface Received {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown> | undefined;
  /** The body as it came. */
  readonly text: string;
}

export type Answer = (received: Received, response: ServerResponse) => void;

/** A gateway on a free port of the loopback that answers as the test says. */
export async function startFakeGateway(answer: Answer) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const isJson = request.headers['content-type'] === 'application/json' && text !== '';
      const body = isJson ? (JSON.parse(text) as Record<string, unknown>) : undefined;
      const one = { path: request.url ?? '', headers: request.headers, body, text };
      received.push(one);
      answer(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    received,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers in JSON. */
export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

export const modelList = (...names: readonly string[]) => ({
  object: 'list',
  data: names.map((id) => ({ id, object: 'model' })),
});

export const CHAT = { choices: [{ message: { role: 'assistant', content: 'ok' } }] };
