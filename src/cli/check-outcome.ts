import { oneLine } from '../text/safe.ts';

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
} /** LiteLLM adds its routing to a provider's message; it says nothing about what went wrong. */
const ROUTING =
  /\.?\s*(?:Received Model Group=|Available Model Group Fallbacks=|LiteLLM: model group ').*$/s;

/** It also says the kind of error twice, once with its own name before it. */
const TWICE = /^litellm\.(\w+): \1: /;

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value.trim() !== '' ? value : undefined;

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;

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
