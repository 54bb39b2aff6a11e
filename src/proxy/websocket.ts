import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { createProxyServer, type ProxyServer } from 'http-proxy-3';
import { afterReading } from '../clock.ts';
import { reasonPhrase } from './answer-head.ts';
import { endThenDestroy } from './client-connection.ts';
import { MAX_ANSWER_HEAD } from './connections.ts';

/** Milliseconds of silence after which the kernel asks LiteLLM's machine whether it is there. */
const PROBE_AFTER_MS = 60_000;

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** The bytes of the request target. */
  readonly target: string;
  /** The fields that LiteLLM gets: name, value, name, value. */
  readonly headers: readonly string[];
}

/** What is heard of an upgrade that LiteLLM is asked for. */
interface UpgradeHooks {
  /** The connection stands: from now on a failure is an answer that did not come. */
  onSent(): void;
  /**
   * LiteLLM said 101, or another status instead; the head of its answer is on its way to the
   * client. Returns false to keep the answer back: nothing of this attempt reaches the client any
   * more. A 101 cannot be kept back.
   */
  onAnswer(status: number): boolean;
  onError(error: Error): void;
}

/** An upgrade under way. */
export interface UpgradeAttempt {
  readonly gate: Gate;
  /**
   * Ends the connection to LiteLLM when the client has gone. By itself http-proxy-3 would leave the
   * request with LiteLLM before the 101, and wait for LiteLLM to close after it.
   */
  abort(): void;
}

/**
 * Makes what asks LiteLLM for a WebSocket, through http-proxy-3.
 *
 * @param options.origin where LiteLLM listens
 * @param options.connectTimeoutMs milliseconds; 0: no limit
 */
export function createUpgrader(options: { origin: URL; connectTimeoutMs: number }) {
  /** By gate: who wants to see the request that http-proxy-3 made. */
  const onRequest = new WeakMap<object, (request: ClientRequest) => void>();
  const proxy = openProxy(options.origin, (made, gate) => onRequest.get(gate)?.(made));

  return (asked: UpgradeRequest, hooks: UpgradeHooks): UpgradeAttempt => {
    const gate = new Gate(asked.socket);
    let request: ClientRequest | undefined;
    let upgraded: Duplex | undefined;
    let isKeptBack = false;
    const onError = (error: Error): void => {
      if (!isKeptBack) hooks.onError(error);
    };
    onRequest.set(gate, (made) => {
      request = made;
      // The bytes that were judged, not http-proxy-3's reading of them.
      made.path = asked.target;
      made.once('socket', (socket) => {
        limitConnect(socket, options.connectTimeoutMs, hooks.onSent);
      });
      made.once('upgrade', (answer, socket) => {
        answer.headers = asHeaderObject(answer.rawHeaders);
        upgraded = socket;
        socket.setKeepAlive(true, PROBE_AFTER_MS);
        gate.opened();
        hooks.onAnswer(101);
      });
      made.once('response', (answer) => {
        const { statusCode = 0, statusMessage = '' } = answer;
        answer.headers = asHeaderObject(answer.rawHeaders);
        answer.statusMessage = reasonPhrase(statusCode, statusMessage);
        if (statusCode < 200 || !hooks.onAnswer(statusCode)) {
          isKeptBack = true;
          // http-proxy-3 goes on with the answer; what it writes ends at the gate.
          gate.release();
          made.destroy();
          if (statusCode < 200) hooks.onError(switchedToNothing());
          return;
        }
        // http-proxy-3 waits for an end that does not come when LiteLLM dies in its answer.
        answer.once('close', () => {
          if (!answer.complete) onError(new Error('LiteLLM broke off'));
        });
      });
    });
    asked.request.headers = asHeaderObject([...ASKS_FOR_WEBSOCKET, ...asked.headers]);
    // What stands under `ssl` goes into the options of the request, over TLS or not.
    const limits = { ssl: { maxHeaderSize: MAX_ANSWER_HEAD } };
    proxy.ws(asked.request, gate as unknown as Socket, Buffer.alloc(0), limits, onError);
    return {
      gate,
      abort() {
        (upgraded ?? request)?.destroy();
      },
    };
  };
}

