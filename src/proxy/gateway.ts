import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { isRefusal, type Refusal, type RefusalCode, refusal, statusOf } from '../refusal.ts';
import { soon } from '../turns.ts';
import { type InBlocks, type Peer, peerOf, plainAddress } from './address.ts';
import { isServedNoMore, serveNoMore } from './client-connection.ts';
import { preflightFields } from './cors.ts';
import { bodyTooLarge, type Decision, decide, type Policy, UNROUTED } from './decide.ts';
import { Exchange, type ExchangeContext } from './exchange.ts';
import type { FailureLimiter } from './failure-limiter.ts';
import { type Head, hasBody, readHead } from './head.ts';
import { forwardHeaders, type RequestRules } from './headers.ts';
import type { Lease, Limiter } from './limits.ts';
import { SESSION_HEADER, sessionOf } from './mcp-sessions.ts';
import {
  type CallerRecord,
  callerRecord,
  newRequestId,
  reasonOf,
  recordOfOwnAnswer,
  requestIdOf,
  tellKeyUse,
} from './record.ts';
import { type RefusalContext, refusals, refuseRequest, refuseSocket } from './refuse.ts';
import { clientTraceId, type Trace, traceOf } from './trace.ts';
import { Tunnel } from './tunnel.ts';
import { isAllHere, Upload, type UploadRules } from './upload.ts';

/** Everything the traffic port works with. */
interface GatewayOptions {
  /** Read once for each request: an immutable snapshot, replaced when the keyring changes. */
  readonly policy: () => Policy;
  readonly rules: RequestRules;
  /** For exchanges and tunnels. */
  readonly exchange: ExchangeContext;
  readonly failures: FailureLimiter;
  readonly limits: Limiter;
  readonly isTrustedProxy: InBlocks;
  readonly noteUnbelieved: (head: Head, from: Peer) => void;
  readonly upload: UploadRules;
  /** A request without a trace gets a new one. */
  readonly beginsTraces: boolean;
  /** LiteLLM answers, and the sidecar is not about to stop. */
  readonly isReady: () => boolean;
  /** New requests are no longer served. */
  readonly isDraining: () => boolean;
}

/** `Expect`: nothing, `100-continue`, or something nobody serves (RFC 9110 §10.1.1). */
type Expectation = 'none' | 'continue' | 'unknown';

/** Where sockets meet decisions: what the traffic server hands over. No verb throws. */
export type Gateway = ReturnType<typeof createGateway>;

export function createGateway(options: GatewayOptions) {
  return {
    onRequest(request: IncomingMessage, response: ServerResponse, expect: Expectation): void {
      if (isServedNoMore(request.socket)) return;
      const judged = judge(request, false, options);
      const { decision } = judged;
      const reason = reasonToRefuse(judged, expect, options);
      if (reason !== undefined) {
        refuseJudged(judged, reason, { request, response }, options);
      } else if (decision.kind === 'forward') {
        if (expect === 'continue') response.writeContinue();
        forward(judged, decision, { request, response }, options);
      } else if (decision.kind === 'preflight') {
        answerPreflight(judged, response, options);
      } else {
        answerHealth(judged, response, options);
      }
    },

    /** A WebSocket upgrade; `head` is what came behind its head. */
    onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
      const judged = judge(request, true, options);
      const { decision } = judged;
      const reason = reasonToRefuse(judged, 'none', options);
      if (reason === undefined && decision.kind === 'forward') {
        if (head.length > 0) socket.unshift(head);
        openTunnel(judged, decision, { request, socket }, options);
      } else {
        const why = reason ?? refusal('bad_request', 'this route is no WebSocket');
        refuseJudgedSocket(judged, why, socket, options);
      }
    },

    onConnect(request: IncomingMessage, socket: Socket): void {
      const judged = judge(request, false, options);
      const { decision } = judged;
      const reason = decision.kind === 'refuse' ? decision.refusal : refusals.unknownExpectation();
      refuseJudgedSocket(judged, reason, socket, options);
    },

    /** What came could not be read as HTTP; `code` is Node's word for why. */
    onUnreadable: (socket: Socket, code: string) => refuseUnreadable(socket, code, options),
  };
}

/** A request that was read and judged, whichever way it goes on. */
interface Judged {
  readonly head: Head;
  readonly from: Peer;
  readonly decision: Decision;
  readonly caller: CallerRecord;
  /** The origin of a page that may read the answer. */
  readonly reader: string | undefined;
  /** When the request's head was there, on the monotonic clock. */
  readonly startedAt: number;
  /** Whether it may use tokens and money: what only reads, such as a list of models, does not. */
  readonly spends: boolean;
  /** What it holds of its client's limits; undefined: it was not let in, or there are none. */
  lease: Lease | undefined;
}

