import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { WatchedClock } from '../clock.ts';
import type { Usage, UsageFault } from '../litellm/usage.ts';
import type { Refusal, RefusalCode } from '../refusal.ts';
import { soon } from '../turns.ts';
import { writeAnswerHead } from './answer-head.ts';
import { Attempt, type AttemptOwner, overdue, readFailure } from './attempt.ts';
import { breakOff, discardOrClose, whenClosed } from './client-connection.ts';
import type { Cors } from './cors.ts';
import type { Decision } from './decide.ts';
import type { Exchanges, Live } from './exchanges.ts';
import { addressTo, answerHeaders, answerTrailers } from './headers.ts';
import type { Hold, Waiter } from './hold.ts';
import type { Lease } from './limits.ts';
import { McpAnswer } from './mcp-sessions.ts';
import { ModelListAnswer } from './model-list.ts';
import {
  type CallerRecord,
  type ExchangeEnd,
  isSuccess,
  type Outcome,
  reasonOf,
  recordOf,
  type TrafficEvents,
  tellFirstAnswer,
} from './record.ts';
import { refusals, refuseRequest } from './refuse.ts';
import { createTap, saysUsage, type Tap, type TapOwner, usesUntold } from './tap.ts';
import type { Upload } from './upload.ts';
import { type KeyTrier, KeyTry, provesKey, type UpstreamKey } from './upstream-keys.ts';
import type { Upstream, Upstreams } from './upstreams.ts';

/** What all exchanges share. */
export interface ExchangeContext {
  readonly upstreams: Upstreams;
  readonly exchanges: Exchanges;
  readonly events: TrafficEvents;
  readonly cors: Cors;
  /** The monotonic clock, milliseconds: for durations. */
  readonly elapsed: () => number;
  /** For limits on time. */
  readonly watched: WatchedClock;
  /** Milliseconds; 0: no limit. */
  readonly answerTimeoutMs: number;
  readonly uploadIdleMs: number;
}

/** One admitted request. */
interface ExchangeRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly decision: Extract<Decision, { kind: 'forward' }>;
  readonly method: Dispatcher.HttpMethod;
  /** The fields that LiteLLM gets: name, value, name, value; `addressTo` completes them. */
  readonly headers: string[];
  readonly traceId: string;
  /** The MCP session that the request belongs to. */
  readonly session: string | undefined;
  /** Undefined: the request has no body. */
  readonly upload: Upload | undefined;
  /** The origin of a page that may read the answer. */
  readonly reader: string | undefined;
  readonly caller: CallerRecord;
  /** When the request's head was there, on the monotonic clock. */
  readonly startedAt: number;
  /** What it holds of its client's limits; undefined: the client has none. */
  readonly lease: Lease | undefined;
}

/** A LiteLLM that dies may take connections for some milliseconds more, only to reset them. */
const RETRY_AFTER_MS = 100;

/**
 * One request and its answer, from its admission to its last byte: started, perhaps held, sent in
 * one attempt or a second, answered or refused, and recorded. A class, because ten thousand may be
 * open: its methods stand once, on the prototype.
 */
export class Exchange implements Live, Waiter, AttemptOwner, KeyTrier, TapOwner, ExchangeEnd {
  readonly websocket = false;
  eventStream = false;
  overheadMs = -1;
  firstByteMs = -1;
  responseBytes = 0;
  model = '';
  usage: Usage | undefined;
  usageFault: UsageFault | undefined;
  unsaid = false;
  firstChunkMs = -1;
  lastChunkMs = -1;
  chunks = 0;
  upstreamMs = -1;
  callId = '';
  providerId = '';
  readonly traceId: string;
  abortReason: string | undefined;
  outcome: Outcome = 'answered';
  refusal: RefusalCode | undefined;
  readonly #context: ExchangeContext;
  readonly #admitted: ExchangeRequest;
  readonly #unregister: () => void;
  /** Where the request was sent; undefined: it waits, and may go to whichever is active then. */
  #upstream: Upstream | undefined;
  #attempt: Attempt | undefined;
  /** A reused connection died under it, and the request had its second try for that. */
  #retried = false;
  /** The one of two live keys that LiteLLM did not take for this request. */
  #refusedKey: UpstreamKey | undefined;
  #waitsIn: Hold | undefined;
  #holdDeadline: number | undefined;
  /** The client is told this once undici has let go of the request. */
  #verdict: Refusal | undefined;
  #closed = false;
  /** Undefined: the answer says no usage. */
  #tap: Tap | undefined;
  /** The answer came from LiteLLM to its end. */
  #answered = false;

