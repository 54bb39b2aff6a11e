import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Refusal, RefusalCode } from '../refusal.ts';
import { Attempt, type AttemptOwner, readFailure } from './attempt.ts';
import type { Decision } from './decide.ts';
import type { Exchanges, Live } from './exchanges.ts';
import { addressTo, answerHeaders, answerTrailers } from './headers.ts';
import type { Hold, Waiter } from './hold.ts';
import { McpAnswer } from './mcp-answer.ts';
import {
  type CallerRecord,
  type Ended,
  type ExchangeRecord,
  type Outcome,
  recordOf,
  type TrafficEvents,
  tellFirstAnswer,
} from './record.ts';
import * as refusals from './refuse.ts';
import { discardOrClose, refuseRequest } from './refuse.ts';
import type { Upload } from './upload.ts';
import { type KeyTrier, KeyTry, provesKey, type UpstreamKey } from './upstream-keys.ts';
import type { Upstream, Upstreams } from './upstreams.ts';

/** What all exchanges share. */
export interface ExchangeContext {
  readonly upstreams: Upstreams;
  readonly exchanges: Exchanges;
  readonly events: TrafficEvents;
  readonly elapsed: () => number;
  /** Milliseconds; 0: no limit. */
  readonly answerTimeoutMs: number;
  readonly uploadIdleMs: number;
}

/** One admitted request. */
export interface ExchangeRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly decision: Extract<Decision, { kind: 'forward' }>;
  readonly method: Dispatcher.HttpMethod;
  /** The fields LiteLLM gets: name, value, name, value; `addressTo` completes them. */
  readonly headers: string[];
  /** The MCP session that it belongs to. */
  readonly session: string | undefined;
  /** Undefined: the request has no body. */
  readonly upload: Upload | undefined;
  readonly origin: string | undefined;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}

/** How a try differs from another one of the same request. */
export interface Try {
  /** On a connection that was never used. */
  readonly fresh: boolean;
  /** LiteLLM did not take this key for it. */
  readonly refused: UpstreamKey | undefined;
}

/**
 * Prepares to send a request to one LiteLLM. What depends on which one that is, Host and key, is
 * filled in here and not before: it may have changed while the request waited.
 */
export function attemptAt(
  upstream: Upstream,
  it: ExchangeRequest,
  owner: AttemptOwner & KeyTrier,
  { context, fresh, refused }: Try & { readonly context: ExchangeContext },
): Attempt {
  const { method, headers, session } = it;
  const { route, generation, target, keepAuthorization } = it.decision;
  const { keys, connections } = upstream;
  let listener: AttemptOwner = owner;
  if (route.mcp) {
    const mcp = { method, target, session };
    listener = new McpAnswer(listener, context.upstreams.sessions, upstream, mcp);
  }
  if (generation === undefined) {
    addressTo(headers, upstream.rules.host, undefined);
  } else {
    const key = keys.pick(refused);
    addressTo(headers, upstream.rules.host, key.field(route.keyPlace, keepAuthorization));
    if (keys.other !== undefined) {
      const last = refused !== undefined;
      const proves = provesKey(method, route);
      listener = new KeyTry(listener, { trier: owner, keys, key, last, proves });
    }
  }
  return new Attempt(listener, { connections, fresh, elapsed: context.elapsed });
}

/** Of each connection on which answers wait behind another's: who wants to know of its end. */
const waiting = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls `done` once an answer was sent whole or its client left. An answer that waits behind
 * another's on its connection (RFC 9112 §9.3.2) has no socket yet: Node does not tell it of the
 * latter.
 */
export function whenClosed(
  request: IncomingMessage,
  response: ServerResponse,
  done: () => void,
): void {
  if (response.socket !== null) {
    response.once('close', done);
    return;
  }
  const others = waitingOn(request.socket);
  const finish = (): void => {
    if (others.delete(finish)) done();
  };
  others.add(finish);
  response.once('close', finish);
}

/** One listener a connection, however many answers wait on it. */
function waitingOn(socket: Socket): Set<() => void> {
  const known = waiting.get(socket);
  if (known !== undefined) return known;
  const made = new Set<() => void>();
  waiting.set(socket, made);
  socket.once('close', () => {
    for (const finish of [...made]) finish();
  });
  return made;
}

/**
 * Why a request without an answer has had its time; undefined: it has not.
 *
 * @param now on the monotonic clock
 * @param sentAt when it was sent; -1: it was not
 */
