import { randomUUID } from 'node:crypto';
import type { LimitMode } from '../keyring/client-limits.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import type { SaysUsage } from '../litellm/routes-table.ts';
import type { Usage, UsageFault } from '../litellm/usage.ts';
import type { LimitName, RefusalCode } from '../refusal.ts';
import { mayHoldKey, oneLine, withoutKeys } from '../text/safe.ts';
import type { Decision } from './decide.ts';
import type { Head } from './head.ts';

/** How an exchange ended, where its status alone does not say. */
export type Outcome =
  | 'answered'
  /** The client left before it had the whole answer. */
  | 'client_aborted'
  /** The upstream died after the head of its answer had been passed on. */
  | 'upstream_aborted'
  /** The drain's deadline, or a compromise, cut it. */
  | 'cut';

/** Who asked for what. */
export interface CallerRecord {
  readonly id: string;
  /** `-` where nobody was recognised. */
  readonly client: string;
  /** `master-3`; `-` where nobody was recognised. */
  readonly generation: string;
  readonly method: string;
  readonly group: string;
  readonly template: string;
  /** Of a POST: whether its answer may say what a model used. */
  readonly asksModel: boolean;
  readonly address: string;
  /** `User-Agent` as the client sent it, cut to 200 characters; '' where there is none. */
  readonly userAgent: string;
}

/** What an exchange knows of itself at its end. */
export interface ExchangeEnd {
  /** `a` or `b`: the slot whose LiteLLM had it last; '' (in the record `-`): none had. */
  readonly slot: string;
  readonly refusal: RefusalCode | undefined;
  readonly outcome: Outcome;
  readonly websocket: boolean;
  /** From `x-litellm-model-group`; '' where LiteLLM named none. */
  readonly model: string;
  /**
   * What the answer said was used; undefined: nothing that counts. Without tokens where its price
   * alone is known, which may stand beside a fault.
   */
  readonly usage: Usage | undefined;
  /** Why there is no usage where there should be one; undefined: there is, or need not be. */
  readonly usageFault: UsageFault | undefined;
  /** Milliseconds from the request's head to the first event of a stream; -1: none was seen. */
  readonly firstChunkMs: number;
  /** The same of the last event. */
  readonly lastChunkMs: number;
  /** Events that carried data, where the answer is looked at: signs of life do not count. */
  readonly chunks: number;
  /** From `x-litellm-response-duration-ms`: what LiteLLM says it took; -1: it said nothing. */
  readonly upstreamMs: number;
  /** From `x-litellm-call-id`; '' where LiteLLM named none. */
  readonly callId: string;
  /** What the provider calls the request, where LiteLLM says so; else ''. */
  readonly providerId: string;
  /** The trace of W3C's `traceparent`, 32 hex digits; '' where a refused request named none. */
  readonly traceId: string;
  /** What is behind an `upstream_aborted`, `upstream_failed` or `sidecar_failed`: one safe line. */
  readonly abortReason: string | undefined;
  /** Milliseconds from the request's head to the head of the answer; -1: no answer came. */
  readonly firstByteMs: number;
  /**
   * Milliseconds that the sidecar itself took before it sent the request on, without any wait for
   * LiteLLM and without a second try; -1: it never sent the request.
   */
  readonly overheadMs: number;
  readonly responseBytes: number;
}

/** One finished exchange, as the access log and the metrics read it. Holds no key and no query. */
export interface ExchangeRecord extends CallerRecord, ExchangeEnd {
  /** Which limit refused it. */
  readonly limit: LimitName | undefined;
  /** 0: nothing was answered. */
  readonly status: number;
  /** Milliseconds, from the head of the request to the end of the answer. */
  readonly durationMs: number;
  readonly requestBytes: number;
}

/** What the traffic path tells as it happens; each is called often and must not throw or wait. */
export interface TrafficEvents {
  /** A request came with a key that is known: a valid one, or a tombstone. */
  onKeyUse(key: KnownKey, caller: CallerRecord): void;
  /** LiteLLM answered with 2xx, or 101, to a key whose `startsClock` is set. */
  onFirstAnswer(key: KnownKey, caller: CallerRecord): void;
  onExchangeEnd(record: ExchangeRecord): void;
  /** A request reached a limit of its client: it was refused, or that was only noted. */
  onLimit(client: string, limit: LimitName, mode: LimitMode): void;
  /** A request was sent again, and why. */
  onRetry(kind: RetryKind): void;
  /** LiteLLM could not be asked, or broke off. */
  onUpstreamError(kind: UpstreamErrorKind): void;
}

/** Why a request is sent again: its idle connection had died, or LiteLLM takes the other key. */
export const RETRY_KINDS = ['reused_connection', 'other_key'] as const;
type RetryKind = (typeof RETRY_KINDS)[number];

export const UPSTREAM_ERROR_KINDS = ['connect', 'reset', 'timeout', 'protocol', 'aborted'] as const;
export type UpstreamErrorKind = (typeof UPSTREAM_ERROR_KINDS)[number];

/** What is under way, read at each scrape. */
export interface TrafficGauges {
  inFlight(): number;
  /** Answers of type text/event-stream under way. */
  streams(): number;
  websockets(): number;
  held(): number;
}