  constructor(context: ExchangeContext, admitted: ExchangeRequest) {
    this.#context = context;
    this.#admitted = admitted;
    this.traceId = admitted.traceId;
    this.#unregister = context.exchanges.add(this);
    whenClosed(admitted.request, admitted.response, () => this.#onClose());
  }

  get generation(): string {
    return this.#admitted.caller.generation;
  }

  get client(): string {
    return this.#admitted.caller.client;
  }

  get slot(): string {
    return this.#upstream?.name ?? '';
  }

  /** Sends the request, or lets it wait where LiteLLM is known to be away. */
  start(): void {
    if (this.#isDecided) return;
    if (this.overheadMs < 0) this.overheadMs = this.#context.elapsed() - this.#admitted.startedAt;
    const upstream = this.#context.upstreams.pick(this.#admitted.session);
    if (upstream.hold.away()) this.#waitFor(upstream);
    else this.#send(upstream, false);
  }

  /** The client left, or what it will be told is known: nothing more is sent. */
  get #isDecided(): boolean {
    return this.#closed || this.#verdict !== undefined;
  }

  #waitFor(upstream: Upstream): void {
    this.#upstream = undefined;
    this.#waitsIn = upstream.hold;
    const deadline = upstream.hold.enter(this, this.#holdDeadline);
    if (deadline === false) this.#refuse(refusals.tooManyWait(), true);
    else this.#holdDeadline = deadline;
  }

  release(): void {
    this.start();
  }

  expire(): void {
    this.#refuse(refusals.away(), true);
  }

  crowdOut(): void {
    this.#refuse(refusals.tooManyWait(), true);
  }

  /** @param fresh on a connection that was never used: a second try */
  #send(upstream: Upstream, fresh: boolean): void {
    const { method, headers, decision, upload } = this.#admitted;
    const body = upload?.open() ?? null;
    // Opening the body looks at what is there, and may have found that it is refused.
    if (this.#verdict !== undefined) return;
    this.#upstream = upstream;
    const { connections } = upstream;
    const owner = this.#prepare(upstream);
    this.#attempt = new Attempt(owner, { connections, fresh, clock: this.#context.watched });
    this.#attempt.send({ method, path: decision.target, headers, body });
  }

  /**
   * Prepares the request for this LiteLLM: fills in Host and key, only now that they are sent,
   * because traffic may have been switched while the request waited.
   *
   * @returns who hears the answer: this exchange, or a listener before it that learns from it
   */
  #prepare(upstream: Upstream): AttemptOwner {
    const { method, headers, session, decision } = this.#admitted;
    const { route, target, keepAuthorization, models } = decision;
    const { keys, rules } = upstream;
    let listener: AttemptOwner = this;
    if (route.mcp) {
      const { sessions } = this.#context.upstreams;
      listener = new McpAnswer(listener, sessions, upstream, { method, target, session });
    }
    if (models?.isList === true) listener = new ModelListAnswer(this, models.mayUse);
    const key = keys.pick(this.#refusedKey);
    addressTo(headers, rules.host, key.field(route.keyPlace, keepAuthorization));
    if (keys.other === undefined) return listener;
    const [last, proves] = [this.#refusedKey !== undefined, provesKey(method, route)];
    return new KeyTry(listener, { trier: this, keys, key, last, proves });
  }

  onKeyRefused(refused: UpstreamKey): void {
    this.#attempt?.cancel(new Error('the key was refused'));
    this.#attempt = undefined;
    this.#refusedKey = refused;
    if (this.#admitted.upload?.replayable ?? true) {
      this.#context.events.onRetry('other_key');
      // One turn later undici has let go of the connection and of the body.
      soon(() => this.start());
    } else {
      this.#refuse(refusals.keyChanges());
    }
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    if (this.#closed) return;
    const { response, upload, caller, decision, startedAt, reader, method, lease } = this.#admitted;
    tellFirstAnswer(this.#context.events, status, decision.generation, caller);
    upload?.release();
    const head = answerHeaders(raw, (this.#upstream as Upstream).rules, caller.id);
    this.model = head.model;
    this.eventStream = head.eventStream;
    this.callId = head.callId;
    this.providerId = head.providerId;
    this.upstreamMs = head.upstreamMs;
    if (isSuccess(status)) this.#tap = createTap(saysUsage(decision.route, method), head);
    this.#context.cors.narrow(head.headers, reader);
    lease?.stamp(head.headers, decision.route.dialect, reader);
    writeAnswerHead(response, status, statusText, head.headers);
    this.firstByteMs = this.#context.elapsed() - startedAt;
    // What came in the same packet goes in the same write; a head that came alone goes alone.
    soon(() => {
      if (this.responseBytes === 0 && !response.writableEnded) response.flushHeaders();
    });
  }

  onAnswerData(chunk: Buffer): boolean {
    this.responseBytes += chunk.length;
    const { response, startedAt } = this.#admitted;
    const isTaken = this.#closed || response.write(chunk);
    if (!isTaken) response.once('drain', () => this.#attempt?.resume());
    // Behind the write: the client does not wait for what is read beside it.
    if (this.#tap?.read(chunk) === true) {
      this.lastChunkMs = this.#context.elapsed() - startedAt;
      if (this.firstChunkMs < 0) this.firstChunkMs = this.lastChunkMs;
    }
    return isTaken;
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    const { response, request } = this.#admitted;
    this.#attempt = undefined;
    this.#answered = true;
    if (rawTrailers.length > 0) response.addTrailers(answerTrailers(rawTrailers));
    response.end();
    // LiteLLM answered before it had the whole body; the client may still be sending the rest.
    if (!request.complete) discardOrClose(request);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    const { request, response } = this.#admitted;
    this.#attempt = undefined;
    if (this.#closed) return;
    if (!response.headersSent) {
      if (this.#verdict === undefined) this.#onFailure(attempt, error);
      else this.#refuse(this.#verdict);
    } else if (this.#verdict !== undefined) {
      this.cut();
    } else {
      this.#context.events.onUpstreamError('aborted');
      this.outcome = 'upstream_aborted';
      this.abortReason = reasonOf(error);
      breakOff(request, response);
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
    return this.#admitted.upload?.replayable ?? true;
  }

  /** Tries once more, at the LiteLLM of the try before unless that LiteLLM is gone. */
  #sendAgain(upstream: Upstream): void {
    if (this.#isDecided) return;
    if (this.#context.upstreams.mayStay(upstream)) this.#send(upstream, true);
    else this.start();
  }

  tick(now: number): void {
    if (this.firstByteMs >= 0) return;
    const reason = overdue(now, this.#attempt, this.#admitted.upload, this.#context);
    if (reason === undefined) return;
    if (reason.code === 'upstream_timeout') this.#context.events.onUpstreamError('timeout');
    this.abandon(reason);
  }

  /** Gives up on LiteLLM; the client is told when undici has let go. */
  abandon(reason: Refusal): void {
    if (this.#isDecided) return;
    this.#verdict = reason;
    const attempt = this.#attempt;
    if (attempt?.cancel(new Error(reason.code)) !== true) this.#refuse(reason, !attempt);
  }

  /** A request that is under way is finished; the deadline is the caller's. */
  drain(): void {}

  cut(): void {
    if (this.#closed) return;
    this.outcome = 'cut';
    breakOff(this.#admitted.request, this.#admitted.response);
    // At once, and not when the socket is closed: until then the request could still be sent, and
    // an answer that waits behind another's (RFC 9112 §9.3.2) has no socket at all.
    this.#onClose();
  }

  /** @param unsent whether LiteLLM never had the request: then it has no `overheadMs` */
  #refuse(reason: Refusal, unsent = false): void {
    const { request, response, decision, caller, reader, upload } = this.#admitted;
    if (this.#closed || response.headersSent) return;
    if (unsent) this.overheadMs = -1;
    this.refusal = reason.code;
    if (reason.cause !== undefined) this.abortReason = reasonOf(reason.cause);
    const whole = upload?.isHere ?? request.complete;
    const context = { dialect: decision.route.dialect, requestId: caller.id, reader, whole };
    refuseRequest(request, response, reason, { ...context, close: false });
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { response, upload, startedAt, decision, method } = this.#admitted;
    const durationMs = this.#context.elapsed() - startedAt;
    upload?.release();
    if (!response.writableFinished && this.outcome === 'answered') {
      this.outcome = 'client_aborted';
    }
    // LiteLLM has it, and may have used some by now.
    const isUnanswered = !response.headersSent && (this.#attempt?.sentAt ?? -1) >= 0;
    const says = saysUsage(decision.route, method);
    if (isUnanswered && says === 'always') this.usageFault = 'cut';
    const { refusal } = this;
    this.unsaid = usesUntold(says, { isUnanswered, refusal, status: this.#status });
    // Tokens cost money, and nobody reads them any more.
    this.#attempt?.cancel(new Error('the client left'));
    this.#waitsIn?.leave(this);
    if (this.#tap === undefined) this.#finish(durationMs);
    else this.#tap.end(this.#answered, this, () => this.#finish(durationMs));
  }

  get #status(): number {
    const { headersSent, statusCode } = this.#admitted.response;
    return headersSent ? statusCode : 0;
  }

  #finish(durationMs: number): void {
    const { upload, caller, lease } = this.#admitted;
    this.#unregister();
    const requestBytes = upload?.bytes ?? 0;
    const seen = { status: this.#status, durationMs, requestBytes };
    this.#context.events.onExchangeEnd(recordOf(caller, this, seen));
    lease?.end(this, requestBytes);
  }
}