/**
 * A 101 that names no protocol, or no status at all: http-proxy-3 would write it as the head of a
 * body, whose framing a client takes for frames.
 */
const switchedToNothing = (): Error =>
  Object.assign(new Error('LiteLLM switched to nothing'), { code: 'HPE_INVALID_STATUS' });

function openProxy(
  origin: URL,
  onRequest: (request: ClientRequest, gate: object) => void,
): ProxyServer {
  const opened = createProxyServer({ target: origin.href, ws: true, prependPath: false });
  opened.on('proxyReqWs', (request, _asked, gate) => onRequest(request, gate));
  // Each upgrade hears of its own errors through its callback.
  opened.on('error', () => undefined);
  return opened;
}

/** Node's own time limit begins with the connection; an unreachable address needs one before. */
function limitConnect(socket: Socket, timeoutMs: number, onConnected: () => void): void {
  const giveUp = (): void => {
    socket.destroy(Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' }));
  };
  const callOff = timeoutMs === 0 ? () => undefined : afterReading(timeoutMs, giveUp);
  socket.once('connect', () => {
    callOff();
    onConnected();
  });
  socket.once('close', callOff);
}

const ASKS_FOR_WEBSOCKET = ['connection', 'Upgrade', 'upgrade', 'websocket'] as const;

/**
 * Fields, name, value, name, value, as http-proxy-3 reads them: by their names in lower case.
 * Without a prototype, in which `constructor` would stand already. `__proto__` is written in
 * capitals: http-proxy-3 copies the fields of a refusal to an object that has one.
 */
function asHeaderObject(flat: readonly string[]): IncomingHttpHeaders {
  const out = Object.create(null) as Record<string, string | string[]>;
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const lower = (flat[at] ?? '').toLowerCase();
    const name = lower === '__proto__' ? '__PROTO__' : lower;
    const value = flat[at + 1] ?? '';
    const before = out[name];
    out[name] = before === undefined ? value : [before, value].flat();
  }
  return out;
}

/** RFC 6455 §7.4.1: "going away", as a server that stops says. */
const GOING_AWAY = 1001;

/**
 * Stands for the client's socket towards http-proxy-3. The gate knows where one frame ends and the
 * next begins, so that a close frame can be put between two, and it can be taken away without the
 * socket: a connection to LiteLLM that failed may be tried again.
 */
export class Gate extends Duplex {
  bytesUp = 0;
  bytesDown = 0;
  readonly #socket: Socket;
  readonly #frames = createFrameTracker();
  /** Until the 101 all bytes are HTTP and pass as they are. */
  #open: 'no' | 'after_head' | 'yes' = 'no';
  /** The client shall get a close frame, for this reason, as soon as a frame ends. */
  #closing = false;
  #why = '';
  /** The client has got that close frame: nothing follows. */
  #closed = false;
  /** The gate has given the socket back to the tunnel. */
  #released = false;
  readonly #detach: () => void;

