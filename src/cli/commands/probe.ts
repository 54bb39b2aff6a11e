import type { Secret } from '../../secret.ts';
import { fieldOf, parseJson } from '../../text/json.ts';
import { oneLine } from '../../text/safe.ts';

/** What became of the tiny request to one model. Times are milliseconds since it was sent. */
export type Outcome =
  | { readonly state: 'ok'; readonly latencyMs: number; readonly firstByteMs: number }
  | {
      readonly state: 'failed';
      /** One line: the provider's words, the gateway's, or what happened on the way. */
      readonly error: string;
      readonly latencyMs: number;
      readonly firstByteMs?: number;
      readonly status?: number;
      /** The sidecar's own reason (`x-sidecar-refusal`), where it was the one that answered. */
      readonly refusal?: string;
    }
  | { readonly state: 'skipped'; readonly error: string }
  /** Ctrl-C came first. */
  | { readonly state: 'unfinished' };

export interface CheckedModel {
  readonly model: string;
  readonly outcome: Outcome;
}

/** How many rows ended how, and whether the gateway passed. */
export interface Summary {
  readonly ok: number;
  readonly failed: number;
  readonly skipped: number;
  readonly unfinished: number;
  readonly passed: boolean;
}

/** A gateway passes where at least one model was asked and each that was asked answered. */
export function summarise(rows: readonly CheckedModel[]): Summary {
  const count = (state: Outcome['state']): number =>
    rows.filter(({ outcome }) => outcome.state === state).length;
  const [ok, failed] = [count('ok'), count('failed')];
  const [skipped, unfinished] = [count('skipped'), count('unfinished')];
  return { ok, failed, skipped, unfinished, passed: ok > 0 && failed + unfinished === 0 };
}