export function overdue(
  now: number,
  { answerTimeoutMs, uploadIdleMs }: Pick<ExchangeContext, 'answerTimeoutMs' | 'uploadIdleMs'>,
  upload: Upload | undefined,
  sentAt: number,
): Refusal | undefined {
  if (uploadIdleMs > 0 && upload?.waitsForClient && now - upload.lastAt > uploadIdleMs) {
    return refusals.uploadStalled();
  }
  if (answerTimeoutMs === 0 || sentAt < 0) return undefined;
  const isLate = now - Math.max(sentAt, upload?.lastAt ?? 0) > answerTimeoutMs;
  return isLate ? refusals.answerLate() : undefined;
}

/** Says to the client of an admitted request why it is not served. */
export function refuseExchange(it: ExchangeRequest, no: Refusal): void {
  const { request, response, decision, caller, origin } = it;
  const { dialect } = decision.route;
  const context = { dialect, requestId: caller.id, origin, close: false };
  refuseRequest(request, response, no, { ...context, whole: request.complete });
}

/** @param now on the monotonic clock */
export const recordOfExchange = (
  { caller, response, upload, startedAt }: ExchangeRequest,
  ended: Ended,
  now: number,
): ExchangeRecord =>
  recordOf(caller, ended, {
    status: response.headersSent ? response.statusCode : 0,
    durationMs: now - startedAt,
    requestBytes: upload?.bytes ?? 0,
  });

/** A LiteLLM that dies may take connections for some milliseconds more, only to reset them. */
const RETRY_AFTER_MS = 100;

/**
 * One request and its answer, from its admission to its last byte. A class, because ten thousand
 * may be open: its methods stand once, on the prototype.
 */
export class Exchange implements Live, Waiter, AttemptOwner, KeyTrier, Ended {
  readonly websocket = false;
  eventStream = false;
  /** Milliseconds from the head of the request; -1: not reached. */
  overheadMs = -1;
  firstByteMs = -1;
  responseBytes = 0;
  model = '';
  outcome: Outcome = 'answered';
  refusal: RefusalCode | undefined;
  readonly #context: ExchangeContext;
  readonly #it: ExchangeRequest;
  readonly #unregister: () => void;
  /** Undefined: it waits, and may go to whichever is active then. */
  #upstream: Upstream | undefined;
  #attempt: Attempt | undefined;
  #retried = false;
  #refusedKey: UpstreamKey | undefined;
  #waitsIn: Hold | undefined;
  #holdDeadline: number | undefined;
  /** What the client is told once undici has let go of the request. */
  #verdict: Refusal | undefined;
  #closed = false;