  constructor(socket: Socket) {
    // http-proxy-3 writes heads as text, in which Node has read each byte as a character.
    super({ allowHalfOpen: true, defaultEncoding: 'latin1' });
    this.#socket = socket;
    const onData = (chunk: Buffer): void => {
      this.bytesUp += chunk.length;
      if (!this.push(chunk)) socket.pause();
    };
    const onEnd = (): void => {
      this.push(null);
    };
    const onClose = (): void => {
      this.destroy();
    };
    const onError = (): void => undefined;
    socket.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError);
    this.#detach = () => {
      socket.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError);
    };
  }

  /** LiteLLM has said 101: the next write is that head, and frames follow. */
  opened(): void {
    this.#open = 'after_head';
  }

  get isOpen(): boolean {
    return this.#open !== 'no';
  }

  /** Sends 1001 to the client as soon as a frame ends; nothing of LiteLLM's follows it. */
  goAway(why: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#why = why;
    if (this.#open === 'yes' && this.#frames.atBoundary()) this.#sayGoodbye();
  }

  /** Gives the socket back to the tunnel: what http-proxy-3 still does to the gate stays here. */
  release(): void {
    this.#released = true;
    this.#detach();
    this.#socket.pause();
  }

  override _read(): void {
    if (!this.#released) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const out = this.#pass(chunk);
    if (out.length === 0 || this.#socket.destroyed) {
      done();
      return;
    }
    this.bytesDown += out.length;
    if (this.#socket.write(out)) done();
    else this.#socket.once('drain', () => done());
  }

  /** What of a chunk the client may still get. */
  #pass(chunk: Buffer): Buffer {
    if (this.#closed || this.#released) return Buffer.alloc(0);
    if (this.#open === 'no') return chunk;
    if (this.#open === 'after_head') {
      this.#open = 'yes';
      return this.#closing ? this.#withGoodbye(chunk) : chunk;
    }
    const read = this.#frames.read(chunk, this.#closing);
    if (!this.#closing || !this.#frames.atBoundary()) return chunk;
    return this.#withGoodbye(chunk.subarray(0, read));
  }

  #withGoodbye(last: Buffer): Buffer {
    this.#closed = true;
    return Buffer.concat([last, closeFrame(GOING_AWAY, this.#why)]);
  }

  #sayGoodbye(): void {
    this.#socket.write(this.#withGoodbye(Buffer.alloc(0)));
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#released) endThenDestroy(this.#socket);
    done();
  }

  // The other methods of a socket that http-proxy-3 calls.
  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms);
    return this;
  }

  setNoDelay(on: boolean): this {
    this.#socket.setNoDelay(on);
    return this;
  }

  /** The listener has done that: http-proxy-3 would have Linux wait for two hours. */
  setKeepAlive(): this {
    return this;
  }

  destroySoon(): void {
    this.end();
  }
}

/** The two bytes that every frame begins with: they say how long its head is. */
const SHORTEST_HEAD = 2;

/** How long the head of a frame is, from its first two bytes. */
function headLength(second: number): number {
  const length = second & 0x7f;
  const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
  return SHORTEST_HEAD + extended + ((second & 0x80) === 0 ? 0 : 4);
}

function payloadLength(head: Buffer): number {
  const length = (head[1] ?? 0) & 0x7f;
  if (length === 126) return head.readUInt16BE(2);
  // Above 2^53 no frame ever ends; a number that large needs no exactness.
  return length === 127 ? Number(head.readBigUInt64BE(2)) : length;
}

/** Follows the frames of one direction of a WebSocket (RFC 6455 §5.2) by their heads alone. */
export function createFrameTracker() {
  const head = Buffer.alloc(14);
  let headBytes = 0;
  let payloadLeft = 0;

  const readHead = (byte: number): void => {
    head[headBytes++] = byte;
    if (headBytes < SHORTEST_HEAD || headBytes < headLength(head[1] ?? 0)) return;
    payloadLeft = payloadLength(head);
    headBytes = 0;
  };

  /** Whether one frame has ended and the next has not begun: another may be put here. */
  const atBoundary = (): boolean => headBytes === 0 && payloadLeft === 0;

  return {
    atBoundary,
    /**
     * Reads on; with `stop` no further than to the first boundary.
     *
     * @returns how many bytes of the chunk were read
     */
    read(chunk: Buffer, stop: boolean): number {
      let at = 0;
      while (at < chunk.length && !(stop && atBoundary())) {
        if (payloadLeft > 0) {
          const step = Math.min(payloadLeft, chunk.length - at);
          payloadLeft -= step;
          at += step;
        } else {
          readHead(chunk[at] ?? 0);
          at++;
        }
      }
      return at;
    },
  };
}

/** A close frame as a server sends it: unmasked, with a code (RFC 6455 §7.4.1) and a reason. */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason);
  const frame = Buffer.alloc(4 + text.length);
  frame[0] = 0x88;
  frame[1] = 2 + text.length;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}
