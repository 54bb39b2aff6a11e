import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** A provider of models that notes which it was asked for. */
export interface NamingProvider {
  readonly url: string;
  /** The models of the requests since the last look, in their order. */
  take(): string[];
  stop(): Promise<void>;
}

/** Every name of a model in a body, JSON or form; a tool's, too. */
function namesIn(body: string): string[] {
  if (body === '') return [];
  const form = [...body.matchAll(/form-data; name="model"\r\n\r\n([^\r]*)/g)].map(
    ([, name]) => name ?? '',
  );
  if (form.length > 0) return form;
  const parsed = JSON.parse(body) as {
    model?: string;
    models?: string[];
    tools?: { model?: string }[];
  };
  const tools = (parsed.tools ?? []).flatMap(({ model }) => (model === undefined ? [] : [model]));
  return [parsed.model ?? '', ...(parsed.models ?? []), ...tools];
}

const answerTo = (path: string): object => {
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (path.endsWith('/transcriptions')) return { text: 'hi' };
  if (path.endsWith('/embeddings')) {
    return { object: 'list', model: 'x', data: [{ index: 0, embedding: [0.5] }], usage };
  }
  if (path.endsWith('/responses')) {
    const content = [{ type: 'output_text', text: 'hi', annotations: [] }];
    const output = [{ type: 'message', id: 'm', role: 'assistant', status: 'completed', content }];
    const used = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
    return {
      ...{ id: 'r', object: 'response', created_at: 1, status: 'completed', model: 'x' },
      ...{ output, usage: used, parallel_tool_calls: true, tool_choice: 'auto', tools: [] },
    };
  }
  const message = { role: 'assistant', content: 'hi' };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  return { id: 'c', object: 'chat.completion', created: 1, model: 'x', choices, usage };
};

/** Starts one; a model whose name ends in `-fails` gets a 429. */
export async function startNamingProvider(): Promise<NamingProvider> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const names = namesIn((await buffer(request)).toString('latin1'));
    asked.push(...names);
    response.setHeader('content-type', 'application/json');
    if (names[0]?.endsWith('-fails') === true) {
      response.writeHead(429).end('{"error":{"message":"no","type":"rate_limit_error"}}');
      return;
    }
    response.end(JSON.stringify(answerTo(request.url ?? '')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    take: () => asked.splice(0),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