  constructor(context: ExchangeContext, it: ExchangeRequest) {
    this.#context = context;
    this.#it = it;
    this.#unregister = context.exchanges.add(this);
    whenClosed(it.request, it.response, () => this.#onClose());
  }

  get generation(): string {
    return this.#it.caller.generation;
  }

  get slot(): string {
    return this.#upstream?.name ?? '';
  }

  /** Sends it, or lets it wait where LiteLLM is known to be away. */
  start(): void {
    if (this.#closed || this.#verdict !== undefined) return;
    // Neither a wait for LiteLLM nor a second try is the sidecar's own share.
    if (this.overheadMs < 0) this.overheadMs = this.#context.elapsed() - this.#it.startedAt;
    const upstream = this.#context.upstreams.pick(this.#it.session);
    if (upstream.hold.away()) this.#waitFor(upstream);
    else this.#send(upstream, false);
  }

  release(): void {
    this.start();
  }

  expire(): void {
    this.#refuse(refusals.away(), true);
  }

  tick(now: number): void {
    if (this.firstByteMs >= 0) return;
    const no = overdue(now, this.#context, this.#it.upload, this.#attempt?.sentAt ?? -1);
    if (no === undefined) return;
    if (no.code === 'upstream_timeout') this.#context.events.onUpstreamError('timeout');
    this.abandon(no);
  }

  /** What is under way is finished; the deadline is the caller's. */
  drain(): void {}

  cut(): void {
    if (this.#closed) return;
    this.outcome = 'cut';
    this.#it.response.destroy();
    // Not with its socket: until that is closed it could be sent, and an answer that waits behind
    // another's (RFC 9112 §9.3.2) has none.
    this.#onClose();
  }

  /** Gives up on LiteLLM; the client is told when undici has let go. */
  abandon(no: Refusal): void {
    if (this.#closed || this.#verdict !== undefined) return;
    this.#verdict = no;
    if (this.#attempt === undefined) this.#refuse(no);
    else this.#attempt.cancel(new Error(no.code));
  }

  #waitFor(upstream: Upstream): void {
    this.#upstream = undefined;
    this.#waitsIn = upstream.hold;
    const deadline = upstream.hold.enter(this, this.#holdDeadline);
    if (deadline === false) this.#refuse(refusals.tooManyWait(), true);
    else this.#holdDeadline = deadline;
  }

  #send(upstream: Upstream, fresh: boolean): void {
    const { method, headers, decision, upload } = this.#it;
    this.#upstream = upstream;
    const body = upload?.open() ?? null;
    // Reading the body may have shown that it is too large.
    if (this.#verdict !== undefined) return;
    const how = { context: this.#context, fresh, refused: this.#refusedKey };
    this.#attempt = attemptAt(upstream, this.#it, this, how);
    this.#attempt.send({ method, path: decision.target, headers, body });
  }

  /** The next try stays with its LiteLLM, unless that is gone. */
  #sendAgain(upstream: Upstream): void {
    if (this.#closed || this.#verdict !== undefined) return;
    if (this.#context.upstreams.mayStay(upstream)) this.#send(upstream, true);
    else this.start();
  }

  onKeyRefused(refused: UpstreamKey): void {
    this.#attempt?.cancel(new Error('the key was refused'));
    this.#attempt = undefined;
    this.#refusedKey = refused;
    if (this.#it.upload?.replayable ?? true) {
      this.#context.events.onRetry('other_key');
      // By then undici has let go of the connection and of the body.
      queueMicrotask(() => this.start());
    } else {
      this.#refuse(refusals.keyChanges());
    }
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    if (this.#closed) return;
    const { response, upload, caller, decision, startedAt } = this.#it;
    tellFirstAnswer(this.#context.events, status, decision.generation, caller);
    upload?.release();
    const { rules } = this.#upstream as Upstream;
    const head = answerHeaders(raw, rules, caller.id);
    this.model = head.model;
    this.eventStream = head.eventStream;
    response.writeHead(status, statusText, head.headers);
    this.firstByteMs = this.#context.elapsed() - startedAt;
    // What came in the same packet goes in the same write; a head that came alone goes alone.
    queueMicrotask(() => {
      if (this.responseBytes === 0 && !response.writableEnded) response.flushHeaders();
    });
  }

  onAnswerData(chunk: Buffer): boolean {
    this.responseBytes += chunk.length;
    const { response } = this.#it;
    if (this.#closed || response.write(chunk)) return true;
    response.once('drain', () => this.#attempt?.resume());
    return false;
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    const { response, request } = this.#it;
    this.#attempt = undefined;
    if (rawTrailers.length > 0) response.addTrailers(answerTrailers(rawTrailers));
    response.end();
    // LiteLLM answered before it had the whole body; the client may still be sending it.
    if (!request.complete) discardOrClose(request);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    this.#attempt = undefined;
    if (this.#closed) return;
    if (!this.#it.response.headersSent) {
      if (this.#verdict === undefined) this.#onFailure(attempt, error);
      else this.#refuse(this.#verdict);
    } else if (this.#verdict !== undefined) {
      this.cut();
    } else {
      this.#context.events.onUpstreamError('aborted');
      this.outcome = 'upstream_aborted';
      this.#it.response.destroy();
    }
  }

  /** The attempt failed before a byte of its answer came. */
  #onFailure(attempt: Attempt, error: Error): void {
    const { events } = this.#context;
    const upstream = this.#upstream as Upstream;
    const failure = readFailure(error, attempt.sentAt >= 0);
    if (failure.kind === 'stale') {
      this.#sendAgain(upstream);
    } else if (failure.kind === 'unsendable') {
      this.#refuse(refusals.unsendable(error));
    } else if (failure.kind === 'away') {
      events.onUpstreamError('connect');
      upstream.hold.markAway();
      this.start();
    } else {
      events.onUpstreamError(failure.error);
      if (failure.error !== 'reset' || !this.#mayRetry(attempt)) {
        this.#refuse(refusals.brokeOff(error));
        return;
      }
      this.#retried = true;
      events.onRetry('reused_connection');
      setTimeout(() => this.#sendAgain(upstream), RETRY_AFTER_MS);
    }
  }

  #mayRetry(attempt: Attempt): boolean {
    if (this.#retried || !attempt.mayHaveBeenDead()) return false;
    return this.#it.upload?.replayable ?? true;
  }

  #refuse(no: Refusal, unsent = false): void {
    if (this.#closed || this.#it.response.headersSent) return;
    if (unsent) this.overheadMs = -1;
    this.refusal = no.code;
    refuseExchange(this.#it, no);
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { response, upload } = this.#it;
    upload?.release();
    if (!response.writableFinished && this.outcome === 'answered') {
      this.outcome = 'client_aborted';
    }
    // Tokens cost money, and nobody reads them any more.
    this.#attempt?.cancel(new Error('the client left'));
    this.#waitsIn?.leave(this);
    this.#unregister();
    this.#context.events.onExchangeEnd(recordOfExchange(this.#it, this, this.#context.elapsed()));
  }
}