/** The use of a known key is told now and not at the request's end: a stream may take minutes. */
function judge(request: IncomingMessage, websocket: boolean, options: GatewayOptions): Judged {
  const { elapsed, events, cors } = options.exchange;
  const startedAt = elapsed();
  const head = readHead(request);
  const from = peerOf(request, head, options.isTrustedProxy);
  options.noteUnbelieved(head, from);
  const decision = decide(head, { address: from.address, websocket }, options.policy());
  const caller = callerRecord(requestIdOf(head), head, from.address, decision);
  const key = 'generation' in decision ? decision.generation : undefined;
  if (key !== undefined) tellKeyUse(events, key, caller);
  const spends = websocket || (head.method !== 'GET' && head.method !== 'HEAD');
  const reader = cors.reader(head.origin);
  return { head, from, decision, caller, reader, startedAt, spends, lease: undefined };
}

/**
 * Why a request is not forwarded; undefined: it is, with its lease, or it is answered here. The
 * client's limits are asked last: what is refused before takes nothing of them.
 */
function reasonToRefuse(
  judged: Judged,
  expect: Expectation,
  { isDraining, limits }: GatewayOptions,
): Refusal | undefined {
  const { decision } = judged;
  if (decision.kind === 'refuse') return decision.refusal;
  if (decision.kind !== 'forward') return undefined;
  if (isDraining()) return refusals.draining();
  if (expect === 'unknown') return refusals.unknownExpectation();
  if (decision.generation.limits === undefined) return undefined;
  const entered = limits.enter(decision.generation, decision.route.dialect, judged.spends);
  if (entered !== undefined && isRefusal(entered)) return entered;
  judged.lease = entered;
  return undefined;
}

