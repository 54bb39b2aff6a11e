import type { Refusal, RefusalCode } from '../refusal.ts';
import type { Attempt, AttemptOwner } from './attempt.ts';
import { attemptAt } from './attempt-at.ts';
import { whenClosed } from './closing.ts';
import type { ExchangeContext, ExchangeRequest } from './exchange-context.ts';
import { overdue, recordOfExchange, refuseExchange } from './exchange-ends.ts';
import type { Ended, Outcome } from './exchange-record.ts';
import * as refusals from './exchange-refusals.ts';
import type { Live } from './exchanges.ts';
import { answerHeaders, answerTrailers } from './headers.ts';
import type { Hold, Waiter } from './hold.ts';
import type { KeyTrier } from './key-try.ts';
import { tellFirstAnswer } from './key-use.ts';
import { discardOrClose } from './linger.ts';
import type { UpstreamKey } from './live-keys.ts';
import type { Upstream } from './upstream.ts';
import { readFailure } from './upstream-error.ts';

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