/** LiteLLM adds its routing to a provider's message; it says nothing about what went wrong. */
const ROUTING =
  /\.?\s*(?:Received Model Group=|Available Model Group Fallbacks=|LiteLLM: model group ').*$/s;

/** It also says the kind of error twice, once with its own name before it. */
const TWICE = /^litellm\.(\w+): \1: /;

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value.trim() !== '' ? value : undefined;

/** The message in an error body as OpenAI, Anthropic, Google, FastAPI or a proxy shape it. */
export function errorMessageIn(body: unknown): string | undefined {
  const error = fieldOf(body, 'error');
  const message =
    textOf(fieldOf(error, 'message')) ??
    textOf(error) ??
    textOf(fieldOf(fieldOf(body, 'detail'), 'error')) ??
    textOf(fieldOf(body, 'detail')) ??
    textOf(fieldOf(body, 'message'));
  return message === undefined
    ? undefined
    : oneLine(message.replace(ROUTING, '').replace(TWICE, '$1: '));
}

/** An answer that is no success, in one line. */
export function describeAnswer(status: number, contentType: string, body: unknown): string {
  const message = errorMessageIn(body);
  if (message !== undefined) return `${status} ${message}`;
  const [type] = contentType.split(';');
  return `${status} without an error message (${type === '' ? 'no content type' : type})`;
}

/** Why the gateway as a whole could not be checked. */
export interface GatewayProblem {
  readonly message: string;
  readonly hints: readonly string[];
  /** The sidecar's own reason, where it was the one that said no. */
  readonly refusal: string | undefined;
}

type Advice = Pick<GatewayProblem, 'message' | 'hints'>;

const START = 'start it with `docker compose up` or `npm run local`, or name another with --url';
const OTHER_KEY = "give the gateway's key with --key-file, or run this where the gateway runs";

/** By `cause.code` of a rejected fetch: Node's system errors and undici's own. */
const FAILURES: Readonly<Record<string, Advice>> = {
  ECONNREFUSED: { message: 'nothing listens there', hints: [START] },
  ECONNRESET: {
    message: 'the connection was reset',
    hints: ['is this the traffic port (4000), and does it speak plain http?'],
  },
  UND_ERR_SOCKET: {
    message: 'the connection was closed before the answer was complete',
    hints: ['is this the traffic port (4000), and does it speak plain http?'],
  },
  ENOTFOUND: { message: 'the host name does not resolve', hints: ['look for a slip in --url'] },
  EAI_AGAIN: { message: 'the host name does not resolve', hints: ['look for a slip in --url'] },
  EHOSTUNREACH: { message: 'the host cannot be reached', hints: [START] },
  ENETUNREACH: { message: 'the network cannot be reached', hints: [START] },
};

/** What undici and AbortSignal call an answer that took too long. */
const TIMEOUTS = new Set([
  'TimeoutError',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return '';
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return code;
  return error.cause === undefined ? error.name : codeOf(error.cause);
};

/** A fetch that was rejected, in words. `timeoutMs` is what it was given. */
export function describeFailure(error: unknown, timeoutMs: number): Advice {
  const code = codeOf(error);
  if (TIMEOUTS.has(code)) {
    const hints = ['a model may be slow to start: give it longer with --timeout 2m'];
    return { message: `no answer within ${timeoutMs / 1000} s`, hints };
  }
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  return FAILURES[code] ?? { message: message || 'the request failed', hints: [] };
}

/** What to do about a refusal that the sidecar itself gave. */
const REFUSALS: Readonly<Record<string, string>> = {
  missing_key: OTHER_KEY,
  malformed_key: `the key is mistyped or cut short; ${OTHER_KEY}`,
  unknown_key: `the key is another gateway's, or from before a new start; ${OTHER_KEY}`,
  expired_key: `the key was rotated and its grace is over; ${OTHER_KEY}`,
  revoked_key: `the key was revoked; ${OTHER_KEY}`,
  route_denied: 'SIDECAR_DENY_PATHS names /v1/models; `sidecar config` shows it',
  scope_denied: 'the key belongs to a client without the scope for inference',
  address_denied: 'SIDECAR_MANAGEMENT_ALLOW_FROM leaves this address out',
  too_many_failures: 'too many wrong keys came from this address; wait a minute',
  upstream_unavailable: 'litellm does not run or still starts; its own log says more',
  draining: 'the sidecar is shutting down',
  overloaded: 'too many requests wait for litellm; its own log says more',
  upstream_failed: 'litellm closed the connection; its own log says more',
  upstream_timeout: 'litellm took too long; its own log says more',
};

/** An answer to `GET /v1/models` that lists nothing usable. */
export function problemWithAnswer(response: Response, body: unknown): GatewayProblem {
  const { status, headers } = response;
  const refusal = headers.get('x-sidecar-refusal') ?? undefined;
  if (refusal !== undefined) {
    const hint = REFUSALS[refusal];
    return {
      message: `the gateway refuses to list its models (${refusal})`,
      hints: hint === undefined ? [] : [hint],
      refusal,
    };
  }
  if (status === 200) {
    const hints = ['--url wants the traffic port of the sidecar (SIDECAR_PORT, 4000)'];
    return { message: 'the answer to /v1/models is no list of models', hints, refusal };
  }
  const answer = describeAnswer(status, headers.get('content-type') ?? '', body);
  const hints =
    status >= 500
      ? ["this comes from behind the sidecar: litellm's own log says more"]
      : ['no sidecar gave this answer: --url wants its traffic port (SIDECAR_PORT, 4000)'];
  return { message: `the gateway lists no models: ${answer}`, hints, refusal };
}

const hasChoices = (body: unknown): boolean => {
  const choices = fieldOf(body, 'choices');
  return Array.isArray(choices) && choices.length > 0;
};

/** The error that stands in a body under a 200. */
function errorUnder200(body: unknown): string | undefined {
  if (!fieldOf(body, 'error')) return undefined;
  return errorMessageIn(body) ?? 'an error without a message';
}

/** What is wrong with the body of a 200; undefined: nothing. */
export function faultInAnswer(text: string): string | undefined {
  const body = parseJson(text);
  if (body === undefined) return 'the answer is not json';
  return errorUnder200(body) ?? (hasChoices(body) ? undefined : 'the answer holds no choices');
}

/** Follows the events of a streamed answer and says at its end what was wrong with it. */
export interface StreamVerdict {
  event(data: string): void;
  /** What is wrong with the stream, now that it has ended; undefined: nothing. */
  end(): string | undefined;
}

/**
 * A good stream has events with choices, none with an error (LiteLLM sends those under a 200), and
 * `[DONE]` last.
 */
export function createStreamVerdict(): StreamVerdict {
  let fault: string | undefined;
  let last = '';
  let choices = false;
  return {
    event(data) {
      last = data;
      if (data === '[DONE]') return;
      const body = parseJson(data);
      fault ??= body === undefined ? 'an event is not json' : errorUnder200(body);
      choices ||= hasChoices(body);
    },
    end() {
      if (fault !== undefined) return fault;
      if (last === '') return 'the stream holds no event';
      if (last !== '[DONE]') return 'the stream ended without [DONE]';
      return choices ? undefined : 'the stream holds no choices';
    },
  };
}

const LINE_END = /\r\n|\n|\r(?!$)/;

/**
 * Reads a server-sent event stream piece by piece; gives the data of each event that is complete.
 */
export interface EventReader {
  /** Whatever has arrived, cut anywhere; the data of the events that it completed, in order. */
  push(text: string): readonly string[];
}

/**
 * WHATWG HTML §9.2.6: lines end in LF, CR or CRLF, `data` lines add up, an empty line dispatches.
 */
export function createEventReader(): EventReader {
  let rest = '';
  let data: string[] = [];

  const takeLine = (line: string): string | undefined => {
    if (line === '') {
      const event = data.length > 0 ? data.join('\n') : undefined;
      data = [];
      return event;
    }
    const field = /^data(?:: ?(.*))?$/s.exec(line);
    if (field !== null) data.push(field[1] ?? '');
    return undefined;
  };

  return {
    push(text) {
      // A CR at the end may be half of a CRLF: LINE_END leaves it for the next piece.
      const lines = (rest + text).split(LINE_END);
      rest = lines.pop() ?? '';
      return lines.map(takeLine).filter((event) => event !== undefined);
    },
  };
}

/** Small, and above the 16 that OpenAI's newer endpoints demand at least. */
const ANSWER_TOKENS = 16;

export interface GatewayOptions {
  readonly url: URL;
  readonly key: Secret;
  /** To the whole of one answer. */
  readonly timeoutMs: number;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
  readonly version: string;
}

/** A gateway as its client sees it: nothing here knows what stands behind it. */
export interface Gateway {
  /** The names it lists, each once, or why it gave none. */
  models(): Promise<readonly string[] | GatewayProblem>;
  /** Sends one tiny chat request; never rejects. */
  probe(model: string, stream: boolean): Promise<Outcome>;
}

export function createGateway(options: GatewayOptions): Gateway {
  const { timeoutMs, signal } = options;
  const base = options.url.href.replace(/\/$/, '');
  const call = (path: string, body?: object): Promise<Response> =>
    fetch(`${base}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      headers: {
        authorization: `Bearer ${options.key.reveal()}`,
        'content-type': 'application/json',
        'user-agent': `litellm-sidecar-check/${options.version}`,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  return {
    async models() {
      try {
        const response = await call('/v1/models');
        const body = parseJson(await response.text());
        return namesIn(response.status, body) ?? problemWithAnswer(response, body);
      } catch (error) {
        return { ...describeFailure(error, timeoutMs), refusal: undefined };
      }
    },

    async probe(model, stream) {
      if (signal.aborted) return { state: 'unfinished' };
      const started = performance.now();
      const since = (): number => Math.round(performance.now() - started);
      const messages = [{ role: 'user', content: 'Say: ok' }];
      try {
        const request = { model, messages, max_tokens: ANSWER_TOKENS, stream };
        return await judge(await call('/v1/chat/completions', request), stream, since);
      } catch (error) {
        if (signal.aborted) return { state: 'unfinished' };
        const { message } = describeFailure(error, timeoutMs);
        return { state: 'failed', error: message, latencyMs: since() };
      }
    },
  };
}

function namesIn(status: number, body: unknown): readonly string[] | undefined {
  const data = fieldOf(body, 'data');
  if (status !== 200 || !Array.isArray(data)) return undefined;
  const ids = data.map((entry: { id?: unknown } | null) => entry?.id);
  return [...new Set(ids.filter((id) => typeof id === 'string'))];
}

async function judge(response: Response, stream: boolean, since: () => number): Promise<Outcome> {
  const headersMs = since();
  const type = response.headers.get('content-type') ?? '';
  if (response.status !== 200) {
    const body = parseJson(await response.text());
    const refusal = response.headers.get('x-sidecar-refusal');
    return {
      state: 'failed',
      error: describeAnswer(response.status, type, body),
      status: response.status,
      latencyMs: since(),
      firstByteMs: headersMs,
      ...(refusal === null ? {} : { refusal }),
    };
  }
  const isEvents = /^text\/event-stream\b/i.test(type);
  if (stream && !isEvents) {
    await response.body?.cancel();
    const error = `asked for a stream, got ${type === '' ? 'no content type' : type}`;
    return { state: 'failed', error, status: 200, latencyMs: since(), firstByteMs: headersMs };
  }
  const read = stream ? await readStream(response, since) : await readWhole(response, headersMs);
  const times = { latencyMs: since(), firstByteMs: read.firstByteMs };
  if (read.fault === undefined) return { state: 'ok', ...times };
  return { state: 'failed', error: read.fault, status: 200, ...times };
}

interface Read {
  readonly fault: string | undefined;
  readonly firstByteMs: number;
}

async function readWhole(response: Response, firstByteMs: number): Promise<Read> {
  return { fault: faultInAnswer(await response.text()), firstByteMs };
}

/** The first event counts as the first byte: headers come early and say little. */
async function readStream(response: Response, since: () => number): Promise<Read> {
  const reader = createEventReader();
  const verdict = createStreamVerdict();
  const decoder = new TextDecoder();
  let firstByteMs: number | undefined;
  for await (const chunk of response.body ?? []) {
    const events = reader.push(decoder.decode(chunk, { stream: true }));
    if (events.length > 0) firstByteMs ??= since();
    events.forEach(verdict.event);
  }
  return { fault: verdict.end(), firstByteMs: firstByteMs ?? since() };
}
