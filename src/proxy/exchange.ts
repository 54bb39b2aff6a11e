import type { Refusal, RefusalCode } from '../refusal.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import { whenClosed } from './closing.ts';
import type { ExchangeContext, ExchangeRequest } from './exchange-context.ts';
import type { ExchangeRecord, Outcome } from './exchange-record.ts';
import * as refusals from './exchange-refusals.ts';
import type { Live } from './exchanges.ts';
import { answerHeaders, answerTrailers } from './headers.ts';
import type { Waiter } from './hold.ts';
import { tellFirstAnswer } from './key-use.ts';
import { discardRest } from './linger.ts';
import { refuseRequest } from './refuse.ts';
import { readFailure } from './upstream-error.ts';

/**
 * One request and its answer, from its admission to its last byte. A class, because ten thousand
 * may be open: its methods stand once, on the prototype.
 */
export class Exchange implements Live, Waiter, AttemptOwner {
  readonly websocket = false;
  eventStream = false;
  readonly #context: ExchangeContext;
  readonly #it: ExchangeRequest;
  readonly #unregister: () => void;
  #attempt: Attempt | undefined;
  #retried = false;
  #holdDeadline: number | undefined;
  /** Milliseconds from the head of the request; -1: not reached. */
  #overheadMs = -1;
  #firstByteMs = -1;
  #responseBytes = 0;
  #model = '';
  #outcome: Outcome = 'answered';
  #refusal: RefusalCode | undefined;
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

  /** Sends it, or lets it wait where LiteLLM is known to be away. */
  start(): void {
    if (this.#closed) return;
    // Neither a wait for LiteLLM nor a second try is the sidecar's own share.
    if (this.#overheadMs < 0) this.#overheadMs = this.#context.elapsed() - this.#it.startedAt;
    if (this.#context.hold.away()) this.#wait();
    else this.#send(false);
  }

  release(): void {
    this.start();
  }

  expire(): void {
    this.#refuseUnsent(refusals.away());
  }

  tick(now: number): void {
    const { answerTimeoutMs, uploadIdleMs } = this.#context;
    const { upload } = this.#it;
    const sentAt = this.#attempt?.sentAt ?? -1;
    if (this.#firstByteMs >= 0) return;
    if (uploadIdleMs > 0 && upload?.waitsForClient && now - upload.lastAt > uploadIdleMs) {
      this.abandon(refusals.uploadStalled());
    } else if (answerTimeoutMs > 0 && sentAt >= 0) {
      if (now - Math.max(sentAt, upload?.lastAt ?? 0) <= answerTimeoutMs) return;
      this.#context.events.onUpstreamError('timeout');
      this.abandon(refusals.answerLate());
    }
  }

  /** What is under way is finished; the deadline is the caller's. */
  drain(): void {}

  cut(): void {
    if (this.#closed) return;
    this.#outcome = 'cut';
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

  #wait(): void {
    const deadline = this.#context.hold.enter(this, this.#holdDeadline);
    if (deadline === false) this.#refuseUnsent(refusals.tooManyWait());
    else this.#holdDeadline = deadline;
  }

  #send(fresh: boolean): void {
    const { method, headers, decision, upload } = this.#it;
    const { connections, elapsed } = this.#context;
    const body = upload?.open() ?? null;
    // Reading the body may have shown that it is too large.
    if (this.#verdict !== undefined) return;
    this.#attempt = new Attempt(this, { connections, fresh, elapsed });
    this.#attempt.send({ method, path: decision.target, headers, body });
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    if (this.#closed) return;
    const { response, upload, caller, decision, startedAt } = this.#it;
    tellFirstAnswer(this.#context.events, status, decision.generation, caller);
    upload?.release();
    const head = answerHeaders(raw, this.#context.rules, caller.id);
    this.#model = head.model;
    this.eventStream = head.eventStream;
    response.writeHead(status, statusText, head.headers);
    this.#firstByteMs = this.#context.elapsed() - startedAt;
    // What came in the same packet goes in the same write; a head that came alone goes alone.
    queueMicrotask(() => {
      if (this.#responseBytes === 0 && !response.writableEnded) response.flushHeaders();
    });
  }

  onAnswerData(chunk: Buffer): boolean {
    this.#responseBytes += chunk.length;
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
    if (request.complete) return;
    // LiteLLM answered before it had the whole body; the client may still be sending it.
    discardRest(request, (ended) => {
      if (!ended) request.socket.destroySoon();
    });
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
      this.#outcome = 'upstream_aborted';
      this.#it.response.destroy();
    }
  }

  /** The attempt failed before a byte of its answer came. */
  #onFailure(attempt: Attempt, error: Error): void {
    const { events, hold } = this.#context;
    const failure = readFailure(error, attempt.sentAt >= 0);
    if (failure.kind === 'stale') {
      this.#send(true);
    } else if (failure.kind === 'unsendable') {
      this.#refuse(refusals.unsendable(error));
    } else if (failure.kind === 'away') {
      events.onUpstreamError('connect');
      hold.markAway();
      this.#wait();
    } else {
      events.onUpstreamError(failure.error);
      if (failure.error !== 'reset' || !this.#mayRetry(attempt)) {
        this.#refuse(refusals.brokeOff(error));
        return;
      }
      this.#retried = true;
      events.onRetry('reused_connection');
      this.#send(true);
    }
  }

  #mayRetry(attempt: Attempt): boolean {
    if (this.#retried || !attempt.mayHaveBeenDead()) return false;
    return this.#it.upload?.replayable ?? true;
  }

  #refuseUnsent(no: Refusal): void {
    this.#overheadMs = -1;
    this.#refuse(no);
  }

  #refuse(no: Refusal): void {
    if (this.#closed || this.#it.response.headersSent) return;
    const { request, response, decision, caller, origin } = this.#it;
    this.#refusal = no.code;
    const { dialect } = decision.route;
    const context = { dialect, requestId: caller.id, origin, close: false };
    refuseRequest(request, response, no, { ...context, whole: request.complete });
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { response, upload } = this.#it;
    upload?.release();
    if (!response.writableFinished && this.#outcome === 'answered') {
      this.#outcome = 'client_aborted';
    }
    // Tokens cost money, and nobody reads them any more.
    this.#attempt?.cancel(new Error('the client left'));
    this.#context.hold.leave(this);
    this.#unregister();
    this.#context.events.onExchangeEnd(this.#record());
  }

  #record(): ExchangeRecord {
    const { caller, response, upload, startedAt } = this.#it;
    // Named one by one: a spread here costs more than all the rest of the record.
    return {
      id: caller.id,
      client: caller.client,
      generation: caller.generation,
      method: caller.method,
      group: caller.group,
      template: caller.template,
      address: caller.address,
      userAgent: caller.userAgent,
      status: response.headersSent ? response.statusCode : 0,
      refusal: this.#refusal,
      outcome: this.#outcome,
      websocket: false,
      model: this.#model,
      durationMs: this.#context.elapsed() - startedAt,
      firstByteMs: this.#firstByteMs,
      overheadMs: this.#overheadMs,
      requestBytes: upload?.bytes ?? 0,
      responseBytes: this.#responseBytes,
    };
  }
}
