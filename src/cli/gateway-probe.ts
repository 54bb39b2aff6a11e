import { createParser } from 'eventsource-parser';
import type { Secret } from '../secret.ts';
import { fieldOf, parseJson } from '../text/safe.ts';
import { describeAnswer, errorUnder200 } from './answer-words.ts';
import type { Question } from './model-question.ts';

/** A gateway as its client sees it: nothing in this file knows what stands behind the gateway. */
export type GatewayProbe = ReturnType<typeof createGatewayProbe>;

interface GatewayProbeOptions {
  readonly url: URL;
  readonly key: Secret;
  /** How long one whole answer may take. */
  readonly timeoutMs: number;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly version: string;
}

/** What a gateway lists: each model's name, and what it is for, where LiteLLM says so. */
export type ListedModels = ReadonlyMap<string, string | undefined>;

/** What became of one request. Times are milliseconds since the request was sent. */
export type ProbeResult =
  | { readonly state: 'ok'; readonly latencyMs: number; readonly firstByteMs: number }
  | {
      readonly state: 'failed';
      /** One line: the provider's words, the gateway's, or what happened on the way. */
      readonly error: string;
      readonly latencyMs: number;
      readonly firstByteMs?: number;
      readonly status?: number;
      /** The sidecar's own reason (`x-sidecar-refusal`), where the sidecar gave the answer. */
      readonly refusal?: string;
    }
  /** Ctrl-C came before the answer was complete. */
  | { readonly state: 'unfinished' };

/** Why the gateway as a whole could not be checked. */
export interface GatewayProblem extends Advice {
  /** The sidecar's own reason, where it was the sidecar that refused. */
  readonly refusal: string | undefined;
}

/** What went wrong, and what to do about it. */
interface Advice {
  readonly message: string;
  readonly hints: readonly string[];
}