/** The record of an exchange or a tunnel that is over. */
export const recordOf = (
  caller: CallerRecord,
  ended: ExchangeEnd,
  seen: Pick<ExchangeRecord, 'status' | 'durationMs' | 'requestBytes'>,
): ExchangeRecord => ({
  // Named one by one: a spread here costs more than all the rest of the record.
  id: caller.id,
  client: caller.client,
  generation: caller.generation,
  method: caller.method,
  group: caller.group,
  template: caller.template,
  asksModel: caller.asksModel,
  address: caller.address,
  userAgent: caller.userAgent,
  slot: ended.slot === '' ? '-' : ended.slot,
  status: seen.status,
  refusal: ended.refusal,
  // A limit refuses before there is an exchange.
  limit: undefined,
  outcome: ended.outcome,
  websocket: ended.websocket,
  model: ended.model,
  usage: ended.usage,
  usageFault: ended.usageFault,
  firstChunkMs: ended.firstChunkMs,
  lastChunkMs: ended.lastChunkMs,
  chunks: ended.chunks,
  upstreamMs: ended.upstreamMs,
  callId: ended.callId,
  providerId: ended.providerId,
  traceId: ended.traceId,
  abortReason: ended.abortReason,
  durationMs: seen.durationMs,
  firstByteMs: ended.firstByteMs,
  overheadMs: ended.overheadMs,
  requestBytes: seen.requestBytes,
  responseBytes: ended.responseBytes,
});

/** What there is to say of an exchange that LiteLLM did not answer. */
export const NOTHING_USED = {
  usage: undefined,
  usageFault: undefined,
  firstChunkMs: -1,
  lastChunkMs: -1,
  chunks: 0,
  upstreamMs: -1,
  callId: '',
  providerId: '',
} as const;

/** What is said of a request that was answered here at once. */
type OwnAnswer = Pick<ExchangeRecord, 'status' | 'refusal' | 'durationMs' | 'traceId'> &
  Partial<Pick<ExchangeRecord, 'abortReason' | 'limit'>>;

/** The record of a request that was answered here at once, and never reached LiteLLM. */
export const recordOfOwnAnswer = (caller: CallerRecord, answer: OwnAnswer): ExchangeRecord => ({
  ...caller,
  ...{ abortReason: undefined, limit: undefined },
  ...answer,
  slot: '-',
  outcome: 'answered',
  websocket: false,
  model: '',
  ...NOTHING_USED,
  firstByteMs: answer.durationMs,
  overheadMs: -1,
  requestBytes: 0,
  responseBytes: 0,
});

/** Characters of a reason that are kept. */
const MOST_REASON = 200;

/** What a record says of an error: its code and message, without any key, in one line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  const before = typeof code === 'string' && !error.message.includes(code) ? `${code}: ` : '';
  return oneLine(withoutKeys(before + error.message), MOST_REASON);
}

/** What a client may name its request by: short, and harmless wherever it is printed. */
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

export const newRequestId = (): string => randomUUID();

/** The client's own id of the request where it is usable, and no key: it stands in many logs. */
export const requestIdOf = ({ requestId }: Head): string =>
  requestId !== undefined && REQUEST_ID.test(requestId) && !mayHoldKey(requestId)
    ? requestId
    : newRequestId();

/** Characters of a user agent that are kept. */
const MOST_USER_AGENT = 200;

/** A copy: a slice would keep the whole field in memory for as long as the record is. */
const cutUserAgent = (text: string): string =>
  text.length <= MOST_USER_AGENT
    ? text
    : Buffer.from(text.slice(0, MOST_USER_AGENT), 'utf16le').toString('utf16le');

/** Whether there may be a usage in an answer. */
export const mayTell = (says: SaysUsage): boolean => says === 'always' || says === 'maybe';

export function callerRecord(
  id: string,
  { method, userAgent }: Pick<Head, 'method' | 'userAgent'>,
  address: string,
  decision: Decision,
): CallerRecord {
  const generation = 'generation' in decision ? decision.generation : undefined;
  return {
    id,
    client: generation?.client ?? '-',
    generation: generation?.id ?? '-',
    method,
    group: decision.route.group,
    template: decision.route.template,
    asksModel: method === 'POST' && mayTell(decision.route.saysUsage),
    address,
    userAgent: userAgent === undefined ? '' : cutUserAgent(userAgent),
  };
}

/** How the user agent of `sidecar check` begins: a key that it tries does not count as used. */
const OWN_CHECK = 'litellm-sidecar-check/';

const isOwnCheck = ({ userAgent }: CallerRecord): boolean => userAgent.startsWith(OWN_CHECK);

/**
 * Tells that a known key was presented. A check of our own does not count, unless its key opens
 * nothing: whoever found a revoked key must not get past the alarm by that user agent.
 */
export function tellKeyUse(events: TrafficEvents, key: KnownKey, caller: CallerRecord): void {
  if (key.fault === undefined && isOwnCheck(caller)) return;
  events.onKeyUse(key, caller);
}

/** Whether a status is one of the 2xx: LiteLLM did what it was asked for. */
export const isSuccess = (status: number): boolean => status >= 200 && status < 300;

/**
 * Tells that LiteLLM took a request (2xx, or 101 to an upgrade) with a key whose first use starts
 * the clock of an older one's grace. For every other key this is one comparison.
 */
export function tellFirstAnswer(
  events: TrafficEvents,
  status: number,
  key: KnownKey,
  caller: CallerRecord,
): void {
  if (!key.startsClock) return;
  const taken = status === 101 || isSuccess(status);
  if (taken && !isOwnCheck(caller)) events.onFirstAnswer(key, caller);
}