/** A request's two ends at Node's server. */
interface RequestEnds {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Forward = Extract<Decision, { kind: 'forward' }>;

function forward(
  judged: Judged,
  decision: Forward,
  { request, response }: RequestEnds,
  options: GatewayOptions,
): void {
  const { head, caller, reader, startedAt, lease } = judged;
  const { upload: rules } = options;
  const abandon = (reason: Refusal): void => exchange.abandon(reason);
  const upload = hasBody(head)
    ? new Upload(request, head.contentLength, rules, {
        startedAt: rules.elapsed(),
        tooLarge: () => abandon(bodyTooLarge(rules.limit)),
        check: decision.models?.body?.(abandon),
      })
    : undefined;
  const trace = traceOf(head, options.beginsTraces);
  const exchange: Exchange = new Exchange(options.exchange, {
    request,
    response,
    decision,
    method: head.method as Dispatcher.HttpMethod,
    headers: headersFor(judged, decision, trace, options),
    traceId: trace.id,
    session: mcpSession(head, decision),
    upload,
    reader,
    caller,
    startedAt,
    lease,
  });
  // A body that came in the same packet as the head is there when this turn of the parser ends.
  if (upload === undefined) exchange.start();
  else soon(() => exchange.start());
}

function openTunnel(
  judged: Judged,
  decision: Forward,
  { request, socket }: { request: IncomingMessage; socket: Socket },
  options: GatewayOptions,
): void {
  const trace = traceOf(judged.head, options.beginsTraces);
  const tunnel = new Tunnel(options.exchange, {
    request,
    socket,
    target: decision.target,
    headers: headersFor(judged, decision, trace, options),
    traceId: trace.id,
    refusal: refusalContextOf(judged),
    key: decision.generation,
    route: decision.route,
    keepAuthorization: decision.keepAuthorization,
    caller: judged.caller,
    ...{ startedAt: judged.startedAt, lease: judged.lease },
  });
  tunnel.start();
}

function headersFor(
  judged: Judged,
  decision: Forward,
  trace: Trace,
  options: GatewayOptions,
): string[] {
  return forwardHeaders(judged.head, options.rules, {
    requestId: judged.caller.id,
    trace,
    peer: judged.from.peer,
    peerTrusted: judged.from.trusted,
    endUser: decision.generation.endUser,
    keepAuthorization: decision.keepAuthorization,
    wantsPlain: decision.models?.isList === true,
  });
}

function mcpSession({ names, values }: Head, { route, target }: Forward): string | undefined {
  if (!route.mcp) return undefined;
  const at = names.indexOf(SESSION_HEADER);
  return sessionOf(at < 0 ? undefined : values[at], target);
}

/**
 * Answers LiteLLM's three open health routes in its stead: nothing gets there without a key. The
 * sidecar is alive as long as this process answers, and ready when LiteLLM is there too.
 */
function answerHealth(judged: Judged, response: ServerResponse, options: GatewayOptions): void {
  const { reader, caller } = judged;
  const asksReady = caller.template.endsWith('/readiness');
  const ready = options.isReady();
  const status = asksReady && !ready ? 503 : 200;
  // LiteLLM's own words, for whoever reads the body.
  const body = JSON.stringify(
    asksReady ? { status: ready ? 'healthy' : 'unavailable' } : "I'm alive!",
  );
  const headers = ['content-type', 'application/json', 'cache-control', 'no-store'];
  if (status === 503) headers.push('retry-after', '5');
  if (reader !== undefined) headers.push(...options.exchange.cors.allow(reader));
  answerHere(judged, response, options, { status, headers, body });
}

/** A page of an origin that is not allowed gets LiteLLM's own 400. */
function answerPreflight(judged: Judged, response: ServerResponse, options: GatewayOptions): void {
  const { head, reader } = judged;
  const headers = ['content-type', 'text/plain; charset=utf-8'];
  if (reader === undefined) {
    answerHere(judged, response, options, { status: 400, headers, body: 'Disallowed CORS origin' });
    return;
  }
  headers.push(...options.exchange.cors.allow(reader), ...preflightFields(head));
  answerHere(judged, response, options, { status: 200, headers, body: 'OK' });
}

/** Sends an answer of the sidecar's own that is no refusal, and records it. */
function answerHere(
  { caller, head, startedAt }: Judged,
  response: ServerResponse,
  { exchange }: GatewayOptions,
  { status, headers, body }: { status: number; headers: string[]; body: string },
): void {
  headers.push('content-length', String(Buffer.byteLength(body)), 'x-request-id', caller.id);
  response.writeHead(status, headers);
  response.end(body);
  const durationMs = exchange.elapsed() - startedAt;
  const said = { status, refusal: undefined, durationMs, traceId: clientTraceId(head) };
  exchange.events.onExchangeEnd(recordOfOwnAnswer(caller, said));
}

/**
 * A connection ends with these refusals: nobody can be sure where its next request begins, or the
 * sidecar is stopping.
 */
const ENDS_CONNECTION: ReadonlySet<RefusalCode> = new Set([
  'bad_request',
  'headers_too_large',
  'draining',
]);

function refuseJudged(
  judged: Judged,
  reason: Refusal,
  { request, response }: RequestEnds,
  options: GatewayOptions,
): void {
  const close = ENDS_CONNECTION.has(reason.code);
  if (close) serveNoMore(request.socket);
  const context = { ...refusalContextOf(judged), close };
  sayRefusal(judged, reason, options, (final) => {
    const whole = isAllHere(request, judged.head.contentLength);
    refuseRequest(request, response, final, { ...context, whole });
  });
}

function refuseJudgedSocket(
  judged: Judged,
  reason: Refusal,
  socket: Socket,
  options: GatewayOptions,
): void {
  const context = refusalContextOf(judged);
  sayRefusal(judged, reason, options, (final) => refuseSocket(socket, final, context));
}

const refusalContextOf = ({ reader, decision, caller }: Judged): RefusalContext => ({
  dialect: decision.route.dialect,
  requestId: caller.id,
  reader,
});

/** A key that is wrong may be a guess; a key that is missing is not. */
const GUESSES: ReadonlySet<RefusalCode> = new Set([
  'malformed_key',
  'unknown_key',
  'expired_key',
  'revoked_key',
]);

/**
 * Answers with a refusal, which `say` sends, and records it. A guess is counted first: an address
 * that made too many of them is told so instead.
 */
function sayRefusal(
  judged: Judged,
  reason: Refusal,
  { failures, exchange }: GatewayOptions,
  say: (final: Refusal) => void,
): void {
  const finish = (final: Refusal): void => {
    say(final);
    const { code, cause, limit } = final;
    exchange.events.onExchangeEnd(
      recordOfOwnAnswer(judged.caller, {
        status: statusOf(code),
        ...{ refusal: code, limit },
        durationMs: exchange.elapsed() - judged.startedAt,
        traceId: clientTraceId(judged.head),
        abortReason: cause === undefined ? undefined : reasonOf(cause),
      }),
    );
  };
  const retryAfter = GUESSES.has(reason.code) ? failures.count(judged.from.address) : undefined;
  const final = retryAfter === undefined ? reason : refusals.tooManyFailures(retryAfter);
  // One turn later a body that came with the head is read, and its connection can be kept.
  soon(() => finish(final));
}

/** Answers what could not be read as HTTP, where somebody is there to be told, and records it. */
function refuseUnreadable(socket: Socket, code: string, { exchange }: GatewayOptions): void {
  const reason = unreadable(code);
  if (reason === undefined) {
    socket.destroy();
    return;
  }
  const requestId = newRequestId();
  const address = plainAddress(socket.remoteAddress ?? '');
  const unread = { method: '-', userAgent: undefined };
  const caller = callerRecord(requestId, unread, address, { kind: 'health', route: UNROUTED });
  refuseSocket(socket, reason, { dialect: 'openai', requestId, reader: undefined });
  const status = statusOf(reason.code);
  exchange.events.onExchangeEnd(
    recordOfOwnAnswer(caller, { status, refusal: reason.code, durationMs: 0, traceId: '' }),
  );
}

/** @returns undefined where nobody is there to be told */
function unreadable(code: string): Refusal | undefined {
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return refusal('request_timeout', 'the head of the request took too long');
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return refusal('headers_too_large', 'the head of the request is too large');
  }
  return refusal('bad_request', 'this could not be read as HTTP/1.1');
}
