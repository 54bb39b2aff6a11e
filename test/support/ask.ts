import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { recordArtefact } from './key-ledger.ts';
import type { Sidecar } from './sidecar.ts';

/** A request under way, as Node's own client sends it. */
export interface Asked {
  readonly request: ClientRequest;
  /** Resolves at the head of the answer. */
  readonly answer: Promise<IncomingMessage>;
}

/** Begins a request with the sidecar's key. The caller ends it where a body follows. */
export function ask(sidecar: Pick<Sidecar, 'port' | 'key'>, options: RequestOptions = {}): Asked {
  const sent = request({
    agent: false,
    host: '127.0.0.1',
    port: sidecar.port,
    path: '/v1/models',
    ...options,
    headers: { authorization: `Bearer ${sidecar.key}`, ...(options.headers as object) },
  });
  const answer = once(sent, 'response').then(([response]) => response as IncomingMessage);
  // Whoever leaves on purpose does not wait for it.
  answer.catch(() => undefined);
  sent.on('error', () => undefined);
  return { request: sent, answer };
}

/** A POST whose body is here: the answer's head, and its whole text. */
export async function post(
  sidecar: Pick<Sidecar, 'port' | 'key'>,
  body: string | Buffer = '{}',
  options: RequestOptions = {},
): Promise<{ response: IncomingMessage; text: string }> {
  const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions', ...options });
  asked.request.end(body);
  const response = await asked.answer;
  return { response, text: (await bodyOf(response)).toString() };
}

/** A GET: the answer's head, and its whole text. */
export async function get(
  sidecar: Pick<Sidecar, 'port' | 'key'>,
  path = '/v1/models',
  options: RequestOptions = {},
): Promise<{ response: IncomingMessage; text: string }> {
  const asked = ask(sidecar, { path, ...options });
  asked.request.end();
  const response = await asked.answer;
  return { response, text: (await bodyOf(response)).toString() };
}

/** The status that a GET gets and, where the sidecar refuses it, the code. */
export async function outcomeOf(
  sidecar: Pick<Sidecar, 'port' | 'key'>,
  path = '/v1/models',
  headers = {},
): Promise<number | string | undefined> {
  const { response } = await get(sidecar, path, { headers });
  const code = response.headers['x-sidecar-refusal'];
  return code === undefined ? response.statusCode : `${response.statusCode} ${String(code)}`;
}

/** Reads an answer to its end; rejects where it breaks off. */
export async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  // What the sidecar itself said; an upstream of a test may say what it was shown.
  const { 'x-sidecar-refusal': refusal, 'content-type': type } = response.headers;
  if (refusal !== undefined || type?.startsWith('application/problem+json')) {
    recordArtefact('error body', 'an answer', `${response.rawHeaders.join('\n')}\n${body}`);
  }
  return body;
}