export function createGatewayProbe(options: GatewayProbeOptions) {
  const { timeoutMs, signal } = options;
  const base = options.url.href.replace(/\/$/, '');
  const call = (path: string, body?: object): Promise<Response> => {
    const isForm = body instanceof FormData;
    return fetch(`${base}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      // A redirect would take the key to somebody else.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      headers: {
        authorization: `Bearer ${options.key.reveal()}`,
        // A form has a type of its own, with the boundary between its parts.
        ...(isForm ? {} : { 'content-type': 'application/json' }),
        'user-agent': `litellm-sidecar-check/${options.version}`,
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    });
  };

  return {
    /** The models that the gateway lists, each once, or why it listed none. */
    async models(): Promise<ListedModels | GatewayProblem> {
      try {
        const response = await call('/v1/models');
        const body = parseJson(await response.text());
        return modelsIn(response.status, body) ?? problemWithList(response, body);
      } catch (error) {
        return { ...describeFailure(error, timeoutMs), refusal: undefined };
      }
    },

    /** Sends one tiny request; never rejects. Not every question can be asked for a stream. */
    async ask(model: string, question: Question, wantsStream: boolean): Promise<ProbeResult> {
      if (signal.aborted) return { state: 'unfinished' };
      const started = performance.now();
      const since = (): number => Math.round(performance.now() - started);
      const stream = wantsStream && question.streams;
      try {
        const body = question.bodyFor(model);
        const answer = await call(question.path, question.streams ? { ...body, stream } : body);
        return await judge(answer, stream ? undefined : question, since);
      } catch (error) {
        if (signal.aborted) return { state: 'unfinished' };
        const { message } = describeFailure(error, timeoutMs);
        return { state: 'failed', error: message, latencyMs: since() };
      }
    },
  };
}

function modelsIn(status: number, body: unknown): ListedModels | undefined {
  const data = fieldOf(body, 'data');
  if (status !== 200 || !Array.isArray(data)) return undefined;
  const models = new Map<string, string | undefined>();
  for (const entry of data) {
    const [id, mode] = [fieldOf(entry, 'id'), fieldOf(entry, 'mode')];
    if (typeof id === 'string') models.set(id, typeof mode === 'string' ? mode : models.get(id));
  }
  return models;
}

/** @param question undefined: a stream of choices was asked for */
async function judge(
  response: Response,
  question: Question | undefined,
  since: () => number,
): Promise<ProbeResult> {
  const headersMs = since();
  const { status } = response;
  const type = response.headers.get('content-type') ?? '';
  if (status !== 200) {
    const error = describeAnswer(status, type, parseJson(await response.text()));
    const refusal = response.headers.get('x-sidecar-refusal');
    const said = { error, status, ...(refusal === null ? {} : { refusal }) };
    return { state: 'failed', ...said, latencyMs: since(), firstByteMs: headersMs };
  }
  if (question === undefined && !/^text\/event-stream\b/i.test(type)) {
    await response.body?.cancel();
    const error = `asked for a stream, got ${type === '' ? 'no content type' : type}`;
    return { state: 'failed', error, status, latencyMs: since(), firstByteMs: headersMs };
  }
  const { fault, firstByteMs } =
    question === undefined
      ? await readStream(response, since)
      : {
          fault: question.faultIn(Buffer.from(await response.arrayBuffer()), type),
          firstByteMs: headersMs,
        };
  const times = { latencyMs: since(), firstByteMs };
  if (fault === undefined) return { state: 'ok', ...times };
  return { state: 'failed', error: fault, status, ...times };
}

/**
 * Reads a streamed answer to its end. A good one has an event with choices, no event with an error,
 * and `[DONE]` last; `fault` says what is wrong. The first event counts as the first byte: the head
 * of a stream comes early and says little.
 */
export async function readStream(
  { body }: Response,
  since: () => number,
): Promise<{ readonly fault: string | undefined; readonly firstByteMs: number }> {
  let fault: string | undefined;
  let last = '';
  let choices = false;
  let firstByteMs: number | undefined;
  const onEvent = ({ data }: { readonly data: string }): void => {
    firstByteMs ??= since();
    last = data;
    if (data === '[DONE]') return;
    const event = parseJson(data);
    fault ??= event === undefined ? 'an event is not json' : errorUnder200(event);
    choices ||= hasChoices(event);
  };
  const parser = createParser({ onEvent });
  const decoder = new TextDecoder();
  for await (const chunk of body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
  if (last === '') fault ??= 'the stream holds no event';
  else if (last !== '[DONE]') fault ??= 'the stream ended without [DONE]';
  else if (!choices) fault ??= 'the stream holds no choices';
  return { fault, firstByteMs: firstByteMs ?? since() };
}

const hasChoices = (body: unknown): boolean => {
  const choices = fieldOf(body, 'choices');
  return Array.isArray(choices) && choices.length > 0;
};

const START = 'start it with `docker compose up` or `npm run local`, or name another with --url';
const OTHER_KEY = "give the gateway's key with --key-file, or run this where the gateway runs";
const WHICH_PORT = 'is this the traffic port (4000), and does it speak plain http?';
const MISSPELLED_URL = 'look for a slip in --url';

/** By the code of a rejected fetch: Node's system errors and undici's own. */
const FAILURES: Readonly<Record<string, Advice>> = {
  ECONNREFUSED: { message: 'nothing listens there', hints: [START] },
  ECONNRESET: { message: 'the connection was reset', hints: [WHICH_PORT] },
  UND_ERR_SOCKET: {
    message: 'the connection was closed before the answer was complete',
    hints: [WHICH_PORT],
  },
  ENOTFOUND: { message: 'the host name does not resolve', hints: [MISSPELLED_URL] },
  EAI_AGAIN: { message: 'the host name does not resolve', hints: [MISSPELLED_URL] },
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

/** A fetch that was rejected, in words. `timeoutMs` is how long the answer was waited for. */
function describeFailure(error: unknown, timeoutMs: number): Advice {
  const code = codeOf(error);
  if (TIMEOUTS.has(code)) {
    const hints = ['a model may be slow to start: give it longer with --timeout 2m'];
    return { message: `no answer within ${timeoutMs / 1000} s`, hints };
  }
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  return FAILURES[code] ?? { message: message || 'the request failed', hints: [] };
}

/** fetch wraps the error of the socket, whose code says more, as the cause of its own. */
const codeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return '';
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return code;
  return error.cause === undefined ? error.name : codeOf(error.cause);
};

/** What to do about a refusal that the sidecar itself gave, by its code. */
const REFUSALS: Readonly<Record<string, string>> = {
  missing_key: OTHER_KEY,
  malformed_key: `the key is mistyped or cut short; ${OTHER_KEY}`,
  unknown_key: `the key is another gateway's, or from before a new start; ${OTHER_KEY}`,
  expired_key: `the key was rotated and its grace is over, or its client expired; ${OTHER_KEY}`,
  revoked_key: `the key was revoked, or its client is disabled; ${OTHER_KEY}`,
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

/** Why an answer to `GET /v1/models` lists nothing usable. */
function problemWithList({ status, headers }: Response, body: unknown): GatewayProblem {
  const refusal = headers.get('x-sidecar-refusal') ?? undefined;
  if (refusal !== undefined) {
    const hint = REFUSALS[refusal];
    const message = `the gateway refuses to list its models (${refusal})`;
    return { message, hints: hint === undefined ? [] : [hint], refusal };
  }
  if (status === 200) {
    const hints = ['--url wants the traffic port of the sidecar (SIDECAR_PORT, 4000)'];
    return { message: 'the answer to /v1/models is no list of models', hints, refusal };
  }
  if (fieldOf(fieldOf(body, 'error'), 'type') === 'no_db_connection') {
    const hints = [
      '`sidecar status` says where that key comes from: put there what LiteLLM runs with',
    ];
    return { message: "LiteLLM refuses the sidecar's key", hints, refusal };
  }
  const answer = describeAnswer(status, headers.get('content-type') ?? '', body);
  const hint =
    status >= 500
      ? "this comes from behind the sidecar: litellm's own log says more"
      : 'no sidecar gave this answer: --url wants its traffic port (SIDECAR_PORT, 4000)';
  return { message: `the gateway lists no models: ${answer}`, hints: [hint], refusal };
}
