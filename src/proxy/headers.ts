import { KEY_HEADERS, OVERRIDING_HEADER, withoutKeySubprotocols } from './credential.ts';
import type { Head } from './head.ts';
import type { Trace } from './trace.ts';

/** RFC 9110 §7.6.1, and what older proxies put beside it. */
const HOP_BY_HOP = [
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
];
/** Fields that are meant for a proxy, or that this one writes itself. */
const OURS = [
  ...['proxy-authorization', 'proxy-authenticate', 'expect', 'host'],
  ...['x-request-id', 'traceparent', 'tracestate'],
];
/** Any client can write these fields; they are made anew from what the socket says. */
const FORWARDED = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-forwarded-ssl',
  'x-forwarded-user',
  'x-forwarded-email',
  'x-real-ip',
];

const NEVER_SENT_ON: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...OURS,
  ...FORWARDED,
  ...KEY_HEADERS,
  OVERRIDING_HEADER,
]);

const NEVER_SENT_BACK: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'proxy-authenticate']);

/**
 * The names by which LiteLLM takes the end user of a request (STANDARD_CUSTOMER_ID_HEADERS in its
 * constants.py), and those that its documents name for `user_header_name`s.
 */
const END_USER = 'x-litellm-end-user-id';
const END_USER_FIELDS: ReadonlySet<string> = new Set([
  END_USER,
  'x-litellm-customer-id',
  'x-openwebui-user-id',
  'x-openwebui-user-email',
  'x-openwebui-user-name',
  'x-openwebui-user-role',
]);

/** What is the same for every request of a sidecar. */
export interface RequestRules {
  readonly publicUrl: URL | undefined;
  readonly keyHeader: string | undefined;
}

/** What is the same for every request to one LiteLLM. */
export interface ForwardRules extends RequestRules {
  /** `Host` of the upstream, or of the public URL. */
  readonly host: string;
}

/** What is known of one request once it is admitted. */
export interface ForwardFacts {
  readonly requestId: string;
  readonly trace: Trace;
  /** The peer's own address. */
  readonly peer: string;
  readonly peerTrusted: boolean;
  /** What LiteLLM is told as the end user's name; undefined: what the client says. */
  readonly endUser: string | undefined;
  /** The client's `Authorization` is for somebody behind LiteLLM, and goes on to there. */
  readonly keepAuthorization: boolean;
  /** The answer is read here, and shall not be compressed. */
  readonly wantsPlain: boolean;
}

/** A host and a port as `Host` may hold them (RFC 3986 §3.2.2): nothing that quotes or spaces. */
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

const PROTO = /^(?:https?|wss?)$/;

/**
 * The fields for LiteLLM: name, value, name, value. Which LiteLLM gets them is known only when they
 * are sent: `addressTo` then fills in its Host and its key, without which they cannot be sent.
 */
export function forwardHeaders(head: Head, rules: RequestRules, facts: ForwardFacts): string[] {
  const out: string[] = ['host', ''];
  const { names, values } = head;
  for (let at = 0; at < names.length; at++) {
    const name = names[at] ?? '';
    if (isSentOn(name, head, rules, facts)) out.push(name, values[at] ?? '');
  }
  const subprotocols =
    head.subprotocols === undefined ? undefined : withoutKeySubprotocols(head.subprotocols);
  if (subprotocols !== undefined) out.push('sec-websocket-protocol', subprotocols);
  pushForwarded(out, head, rules, facts);
  if (facts.endUser !== undefined) out.push(END_USER, facts.endUser);
  pushTrace(out, head, facts.trace);
  out.push('x-request-id', facts.requestId, '', '');
  return out;
}

/**
 * Fills in what depends on the LiteLLM that gets these fields: once before each try, as the second
 * may go to another LiteLLM.
 */
export function addressTo(
  fields: string[],
  host: string,
  key: readonly [name: string, value: string],
): void {
  fields[1] = host;
  fields[fields.length - 2] = key[0];
  fields[fields.length - 1] = key[1];
}

