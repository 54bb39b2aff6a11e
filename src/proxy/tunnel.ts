import type { KnownKey } from '../keyring/snapshot.ts';
import type { Route } from '../litellm/routes-table.ts';
import type { Usage, UsageFault } from '../litellm/usage.ts';
import { type Refusal, type RefusalCode, statusOf } from '../refusal.ts';
import { soon } from '../turns.ts';
import { readFailure } from './attempt.ts';
import type { ExchangeContext } from './exchange.ts';
import type { Live } from './exchanges.ts';
import { addressTo } from './headers.ts';
import type { Hold, Waiter } from './hold.ts';
import type { Lease } from './limits.ts';
import {
  type CallerRecord,
  type ExchangeEnd,
  type Outcome,
  reasonOf,
  recordOf,
  tellFirstAnswer,
} from './record.ts';
import { type RefusalContext, refusals, refuseSocket } from './refuse.ts';
import type { UpstreamKey } from './upstream-keys.ts';
import type { Upstream } from './upstreams.ts';
import type { UpgradeAttempt, UpgradeRequest } from './websocket.ts';

/** What all tunnels share. */
type TunnelContext = Pick<ExchangeContext, 'upstreams' | 'exchanges' | 'events' | 'elapsed'>;

/** One admitted upgrade. */
interface TunnelRequest extends UpgradeRequest {
  /** Host and key are filled in only when the request is sent, as those of an exchange are. */
  readonly headers: string[];
  readonly traceId: string;
  readonly refusal: RefusalContext;
  readonly key: KnownKey;
  readonly route: Route;
  readonly keepAuthorization: boolean;
  readonly caller: CallerRecord;
  /** When the request's head was there, on the monotonic clock. */
  readonly startedAt: number;
  /** What it holds of its client's limits; undefined: the client has none. */
  readonly lease: Lease | undefined;
}

/** One WebSocket from its admission to the end of both sockets. */
export class Tunnel implements Live, Waiter, ExchangeEnd {
  readonly websocket = true;
  readonly eventStream = false;
  readonly model = '';
  usage: Usage | undefined;
  usageFault: UsageFault | undefined;
  unsaid = false;
  firstChunkMs = -1;
  lastChunkMs = -1;
  chunks = 0;
  upstreamMs = -1;
  callId = '';
  readonly providerId = '';
  readonly traceId: string;
  abortReason: string | undefined;
  firstByteMs = -1;
  overheadMs = -1;
  outcome: Outcome = 'answered';
  refusal: RefusalCode | undefined;
  readonly #context: TunnelContext;
  readonly #admitted: TunnelRequest;
  readonly #unregister: () => void;
  /** Which LiteLLM is asked; undefined: the tunnel waits, and may go to any that is active then. */
  #upstream: Upstream | undefined;
  #attempt: UpgradeAttempt | undefined;
  /** The connection to LiteLLM stood: the request was sent. */
  #sent = false;
  #waitsIn: Hold | undefined;
  #holdDeadline: number | undefined;
  /** The one of two live keys that LiteLLM did not take. */
  #refusedKey: UpstreamKey | undefined;
  /** What the client was answered; 0: nothing yet. */
  #status = 0;
  /** Why the tunnel shall end; undefined: it need not. */
  #goodbye: string | undefined;

