import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { WatchedClock } from '../clock.ts';
import type { Refusal } from '../refusal.ts';
import type { Connection, Connections } from './connections.ts';
import type { UpstreamErrorKind } from './record.ts';
import { refusals } from './refuse.ts';
import type { Upload } from './upload.ts';

/** What it means for a request that it could not be sent, or was not answered. */
type UpstreamFailure =
  /** Nothing was sent, and LiteLLM cannot be reached. */
  | { readonly kind: 'away' }
  /** Nothing was sent, but only because the connection had just ended. */
  | { readonly kind: 'stale' }
  /** The request was sent, and no answer came. */
  | { readonly kind: 'died'; readonly error: UpstreamErrorKind }
  /** undici refuses to send such a request. */
  | { readonly kind: 'unsendable' };

const codeOf = (error: Error): string => ('code' in error ? String(error.code) : '');

/**
 * Reads an error of undici's.
 *
 * @param sent whether the request had been written to a socket
 */
export function readFailure(error: Error, sent: boolean): UpstreamFailure {
  const code = codeOf(error);
  if (sent) {
    const isProtocol = error.name === 'HTTPParserError' || isProtocolError(code);
    return { kind: 'died', error: isProtocol ? 'protocol' : 'reset' };
  }
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') return { kind: 'stale' };
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
    return { kind: 'unsendable' };
  }
  return { kind: 'away' };
}

/**
 * Node's errors of llhttp, undici's own about the answer, and Node's about fields it will not
 * write. undici's errors of llhttp are known by their name: their code is missing.
 */
const isProtocolError = (code: string): boolean =>
  code.startsWith('HPE_') ||
  code.startsWith('UND_ERR_RES') ||
  code === 'UND_ERR_HEADERS_OVERFLOW' ||
  code.startsWith('ERR_INVALID_') ||
  code.startsWith('ERR_HTTP_');

/** Why a request without an answer has had its time; undefined: there is time left. */
export function overdue(
  now: number,
  attempt: Attempt | undefined,
  upload: Upload | undefined,
  limits: { readonly answerTimeoutMs: number; readonly uploadIdleMs: number },
): Refusal | undefined {
  const { answerTimeoutMs, uploadIdleMs } = limits;
  if (uploadIdleMs > 0 && upload?.waitsForClient && now - upload.lastAt > uploadIdleMs) {
    return refusals.uploadStalled();
  }
  const sentAt = attempt?.sentAt ?? -1;
  if (answerTimeoutMs === 0 || sentAt < 0) return undefined;
  const isLate = now - Math.max(sentAt, upload?.lastAt ?? 0) > answerTimeoutMs;
  return isLate ? refusals.answerLate() : undefined;
}

/** Who hears what comes of an attempt: the exchange, or whoever listens in front of it. */
export interface AttemptOwner {
  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void;
  /** Returns false where the client is slower than LiteLLM: `resume` lets the answer go on. */
  onAnswerData(chunk: Buffer): boolean;
  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void;
  onAttemptError(attempt: Attempt, error: Error): void;
}

/** What is sent. */
interface AttemptRequest {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
}

/**
 * Milliseconds after the send: on a connection that dies later LiteLLM may have begun to work on
 * the request, and somebody pays for that.
 */
const RETRY_WITHIN_MS = 1000;

const isLength = (field: Buffer): boolean =>
  field.length === 14 && field.toString('latin1').toLowerCase() === 'content-length';

/** One try to send a request, on one connection, and what comes back on it. */
export class Attempt implements Dispatcher.DispatchHandler {
  /** The connection had carried another exchange before: it may have died of old age. */
  readonly #reused: boolean;
  /** When the request was written, on the watched clock; -1: not yet. */
  sentAt = -1;
  readonly #owner: AttemptOwner;
  readonly #connections: Connections;
  readonly #connection: Connection;
  readonly #clock: WatchedClock;
  #abort: ((reason: Error) => void) | undefined;
  #resume: (() => void) | undefined;
  #cancelled: Error | undefined;
  #over = false;
  /** What the connection had read before: bytes of earlier answers. */
  #readBefore = 0;

  constructor(
    owner: AttemptOwner,
    options: { connections: Connections; fresh: boolean; clock: WatchedClock },
  ) {
    this.#owner = owner;
    this.#connections = options.connections;
    this.#clock = options.clock;
    this.#connection = options.fresh ? options.connections.takeFresh() : options.connections.take();
    this.#reused = this.#connection.reused;
  }

  /**
   * Whether the attempt failed like one whose connection had died of old age before it was sent: no
   * byte of an answer came, not even of its head, and the failure came soon.
   */
  mayHaveBeenDead(): boolean {
    const answerBegan = this.#bytesRead > this.#readBefore;
    if (!this.#reused || answerBegan || this.#clock.pausedSince(this.sentAt)) return false;
    return this.#clock.elapsed() - this.sentAt < RETRY_WITHIN_MS;
  }

  get #bytesRead(): number {
    return this.#connection.socket?.bytesRead ?? 0;
  }

  send(request: AttemptRequest): void {
    this.#connection.client.dispatch(request, this);
  }

  /**
   * Ends the attempt, whether the request was sent or still waits for the connection: an error
   * follows. Returns false where the answer is whole, and nothing follows.
   */
  cancel(reason: Error): boolean {
    if (this.#over) return false;
    this.#cancelled = reason;
    this.#abort?.(reason);
    return true;
  }

  resume(): void {
    this.#resume?.();
  }

  // undici 7's own interface: the newer one is wrapped around it, at the cost of two objects and a
  // second reading of the fields for each request.

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    this.sentAt = this.#clock.elapsed();
    if (this.#reused) this.#readBefore = this.#bytesRead;
    if (this.#cancelled !== undefined) abort(this.#cancelled);
  }

  onHeaders(status: number, fields: Buffer[], resume: () => void, statusText: string): boolean {
    // LiteLLM sends no 1xx of its own, and a 100 is answered here.
    if (status < 200) return true;
    this.#resume = resume;
    this.#owner.onAnswerHead(status, statusText, fields);
    if ((status === 304 || status === 204) && fields.some(isLength)) this.#endWithoutBody();
    return true;
  }

  /**
   * A 304 may say how long the body would have been (RFC 9110 §8.6), and FastAPI's JSONResponse
   * says 4 of a 204: undici would wait for it.
   */
  #endWithoutBody(): void {
    this.#over = true;
    this.#owner.onAnswerEnd([]);
    this.#abort?.(new Error('no body follows'));
  }

  onData(chunk: Buffer): boolean {
    return this.#owner.onAnswerData(chunk);
  }

  onComplete(trailers: (Buffer | string)[] | null): void {
    this.#abort = undefined;
    // undici takes a reset for the end of an answer that has no length: it is no end.
    const broken = this.#connection.socket?.errored;
    if (broken) {
      this.#owner.onAttemptError(this, broken);
      return;
    }
    this.#over = true;
    this.#connections.give(this.#connection);
    this.#owner.onAnswerEnd(trailers ?? []);
  }

  onError(error: Error): void {
    this.#abort = undefined;
    if (!this.#over) this.#owner.onAttemptError(this, error);
  }
}
