import type { KnownKey } from '../keyring/snapshot.ts';
import { type Refusal, type RefusalCode, statusOf } from '../refusal.ts';
import type { CallerRecord, ExchangeRecord, Outcome, TrafficEvents } from './exchange-record.ts';
import * as refusals from './exchange-refusals.ts';
import type { Exchanges, Live } from './exchanges.ts';
import type { Hold, Waiter } from './hold.ts';
import { tellFirstAnswer } from './key-use.ts';
import { type RefusalContext, refuseSocket } from './refuse.ts';
import { readFailure } from './upstream-error.ts';
import type { AskUpgrade, UpgradeAttempt, UpgradeRequest } from './websocket-upstream.ts';

/** What all tunnels share. */
export interface TunnelContext {
  readonly askUpgrade: AskUpgrade;
  readonly hold: Hold;
  readonly exchanges: Exchanges;
  readonly events: TrafficEvents;
  readonly elapsed: () => number;
}

/** One admitted upgrade. */
export interface TunnelRequest extends UpgradeRequest {
  readonly refusal: RefusalContext;
  /** Undefined: no upgrade is a preflight, but the type of a decision does not say so. */
  readonly key: KnownKey | undefined;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}

/** One WebSocket from its admission to the end of both sockets. */
export class Tunnel implements Live, Waiter {
  readonly websocket = true;
  readonly eventStream = false;
  readonly #context: TunnelContext;
  readonly #it: TunnelRequest;
  readonly #unregister: () => void;
  #attempt: UpgradeAttempt | undefined;
  #sent = false;
  #holdDeadline: number | undefined;
  #status = 0;
  #firstByteMs = -1;
  #overheadMs = -1;
  #outcome: Outcome = 'answered';
  #refusal: RefusalCode | undefined;
  #draining = false;

  constructor(context: TunnelContext, it: TunnelRequest) {
    this.#context = context;
    this.#it = it;
    this.#unregister = context.exchanges.add(this);
    it.socket.on('error', () => it.socket.destroy());
    // A socket of Node's server stays half open: before there is an answer, its end is its leaving.
    it.socket.once('end', () => {
      if (this.#status === 0) it.socket.destroy();
    });
    it.socket.once('close', () => this.#onClose());
  }

  get generation(): string {
    return this.#it.caller.generation;
  }

  /** Asks LiteLLM, or waits where it is known to be away. */
  start(): void {
    if (this.#it.socket.destroyed) return;
    // Neither a wait for LiteLLM nor a second try is the sidecar's own share.
    if (this.#overheadMs < 0) this.#overheadMs = this.#context.elapsed() - this.#it.startedAt;
    if (this.#context.hold.away()) this.#wait();
    else this.#ask();
  }

  release(): void {
    this.start();
  }

  expire(): void {
    this.#refuseUnsent(refusals.away());
  }

  tick(): void {
    // A WebSocket has no limit on time: either side may be silent for as long as it likes.
  }

  drain(): void {
    this.#draining = true;
    if (this.#attempt?.gate.isOpen) this.#attempt.gate.goAway();
  }

  cut(): void {
    this.#outcome = 'cut';
    this.#it.socket.destroy();
  }

  #wait(): void {
    const deadline = this.#context.hold.enter(this, this.#holdDeadline);
    if (deadline === false) this.#refuseUnsent(refusals.tooManyWait());
    else this.#holdDeadline = deadline;
    // That the client left is heard only while its socket is read; before the 101 it says nothing.
    this.#it.socket.resume();
  }

  #ask(): void {
    const { elapsed, events } = this.#context;
    this.#sent = false;
    this.#attempt = this.#context.askUpgrade(this.#it, {
      onSent: () => {
        this.#sent = true;
      },
      onAnswer: (status) => {
        this.#status = status;
        this.#firstByteMs = elapsed() - this.#it.startedAt;
        tellFirstAnswer(events, status, this.#it.key, this.#it.caller);
        if (this.#draining) this.drain();
      },
      onError: (error) => this.#onError(error),
    });
  }

  #onError(error: Error): void {
    const { socket } = this.#it;
    const { events, hold } = this.#context;
    if (socket.destroyed || this.#outcome !== 'answered') return;
    if (this.#status !== 0) {
      events.onUpstreamError('aborted');
      this.#outcome = 'upstream_aborted';
      socket.destroySoon();
      return;
    }
    this.#attempt?.gate.release();
    const failure = readFailure(error, this.#sent);
    if (failure.kind === 'died') {
      events.onUpstreamError(failure.error);
      this.#refuse(refusals.brokeOff(error));
    } else {
      events.onUpstreamError('connect');
      hold.markAway();
      this.#wait();
    }
  }

  #refuseUnsent(no: Refusal): void {
    this.#overheadMs = -1;
    this.#refuse(no);
  }

  #refuse(no: Refusal): void {
    const { socket, refusal } = this.#it;
    this.#refusal = no.code;
    this.#status = statusOf(no.code);
    refuseSocket(socket, no, refusal);
    socket.resume();
  }

  #onClose(): void {
    this.#attempt?.abort();
    this.#context.hold.leave(this);
    this.#unregister();
    this.#context.events.onExchangeEnd(this.#record());
  }

  #record(): ExchangeRecord {
    const { caller, startedAt } = this.#it;
    const leftUnanswered = this.#status === 0 && this.#outcome === 'answered';
    return {
      ...caller,
      status: this.#status,
      refusal: this.#refusal,
      outcome: leftUnanswered ? 'client_aborted' : this.#outcome,
      websocket: true,
      model: '',
      durationMs: this.#context.elapsed() - startedAt,
      firstByteMs: this.#firstByteMs,
      overheadMs: this.#overheadMs,
      requestBytes: this.#attempt?.gate.bytesUp ?? 0,
      responseBytes: this.#attempt?.gate.bytesDown ?? 0,
    };
  }
}
