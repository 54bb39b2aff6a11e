import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws';
import type { Peer } from './fake-upstream.ts';
import type { Sidecar } from './sidecar.ts';

/** LiteLLM's side of an upgrade that it accepts; it picks `realtime` where that is offered. */
export async function accept(peer: Peer): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
  });
  const headers = Object.fromEntries(
    peer.fields.map(([name]) => [name.toLowerCase(), peer.values(name).join(', ')]),
  );
  const request = { method: peer.method, url: peer.target, headers } as unknown as IncomingMessage;
  return await new Promise((resolve) => {
    server.handleUpgrade(request, peer.socket, Buffer.alloc(0), resolve);
  });
}

/** Asks for a WebSocket, with the key in `Authorization` unless a test says otherwise. */
export function openWebSocket(
  sidecar: Pick<Sidecar, 'port' | 'key'>,
  options: ClientOptions & { protocols?: string[] } = {},
): WebSocket {
  const { protocols = [], ...rest } = options;
  const socket = new WebSocket(`ws://127.0.0.1:${sidecar.port}/v1/realtime?model=m`, protocols, {
    perMessageDeflate: false,
    headers: { authorization: `Bearer ${sidecar.key}` },
    ...rest,
  });
  // Where it matters a test hears of it by `refused` or `closed`.
  socket.on('error', () => undefined);
  return socket;
}

export const opened = async (socket: WebSocket): Promise<void> => {
  await once(socket, 'open');
};

/** The next message, as text. */
export async function message(socket: WebSocket): Promise<string> {
  const [data] = await once(socket, 'message');
  return String(data);
}

export async function closed(socket: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = await once(socket, 'close');
  return { code: code as number, reason: String(reason) };
}

/** The answer that came instead of the 101. */
export async function refused(
  socket: WebSocket,
): Promise<{ response: IncomingMessage; text: string }> {
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { response, text: Buffer.concat(chunks).toString() };
}

/** The bytes of an upgrade request, for a client on a bare socket. */
export const upgradeBytes = ({ key }: Pick<Sidecar, 'key'>): string =>
  [
    'GET /v1/realtime?model=m HTTP/1.1',
    'host: gateway',
    `authorization: Bearer ${key}`,
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    '',
    '',
  ].join('\r\n');

/** The head of a 101 that a bare socket takes for an acceptance. */
export const SWITCHED = [
  'HTTP/1.1 101 Switching Protocols',
  'upgrade: websocket',
  'connection: Upgrade',
  'sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
  '',
  '',
].join('\r\n');
