import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { type Refusal, type RefusalCode, refusal, statusOf } from '../refusal.ts';
import { type FailureLimiter, type InBlocks, plainAddress } from './address.ts';
import { bodyTooLarge, type Decision, decide, type Policy, UNROUTED } from './decide.ts';
import { Exchange, type ExchangeContext } from './exchange.ts';
import { type Head, hasBody, readHead } from './head.ts';
import { forwardHeaders, type RequestRules } from './headers.ts';
import { SESSION_HEADER, sessionOf } from './mcp-answer.ts';
import {
  answeredHere,
  type CallerRecord,
  callerRecord,
  newRequestId,
  type Peer,
  peerOf,
  requestIdOf,
  type TrafficEvents,
  tellKeyUse,
} from './record.ts';
import * as refusals from './refuse.ts';
import {
  isServedNoMore,
  type RefusalContext,
  refuseRequest,
  refuseSocket,
  serveNoMore,
} from './refuse.ts';
import { Tunnel, type TunnelContext } from './tunnel.ts';
import { isAllHere, Upload, type UploadRules } from './upload.ts';

/**
 * Answers LiteLLM's three open health routes in its stead: nothing gets there without a key. It is
 * alive as long as this process answers; ready when LiteLLM is there too. Returns the status.
 */
export function answerHealth(
  response: ServerResponse,
  caller: CallerRecord,
  ready: boolean,
): number {
  const asksReady = caller.template.endsWith('/readiness');
  const status = asksReady && !ready ? 503 : 200;
  // LiteLLM's own words, for whoever reads the body.
  const body = JSON.stringify(
    asksReady ? { status: ready ? 'healthy' : 'unavailable' } : "I'm alive!",
  );
  const headers = [
    ...['content-type', 'application/json'],
    ...['content-length', String(Buffer.byteLength(body))],
    ...['cache-control', 'no-store'],
    ...['x-request-id', caller.id],
  ];
  if (status === 503) headers.push('retry-after', '5');
  response.writeHead(status, headers);
  response.end(body);
  return status;
}

/** A request that was read and judged, whichever way it goes on. */
export interface Judged {
  readonly head: Head;
  readonly from: Peer;
  readonly decision: Decision;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}

export type Judge = (request: IncomingMessage, websocket: boolean) => Judged;

export function createJudge(options: {
  /** Read once a request: an immutable snapshot. */
  policy: () => Policy;
  isTrustedProxy: InBlocks;
  /** Told of a known key at once: a stream may take ten minutes. */
  events: TrafficEvents;
  elapsed: () => number;
}): Judge {
  return (request, websocket) => {
    const startedAt = options.elapsed();
    const head = readHead(request);
    const from = peerOf(request, head, options.isTrustedProxy);
    const decision = decide(head, { address: from.address, websocket }, options.policy());
    const caller = callerRecord(requestIdOf(head), head, from.address, decision);
    const key = decision.kind === 'health' ? undefined : decision.generation;
    if (key !== undefined) tellKeyUse(options.events, key, caller);
    return { head, from, decision, caller, startedAt };
  };
}

export const refusalContextOf = ({ head, decision, caller }: Judged): RefusalContext => ({
  dialect: decision.route.dialect,
  requestId: caller.id,
  origin: head.origin,
});

/** Refuses a judged request: counts a guess, says the refusal, and records it. */
export type TurnAway = (judged: Judged, no: Refusal, say: (final: Refusal) => void) => void;

/** A key that is wrong may be a guess; a key that is missing is not. */
const GUESSES: ReadonlySet<string> = new Set([
  'malformed_key',
  'unknown_key',
  'expired_key',
  'revoked_key',
]);

const tooManyFailures = (retryAfter: number): Refusal =>
  refusal(
    'too_many_failures',
    'too many failed authentications from this address: check the key, then wait',
    { retryAfter },
  );

export function createTurnAway(options: {
  failures: FailureLimiter;
  events: TrafficEvents;
  elapsed: () => number;
}): TurnAway {
  const finish = (judged: Judged, final: Refusal, say: (final: Refusal) => void): void => {
    say(final);
    const durationMs = options.elapsed() - judged.startedAt;
    options.events.onExchangeEnd(
      answeredHere(judged.caller, {
        status: statusOf(final.code),
        refusal: final.code,
        durationMs,
      }),
    );
  };
  const finishGuess = async (
    judged: Judged,
    no: Refusal,
    say: (final: Refusal) => void,
  ): Promise<void> => {
    const retryAfter = await options.failures.count(judged.from.address);
    finish(judged, retryAfter === undefined ? no : tooManyFailures(retryAfter), say);
  };
  return (judged, no, say) => {
    if (GUESSES.has(no.code)) void finishGuess(judged, no, say);
    // One turn later a body that came with the head is read, and its connection can be kept.
    else queueMicrotask(() => finish(judged, no, say));
  };
}

/**
 * Answers what could not be read as HTTP, where somebody is there to be told, and records it.
 *
 * @param code Node's word for why it could not read on
 */
export function refuseUnreadable(socket: Socket, code: string, events: TrafficEvents): void {
  const no = unreadable(code);
  if (no === undefined) {
    socket.destroy();
    return;
  }
  const requestId = newRequestId();
  const address = plainAddress(socket.remoteAddress ?? '');
  const unread = { method: '-', userAgent: undefined };
  const caller = callerRecord(requestId, unread, address, { kind: 'health', route: UNROUTED });
  refuseSocket(socket, no, { dialect: 'openai', requestId, origin: undefined });
  const status = statusOf(no.code);
  events.onExchangeEnd(answeredHere(caller, { status, refusal: no.code, durationMs: 0 }));
}

/** Undefined: nobody is there to be told. */
function unreadable(code: string): Refusal | undefined {
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
  const codes: Record<string, [RefusalCode, string]> = {
    ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'the head of the request took too long'],
    HPE_HEADER_OVERFLOW: ['headers_too_large', 'the head of the request is too large'],
  };
  const [refused, message] = codes[code] ?? ['bad_request', 'this could not be read as HTTP/1.1'];
  return refusal(refused, message);
}

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
