import { fieldOf, oneLine } from '../text/safe.ts';

/** The error that stands in a body under a 200; LiteLLM sends such bodies in streams. */
export function errorUnder200(body: unknown): string | undefined {
  if (!fieldOf(body, 'error')) return undefined;
  return errorMessageIn(body) ?? 'an error without a message';
}

/** An answer that is no success, in one line. */
export function describeAnswer(status: number, contentType: string, body: unknown): string {
  const message = errorMessageIn(body);
  if (message !== undefined) return `${status} ${message}`;
  const [type] = contentType.split(';');
  return `${status} without an error message (${type === '' ? 'no content type' : type})`;
}

/** What LiteLLM adds to a provider's message about its routing: nothing about what went wrong. */
const ROUTING =
  /\.?\s*(?:Received Model Group=|Available Model Group Fallbacks=|LiteLLM: model group ').*$/s;

/** LiteLLM says the kind of an error twice, the first time with its own name before the kind. */
const TWICE = /^litellm\.(\w+): \1: /;

/** The message in an error body as OpenAI, Anthropic, Google, FastAPI or a proxy shape it. */
export function errorMessageIn(body: unknown): string | undefined {
  const error = fieldOf(body, 'error');
  const detail = fieldOf(body, 'detail');
  const message = [
    fieldOf(error, 'message'),
    error,
    fieldOf(detail, 'error'),
    detail,
    fieldOf(body, 'message'),
  ].find((value) => typeof value === 'string' && value.trim() !== '');
  if (typeof message !== 'string') return undefined;
  return oneLine(message.replace(ROUTING, '').replace(TWICE, '$1: '));
}