  constructor(context: TunnelContext, admitted: TunnelRequest) {
    this.#context = context;
    this.#admitted = admitted;
    this.traceId = admitted.traceId;
    this.#unregister = context.exchanges.add(this);
    admitted.socket.on('error', () => admitted.socket.destroy());
    // A socket of Node's server stays half open: before an answer, its end means the client left.
    admitted.socket.once('end', () => {
      if (this.#status === 0) admitted.socket.destroy();
    });
    admitted.socket.once('close', () => this.#onClose());
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

  get responseBytes(): number {
    return this.#attempt?.gate.bytesDown ?? 0;
  }

  /** Asks LiteLLM, or waits where it is known to be away. */
  start(): void {
    if (this.#admitted.socket.destroyed) return;
    if (this.overheadMs < 0) this.overheadMs = this.#context.elapsed() - this.#admitted.startedAt;
    const { active } = this.#context.upstreams;
    if (active.hold.away()) this.#waitFor(active);
    else this.#ask(active);
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

  tick(): void {
    // A WebSocket has no limit on time: either side may be silent for as long as it likes.
  }

  drain(why: string): void {
    this.#goodbye = why;
    if (this.#attempt?.gate.isOpen) this.#attempt.gate.goAway(why);
  }

  cut(): void {
    this.outcome = 'cut';
    if (this.#endsByClose) this.#admitted.socket.resetAndDestroy();
    else this.#admitted.socket.destroy();
  }

  /** Whether LiteLLM's refusal is under way to a client that would take a FIN for its end. */
  get #endsByClose(): boolean {
    const { request } = this.#admitted;
    return request.httpVersionMinor === 0 && this.#status !== 0 && this.#status !== 101;
  }

  #waitFor(upstream: Upstream): void {
    this.#upstream = undefined;
    this.#waitsIn = upstream.hold;
    const deadline = upstream.hold.enter(this, this.#holdDeadline);
    if (deadline === false) this.#refuse(refusals.tooManyWait(), true);
    else this.#holdDeadline = deadline;
    // That the client left is heard only while its socket is read; it sends nothing before the 101.
    this.#admitted.socket.resume();
  }

  #ask(upstream: Upstream): void {
    const { headers, route, keepAuthorization } = this.#admitted;
    this.#upstream = upstream;
    this.#sent = false;
    const upstreamKey = upstream.keys.pick(this.#refusedKey);
    addressTo(headers, upstream.rules.host, upstreamKey.field(route.keyPlace, keepAuthorization));
    this.#attempt = upstream.askUpgrade(this.#admitted, {
      onSent: () => {
        this.#sent = true;
      },
      onAnswer: (status) => this.#onAnswer(upstream, upstreamKey, status),
      onError: (error) => this.#onError(upstream, error),
    });
  }

  #onAnswer(upstream: Upstream, upstreamKey: UpstreamKey, status: number): boolean {
    const { elapsed, events } = this.#context;
    // LiteLLM refuses a wrong key before it accepts, with no other word than a 403.
    const isLastKey = upstream.keys.other === undefined || this.#refusedKey !== undefined;
    if (status === 403 && !isLastKey) {
      this.#refusedKey = upstreamKey;
      events.onRetry('other_key');
      soon(() => this.start());
      return false;
    }
    if (status === 101) upstream.keys.noteAccepted(upstreamKey);
    this.#status = status;
    this.firstByteMs = elapsed() - this.#admitted.startedAt;
    tellFirstAnswer(events, status, this.#admitted.key, this.#admitted.caller);
    if (this.#goodbye !== undefined) this.drain(this.#goodbye);
    return true;
  }

  #onError(upstream: Upstream, error: Error): void {
    const { socket } = this.#admitted;
    const { events } = this.#context;
    if (socket.destroyed || this.outcome !== 'answered') return;
    if (this.#status !== 0) {
      events.onUpstreamError('aborted');
      this.outcome = 'upstream_aborted';
      this.abortReason = reasonOf(error);
      if (this.#endsByClose) socket.resetAndDestroy();
      else socket.destroySoon();
      return;
    }
    this.#attempt?.gate.release();
    const failure = readFailure(error, this.#sent);
    if (failure.kind === 'died') {
      events.onUpstreamError(failure.error);
      this.#refuse(refusals.brokeOff(error));
    } else {
      events.onUpstreamError('connect');
      upstream.hold.markAway();
      this.start();
    }
  }

  /** @param unsent whether LiteLLM never had the request: then it has no `overheadMs` */
  #refuse(reason: Refusal, unsent = false): void {
    if (unsent) this.overheadMs = -1;
    const { socket, refusal } = this.#admitted;
    this.refusal = reason.code;
    if (reason.cause !== undefined) this.abortReason = reasonOf(reason.cause);
    this.#status = statusOf(reason.code);
    refuseSocket(socket, reason, refusal);
    socket.resume();
  }

  #onClose(): void {
    const { caller, route, startedAt, lease } = this.#admitted;
    const { events, elapsed } = this.#context;
    this.unsaid = this.#status === 101 && route.saysUsage !== 'never';
    if (this.unsaid) this.usageFault = 'websocket';
    if (this.#status === 0 && this.outcome === 'answered') this.outcome = 'client_aborted';
    const requestBytes = this.#attempt?.gate.bytesUp ?? 0;
    this.#attempt?.abort();
    this.#waitsIn?.leave(this);
    this.#unregister();
    events.onExchangeEnd(
      recordOf(caller, this, {
        status: this.#status,
        durationMs: elapsed() - startedAt,
        requestBytes,
      }),
    );
    lease?.end(this, requestBytes);
  }
}