function isSentOn(name: string, head: Head, rules: RequestRules, facts: ForwardFacts): boolean {
  if (head.connectionOptions.includes(name)) return false;
  if (facts.wantsPlain && name === 'accept-encoding') return false;
  if (facts.endUser !== undefined && END_USER_FIELDS.has(name)) return false;
  if (NEVER_SENT_ON.has(name)) return name === 'authorization' && facts.keepAuthorization;
  return name !== rules.keyHeader && name !== 'sec-websocket-protocol';
}

function pushForwarded(out: string[], head: Head, rules: RequestRules, facts: ForwardFacts): void {
  const said = (name: string): string | undefined => {
    if (!facts.peerTrusted) return undefined;
    const at = head.names.indexOf(name);
    // Each proxy may have appended its own word: the first is of the one next to the client.
    return at < 0 ? undefined : head.values[at]?.split(',', 1)[0]?.trim();
  };
  // A proxy may append a line of its own instead of to the line it got (RFC 9110 §5.3).
  const before = facts.peerTrusted ? joined(head, 'x-forwarded-for') : undefined;
  out.push('x-forwarded-for', before === undefined ? facts.peer : `${before}, ${facts.peer}`);
  const saidProto = said('x-forwarded-proto')?.toLowerCase();
  const proto = saidProto !== undefined && PROTO.test(saidProto) ? saidProto : 'http';
  out.push('x-forwarded-proto', rules.publicUrl?.protocol.slice(0, -1) ?? proto);
  const host = rules.publicUrl?.host ?? said('x-forwarded-host') ?? head.host;
  if (host !== undefined && HOST.test(host)) out.push('x-forwarded-host', host);
}

/** W3C Trace Context §3.3: without a valid `traceparent` nobody may read the `tracestate`. */
function pushTrace(out: string[], head: Head, trace: Trace): void {
  if (trace.parent !== '') out.push('traceparent', trace.parent);
  if (!trace.isClients || !head.names.includes('tracestate')) return;
  if (head.connectionOptions.includes('tracestate')) return;
  for (const [at, name] of head.names.entries()) {
    if (name === 'tracestate') out.push(name, head.values[at] ?? '');
  }
}

function joined({ names, values }: Head, name: string): string | undefined {
  const lines = values.filter((value, at) => names[at] === name && value !== '');
  return lines.length === 0 ? undefined : lines.join(', ');
}

/** The head of an answer for the client, and what was read in it on the way. */
export interface AnswerHead {
  /** Name, value, name, value. */
  readonly headers: string[];
  /** LiteLLM's `x-litellm-model-group`, '' where it named none. */
  readonly model: string;
  readonly eventStream: boolean;
  /** `Content-Encoding`, '' where there is none. */
  readonly encoding: string;
  /** LiteLLM's `x-litellm-call-id`, '' where it named none. */
  readonly callId: string;
  /** The provider's id of the request, which LiteLLM passes on under several names. */
  readonly providerId: string;
  /** LiteLLM's `x-litellm-response-cost`: dollars as it wrote them, '' where it knows no price. */
  readonly cost: string;
  /** LiteLLM's `x-litellm-response-duration-ms`; -1 where it says nothing. */
  readonly upstreamMs: number;
}

/** RFC 9110 §8.3.1: parameters may follow, and the case does not matter. */
const EVENT_STREAM = /^text\/event-stream\s*(?:;|$)/i;

/**
 * The fields that the client gets.
 *
 * @param raw names and values as undici read them, one after the other
 */
export function answerHeaders(
  raw: readonly (Buffer | string)[],
  rules: ForwardRules,
  requestId: string,
): AnswerHead {
  const headers: string[] = [];
  const head: Noted = {
    headers,
    model: '',
    eventStream: false,
    encoding: '',
    callId: '',
    providerId: '',
    cost: '',
    upstreamMs: -1,
    hasRequestId: false,
  };
  const dropped = optionsNamed(raw);
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = text(raw[at]);
    const value = text(raw[at + 1]);
    if (dropped === undefined && READ_LENGTHS[name.length] !== 1) {
      headers.push(name, value);
      continue;
    }
    const lower = name.toLowerCase();
    if (NEVER_SENT_BACK.has(lower) || dropped?.includes(lower) === true) continue;
    note(head, lower, value);
    headers.push(name, lower === 'location' ? clientLocation(value, rules) : value);
  }
  if (!head.hasRequestId) headers.push('x-request-id', requestId);
  return head;
}

