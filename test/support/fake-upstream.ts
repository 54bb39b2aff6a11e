import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createInbox } from './inbox.ts';
import { createRequestReader, type SeenHead } from './request-reader.ts';

/** One request as it came, and its connection, to do with whatever a hostile LiteLLM would. */
export interface Peer extends SeenHead {
  /** Which connection it came on, from 0; those that carried no request do not count. */
  readonly connection: number;
  readonly socket: Socket;
  /** Bytes of the body so far, without its framing. */
  readonly bodyBytes: number;
  /** The framing's bytes too: everything after the head. */
  readonly rawBody: Buffer;
  /** Resolves to the body once it is there whole; its first 16 MiB, if there is more. */
  readonly body: Promise<Buffer>;
  /** The client's trailers, once the body is there. */
  readonly trailers: readonly string[];
  /** Resolves when the body has at least so many bytes. */
  bodyReaches(bytes: number): Promise<void>;
  /** Resolves when the other end is gone, one way or the other. */
  readonly gone: Promise<void>;
  /** Writes bytes as they are; false: the other end is slow. */
  write(bytes: string | Buffer): boolean;
  /** Writes the head of an answer, with these fields as they are. */
  head(status: string, ...fields: readonly string[]): void;
  /** A chunk of a chunked answer. */
  chunk(bytes: string | Buffer): boolean;
  /** A whole answer with a Content-Length. */
  answer(status: string, body?: string, ...fields: readonly string[]): void;
  /** Dies with a RST, whatever was written before. */
  reset(): void;
}

/** A LiteLLM that a test plays by hand, on a bare socket: it sees and says every byte. */
export interface FakeUpstream {
  readonly port: number;
  readonly url: string;
  /** All requests so far, in order. */
  readonly requests: readonly Peer[];
  /** The oldest request that was not taken yet. */
  next(): Promise<Peer>;
  /** How many connections carried a request. */
  connections(): number;
  /** Whether it takes the sidecar's question whether it lives; true at first. */
  alive(alive: boolean): void;
  /** Whether it takes the key that the sidecar asks it for its models with; true at first. */
  takesKey(taken: boolean): void;
  /** Which models it lists to that question; none at first. */
  lists(models: readonly string[]): void;
  /** How often it was asked whether it takes that key. */
  keyQuestions(): number;
  /** Stops listening and resets what is open. */
  stop(): Promise<void>;
  /** Listens again on the port it had. */
  start(): Promise<void>;
}

/** What it does with each request; without one a test takes them by `next`. */
export type Script = (peer: Peer) => unknown;

const KEPT_BYTES = 16 * 1024 * 1024;
/** Whether it takes the sidecar's own key. */
const OWN_QUESTION = /^GET \S*\/v1\/models HTTP[\s\S]*\r\nuser-agent: litellm-sidecar-probe\r\n/i;
const PROBE = /^GET \S*\/health\/liveliness HTTP/;

/** Starts one on a free port. The sidecar's own probes are answered and not shown. */
export async function startFakeUpstream(script?: Script): Promise<FakeUpstream> {
  const requests: Peer[] = [];
  const inbox = createInbox<Peer>();
  const sockets = new Set<Socket>();
  let connections = 0;
  let isAlive = true;
  let keyTaken = true;
  let modelList = NO_MODELS;
  let keyQuestions = 0;

  /** What it says to a question of the sidecar's own. */
  const answerToSidecar = (rawHead: string): string | undefined => {
    if (OWN_QUESTION.test(rawHead)) {
      keyQuestions += 1;
      return keyTaken ? modelList : KEY_REFUSED;
    }
    if (PROBE.test(rawHead)) return isAlive ? OK_AND_CLOSE : UNAVAILABLE;
    return undefined;
  };
  const onConnection = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    let connection = -1;
    const gone = new Promise<void>((resolve) => {
      for (const event of ['end', 'close', 'error']) socket.once(event, () => resolve());
    });
    const read = createRequestReader((head) => {
      const toSidecar = answerToSidecar(head.rawHead);
      if (toSidecar !== undefined) {
        socket.end(toSidecar);
        return undefined;
      }
      if (connection < 0) connection = connections++;
      const { peer, reader } = createPeer(head, { socket, connection, gone });
      requests.push(peer);
      if (script === undefined) inbox.put(peer);
      // Its body, if it is here already, is read before the script runs.
      else queueMicrotask(() => void script(peer));
      return reader;
    });
    socket.on('data', read);
  };

  const server = createServer({ allowHalfOpen: true }, onConnection);
  const port = await listen(server, 0);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    next: inbox.take,
    connections: () => connections,
    alive(alive) {
      isAlive = alive;
    },
    takesKey(taken) {
      keyTaken = taken;
    },
    lists(models) {
      const list = JSON.stringify({ data: models.map((id) => ({ id })) });
      const head = `HTTP/1.1 200 OK\r\ncontent-length: ${list.length}\r\nconnection: close`;
      modelList = `${head}\r\n\r\n${list}`;
    },
    keyQuestions: () => keyQuestions,
    async stop() {
      const closed = server.listening ? once(server, 'close') : undefined;
      server.close();
      for (const socket of sockets) socket.resetAndDestroy();
      await closed;
    },
    async start() {
      await listen(server, port);
    },
  };
}

const OK_AND_CLOSE = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok';
const NO_MODELS = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}';
const KEY_REFUSED = 'HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}';
const UNAVAILABLE =
  'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function createPeer(head: SeenHead, on: Pick<Peer, 'socket' | 'connection' | 'gone'>) {
  const { socket } = on;
  const chunks: Buffer[] = [];
  const raw: Buffer[] = [];
  const trailers: string[] = [];
  const waiting = new Set<() => void>();
  let finish: (body: Buffer) => void = () => undefined;
  const body = new Promise<Buffer>((resolve) => {
    finish = resolve;
  });
  let bytes = 0;
  const peer: Peer = {
    ...head,
    ...on,
    trailers,
    body,
    get bodyBytes() {
      return bytes;
    },
    get rawBody() {
      return Buffer.concat(raw);
    },
    async bodyReaches(wanted) {
      while (bytes < wanted) {
        await new Promise<void>((resolve) => {
          waiting.add(resolve);
        });
      }
    },
    write: (text) => socket.write(text),
    head: (status, ...fields) =>
      void socket.write([`HTTP/1.1 ${status}`, ...fields, '', ''].join('\r\n')),
    chunk: (data) =>
      socket.write(
        Buffer.concat([
          Buffer.from(`${Buffer.byteLength(data).toString(16)}\r\n`),
          Buffer.from(data),
          Buffer.from('\r\n'),
        ]),
      ),
    answer(status, body = '', ...fields) {
      const framing = `content-length: ${Buffer.byteLength(body)}`;
      socket.write([`HTTP/1.1 ${status}`, framing, ...fields, '', body].join('\r\n'));
    },
    reset: () => void socket.resetAndDestroy(),
  };
  const reader = {
    onRaw(chunk: Buffer) {
      if (bytes <= KEPT_BYTES) raw.push(chunk);
    },
    onBody(chunk: Buffer) {
      bytes += chunk.length;
      if (bytes <= KEPT_BYTES) chunks.push(chunk);
      for (const wake of waiting) wake();
      waiting.clear();
    },
    onEnd(fields: readonly string[]) {
      trailers.push(...fields);
      finish(Buffer.concat(chunks));
    },
  };
  return { peer, reader };
}
