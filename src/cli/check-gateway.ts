import type { Secret } from '../secret.ts';
import { describeAnswer, type Outcome } from './check-outcome.ts';
import { describeFailure, type GatewayProblem, problemWithAnswer } from './check-problem.ts';
import { createStreamVerdict, faultInAnswer, parseJson } from './check-verdict.ts';
import { createEventReader } from './sse-events.ts';

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
  const data = typeof body === 'object' && body !== null && Reflect.get(body, 'data');
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