/** LiteLLM's own name for it, since 1.108; before it stood under Anthropic's and OpenAI's. */
const PROVIDER_IDS: ReadonlySet<string> = new Set([
  ...['request-id', 'llm_provider-request-id', 'llm_provider-x-request-id'],
]);

/**
 * By their lengths: the names that mean something here. Most of LiteLLM's forty fields are asked
 * for no more, which is a fifth of the time that a head takes.
 */
const READ_LENGTHS = new Uint8Array(32);
for (const name of [
  ...NEVER_SENT_BACK,
  ...PROVIDER_IDS,
  ...['location', 'content-type', 'content-encoding', 'x-request-id'],
  ...['x-litellm-call-id', 'x-litellm-model-group'],
  ...['x-litellm-response-cost', 'x-litellm-response-duration-ms'],
]) {
  READ_LENGTHS[name.length] = 1;
}

type Noted = { -readonly [Field in keyof AnswerHead]: AnswerHead[Field] } & {
  hasRequestId: boolean;
};

function note(head: Noted, name: string, value: string): void {
  switch (name.length) {
    case 10:
    case 25:
      noteProviderId(head, name, value);
      break;
    case 12:
      if (name === 'content-type') head.eventStream = EVENT_STREAM.test(value);
      else if (name === 'x-request-id') head.hasRequestId = true;
      break;
    case 16:
      if (name === 'content-encoding') head.encoding = value;
      break;
    case 17:
      if (name === 'x-litellm-call-id') head.callId = value;
      break;
    case 21:
      if (name === 'x-litellm-model-group') head.model = value;
      break;
    case 23:
      if (name === 'x-litellm-response-cost') head.cost = value;
      else noteProviderId(head, name, value);
      break;
    case 30:
      if (name === 'x-litellm-response-duration-ms') head.upstreamMs = millisecondsOf(value);
      break;
  }
}

function noteProviderId(head: Noted, name: string, value: string): void {
  if (head.providerId === '' && PROVIDER_IDS.has(name)) head.providerId = value;
}

/** LiteLLM says `None` where it did not look at the time. */
const millisecondsOf = (said: string): number => {
  const ms = Number(said);
  return ms >= 0 && ms < Number.POSITIVE_INFINITY ? ms : -1;
};

/**
 * Node's own part of `toString('latin1')`, which its documents do not name: to ask it at once for
 * the eighty names and values of LiteLLM's head is 3 % of a request's processor time.
 */
interface Latin1 {
  latin1Slice(start: number, end: number): string;
}

function text(value: Buffer | string | undefined): string {
  if (value === undefined || typeof value === 'string') return value ?? '';
  return (value as unknown as Latin1).latin1Slice(0, value.length);
}

/** LiteLLM's trailers for the client, unchanged (RFC 9110 §6.5). */
export function answerTrailers(raw: readonly (Buffer | string)[]): [string, string][] {
  const out: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) out.push([text(raw[at]), text(raw[at + 1])]);
  return out;
}

/** The fields that the answer's own `Connection` names; nearly always none. */
function optionsNamed(raw: readonly (Buffer | string)[]): string[] | undefined {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length !== 10 || text(name).toLowerCase() !== 'connection') continue;
    const value = text(raw[at + 1]).toLowerCase();
    if (value !== 'keep-alive' && value !== 'close') return value.split(/\s*,\s*/);
  }
  return undefined;
}

/**
 * A `Location` that names the upstream means this gateway: LiteLLM builds it from the Host it was
 * sent, with `http` or `https` by its own guess. Without a public URL the path alone is sent: it is
 * right wherever the client is (RFC 9110 §10.2.2).
 */
export function clientLocation(value: string, rules: ForwardRules): string {
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(value);
  if (match === null) return value;
  const [, authority = '', rest = ''] = match;
  if (authority.toLowerCase() !== rules.host.toLowerCase()) return value;
  // Two slashes at the beginning would make the first segment a host (RFC 3986 §4.2).
  const path = rest.replace(/^[/\\]*/, '/');
  const { publicUrl } = rules;
  if (publicUrl === undefined) return path;
  return publicUrl.origin + publicUrl.pathname.replace(/\/$/, '') + path;
}
