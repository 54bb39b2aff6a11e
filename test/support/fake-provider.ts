import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type WebSocket, WebSocketServer } from 'ws';
import { createInbox } from './inbox.ts';

/** A stream that a test sends by hand. */
export interface ProviderStream {
  /** Sends one event with this text. */
  say(text: string): void;
  /** Sends the usage and `[DONE]`. */
  finish(): void;
  /** Resolves when LiteLLM has let go of the request. */
  readonly gone: Promise<void>;
}

/** A request as the provider saw it. */
export interface ProviderRequest {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What LiteLLM takes for OpenAI, Anthropic, NVIDIA NIM, Google AI Studio and Langfuse. */
export interface FakeProvider {
  /** Without `/v1`. */
  readonly url: string;
  /** What it answers by itself, in the pieces that it sends. */
  readonly words: readonly string[];
  /** A message with this content makes a stream that a test sends by hand. */
  readonly byHand: string;
  readonly requests: readonly ProviderRequest[];
  /** The oldest stream by hand that was not taken yet. */
  nextStream(): Promise<ProviderStream>;
  stop(): Promise<void>;
}

/** Milliseconds between two events of a stream that it sends by itself. */
const PACE_MS = 20;
const WORDS = ['A ', 'slow ', 'provider ', 'counts: ', 'one, ', 'two, ', 'three.'];
const BY_HAND = 'wait for the test';
const USAGE = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };
export const EMBEDDING = [0.25, -0.5, 1];

interface Question {
  readonly model?: string;
  readonly stream?: boolean;
  readonly encoding_format?: string;
}

/**
 * Starts one on a free port of the loopback. The model `broken` is refused with 401, as a provider
 * does whose key is wrong; `limited` gets no WebSocket; every other one answers.
 */
export async function startFakeProvider(): Promise<FakeProvider> {
  const requests: ProviderRequest[] = [];
  const streams = createInbox<ProviderStream>();

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await text(request);
    const path = request.url ?? '';
    requests.push({ path, headers: request.headers, body });
    const question = body === '' ? {} : (JSON.parse(body) as Question);
    const { model = '', stream: asStream = false } = question;
    if (model === 'broken' || !asStream || !path.endsWith('/chat/completions')) {
      answerWhole(path, question, response);
      return;
    }
    const stream = openStream(response, model);
    if (body.includes(BY_HAND)) streams.put(stream);
    else await pace(stream);
  };

  const server = createServer((request, response) => {
    // Whoever leaves in mid-request breaks it off; what there was to see was seen.
    answer(request, response).catch(() => response.destroy());
  });
  const websockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    requests.push({ path: request.url ?? '', headers: request.headers, body: '' });
    const { searchParams } = new URL(request.url ?? '', 'http://provider');
    const model = searchParams.get('model');
    if (model === 'broken') socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
    else if (model === 'limited') socket.destroy();
    else websockets.handleUpgrade(request, socket, head, talk);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    words: WORDS,
    byHand: BY_HAND,
    requests,
    nextStream: streams.take,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      for (const socket of websockets.clients) socket.terminate();
      await closed;
    },
  };
}

/** Says hello, then each thing again. */
function talk(socket: WebSocket): void {
  socket.send(JSON.stringify({ type: 'session.created' }));
  socket.on('message', (data) => socket.send(`{"type":"echo","of":${data}}`));
}

function answerWhole(path: string, question: Question, response: ServerResponse): void {
  if (question.model === 'broken') json(response, 401, WRONG_KEY);
  else if (path.endsWith('/embeddings')) json(response, 200, embeddings(question));
  else if (path.endsWith('/chat/completions')) json(response, 200, completion(question));
  else if (path.endsWith('/v1/messages')) json(response, 200, anthropicMessage(question));
  else json(response, 200, { path });
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const WRONG_KEY = {
  error: { message: 'the provider says: no such key', type: 'auth', code: 'invalid_api_key' },
};

const anthropicMessage = ({ model }: Question): object => ({
  ...{ id: 'msg_1', type: 'message', role: 'assistant', model, stop_reason: 'end_turn' },
  content: [{ type: 'text', text: WORDS.join('') }],
  usage: { input_tokens: 5, output_tokens: 7 },
});

const completion = ({ model }: Question): object => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model,
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: WORDS.join('') },
      finish_reason: 'stop',
    },
  ],
  usage: USAGE,
});

/** OpenAI's SDKs ask for base64 unless they are told otherwise: little-endian 32-bit floats. */
const embeddings = ({ model, encoding_format }: Question): object => {
  const bytes = Buffer.from(new Float32Array(EMBEDDING).buffer);
  const embedding = encoding_format === 'base64' ? bytes.toString('base64') : EMBEDDING;
  return {
    object: 'list',
    model,
    data: [{ object: 'embedding', index: 0, embedding }],
    usage: USAGE,
  };
};

function openStream(response: ServerResponse, model: string): ProviderStream {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  const frame = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model };
  const send = (event: object): void => {
    response.write(`data: ${JSON.stringify({ ...frame, ...event })}\n\n`);
  };
  const delta = (content: object, finish_reason: string | null): void =>
    send({ choices: [{ index: 0, delta: content, finish_reason }] });
  return {
    say: (text) => delta({ role: 'assistant', content: text }, null),
    finish() {
      delta({}, 'stop');
      send({ choices: [], usage: USAGE });
      response.end('data: [DONE]\n\n');
    },
    gone: once(response, 'close').then(() => undefined),
  };
}

async function pace(stream: ProviderStream): Promise<void> {
  for (const word of WORDS) {
    stream.say(word);
    await new Promise((resolve) => setTimeout(resolve, PACE_MS));
  }
  stream.finish();
}
