import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { type Refusal, type RefusalCode, refusal } from '../refusal.ts';
import type { InBlocks } from './address.ts';
import { bodyTooLarge, type Decision, type Policy } from './decide.ts';
import { Exchange } from './exchange.ts';
import type { ExchangeContext } from './exchange-context.ts';
import * as refusals from './exchange-refusals.ts';
import type { FailureLimiter } from './failures.ts';
import { hasBody } from './head.ts';
import { forwardHeaders, type RequestRules } from './headers.ts';
import { answerHealth } from './health.ts';
import { answeredHere, createJudge, type Judged, refusalContextOf } from './judge.ts';
import { isServedNoMore, serveNoMore } from './linger.ts';
import { SESSION_HEADER, sessionOf } from './mcp-answer.ts';
import { refuseRequest, refuseSocket } from './refuse.ts';
import { Tunnel, type TunnelContext } from './tunnel.ts';
import { createTurnAway } from './turn-away.ts';
import { refuseUnreadable } from './unreadable.ts';
import { isAllHere, Upload, type UploadRules } from './upload.ts';

/** Everything the traffic port works with. */
export interface GatewayOptions {
  /** Replaced as a whole when the keyring changes. */
  readonly policy: () => Policy;
  readonly rules: RequestRules;
  readonly exchange: ExchangeContext;
  readonly tunnel: TunnelContext;
  readonly failures: FailureLimiter;
  readonly isTrustedProxy: InBlocks;
  readonly upload: UploadRules;
  /** LiteLLM answers, and we are not about to stop. */
  readonly isReady: () => boolean;
  /** New requests are no longer served. */
  readonly isDraining: () => boolean;
}

/** `Expect`: nothing, `100-continue`, or something nobody serves (RFC 9110 §10.1.1). */
export type Expectation = 'none' | 'continue' | 'unknown';

/** What the traffic server hands over. No verb throws. */
export interface Gateway {
  onRequest(request: IncomingMessage, response: ServerResponse, expect: Expectation): void;
  /** A WebSocket upgrade; `head` is what came behind it. */
  onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  onConnect(request: IncomingMessage, socket: Socket): void;
  /** What came could not be read as HTTP; `code` is Node's. */
  onUnreadable(socket: Socket, code: string): void;
}

type Forward = Extract<Decision, { kind: 'forward' }>;

export function createGateway(options: GatewayOptions): Gateway {
  const { elapsed, events } = options.exchange;
  const judge = createJudge({ ...options, elapsed, events });
  const turnAway = createTurnAway({ failures: options.failures, events, elapsed });

  return {
    onRequest(request, response, expect) {
      if (isServedNoMore(request.socket)) return;
      const judged = judge(request, false);
      const { decision } = judged;
      const no = verdictOf(decision, options.isDraining(), expect);
      if (no !== undefined) {
        const close = ENDS_CONNECTION.has(no.code);
        if (close) serveNoMore(request.socket);
        const context = { ...refusalContextOf(judged), close };
        turnAway(judged, no, (final) => {
          const whole = isAllHere(request, judged.head.contentLength);
          refuseRequest(request, response, final, { ...context, whole });
        });
      } else if (decision.kind === 'forward') {
        if (expect === 'continue') response.writeContinue();
        forward(judged, decision, { request, response }, options);
      } else {
        const status = answerHealth(response, judged.caller, options.isReady());
        const durationMs = elapsed() - judged.startedAt;
        events.onExchangeEnd(
          answeredHere(judged.caller, { status, refusal: undefined, durationMs }),
        );
      }
    },

    onUpgrade(request, socket, head) {
      const judged = judge(request, true);
      const { decision } = judged;
      const no = verdictOf(decision, options.isDraining(), 'none');
      if (no === undefined && decision.kind === 'forward') {
        if (head.length > 0) socket.unshift(head);
        openTunnel(judged, decision, { request, socket }, options);
      } else {
        const reason = no ?? refusal('bad_request', 'this route is no WebSocket');
        const context = refusalContextOf(judged);
        turnAway(judged, reason, (final) => refuseSocket(socket, final, context));
      }
    },

    onConnect(request, socket) {
      const judged = judge(request, false);
      const no = verdictOf(judged.decision, false, 'none') ?? refusals.unknownExpectation();
      const context = refusalContextOf(judged);
      turnAway(judged, no, (final) => refuseSocket(socket, final, context));
    },

    onUnreadable: (socket, code) => refuseUnreadable(socket, code, events),
  };
}

/** After these nobody can be sure where the next request begins, or there shall be none. */
const ENDS_CONNECTION: ReadonlySet<RefusalCode> = new Set([
  'bad_request',
  'headers_too_large',
  'draining',
]);

/** Why a request is not forwarded; undefined: it is, or it is answered here. */
function verdictOf(
  decision: Decision,
  isDraining: boolean,
  expect: Expectation,
): Refusal | undefined {
  if (decision.kind === 'health') return undefined;
  if (decision.kind === 'refuse') return decision.refusal;
  if (isDraining) return refusals.draining();
  return expect === 'unknown' ? refusals.unknownExpectation() : undefined;
}

function headersFor(judged: Judged, decision: Forward, options: GatewayOptions): string[] {
  const { generation, keepAuthorization } = decision;
  return forwardHeaders(judged.head, options.rules, {
    requestId: judged.caller.id,
    peer: judged.from.peer,
    peerTrusted: judged.from.trusted,
    carriesKey: generation !== undefined,
    keepAuthorization,
  });
}

function mcpSession({ names, values }: Judged['head'], { route, target }: Forward) {
  if (!route.mcp) return undefined;
  const at = names.indexOf(SESSION_HEADER);
  return sessionOf(at < 0 ? undefined : values[at], target);
}

function forward(
  judged: Judged,
  decision: Forward,
  ends: { request: IncomingMessage; response: ServerResponse },
  options: GatewayOptions,
): void {
  const { head, caller, startedAt } = judged;
  const { request, response } = ends;
  const { upload: rules } = options;
  const upload = hasBody(head)
    ? new Upload(request, head.contentLength, rules, {
        startedAt,
        tooLarge: () => exchange.abandon(bodyTooLarge(rules.limit)),
      })
    : undefined;
  const exchange: Exchange = new Exchange(options.exchange, {
    request,
    response,
    decision,
    method: head.method as Dispatcher.HttpMethod,
    headers: headersFor(judged, decision, options),
    session: mcpSession(head, decision),
    upload,
    origin: head.origin,
    caller,
    startedAt,
  });
  // A body that came in the same packet as the head is there when this turn of the parser ends.
  if (upload === undefined) exchange.start();
  else queueMicrotask(() => exchange.start());
}

function openTunnel(
  judged: Judged,
  decision: Forward,
  ends: { request: IncomingMessage; socket: Socket },
  options: GatewayOptions,
): void {
  const tunnel = new Tunnel(options.tunnel, {
    ...ends,
    target: decision.target,
    headers: headersFor(judged, decision, options),
    refusal: refusalContextOf(judged),
    key: decision.generation,
    keyPlace: decision.route.keyPlace,
    keepAuthorization: decision.keepAuthorization,
    caller: judged.caller,
    startedAt: judged.startedAt,
  });
  tunnel.start();
}
