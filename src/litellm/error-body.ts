import { type Refusal, statusOf } from '../refusal.ts';
import type { Dialect } from './routes-table.ts';

/** The `domain` of google.rpc.ErrorInfo: who refuses. */
const DOMAIN = 'litellm-sidecar';

/** The `type` or `status` of one kind of error in each of the three APIs. */
interface Words {
  readonly openai: string;
  /** `error.type` of Anthropic's API ("Errors" in its reference). */
  readonly anthropic: string;
  /** google.rpc.Code; which HTTP status maps to which is in google/rpc/code.proto. */
  readonly google: string;
}

const words = (openai: string, anthropic: string, google: string): Words => ({
  openai,
  anthropic,
  google,
});

const REQUEST = words('invalid_request_error', 'invalid_request_error', 'INVALID_ARGUMENT');
const SERVER = words('server_error', 'api_error', 'INTERNAL');

const WORDS_OF: ReadonlyMap<number, Words> = new Map([
  [400, REQUEST],
  [401, words('authentication_error', 'authentication_error', 'UNAUTHENTICATED')],
  [403, words('permission_error', 'permission_error', 'PERMISSION_DENIED')],
  [408, words('timeout_error', 'timeout_error', 'DEADLINE_EXCEEDED')],
  [413, words('invalid_request_error', 'request_too_large', 'INVALID_ARGUMENT')],
  [429, words('rate_limit_error', 'rate_limit_error', 'RESOURCE_EXHAUSTED')],
  [431, REQUEST],
  [500, SERVER],
  [502, words('server_error', 'api_error', 'UNAVAILABLE')],
  [503, words('server_error', 'overloaded_error', 'UNAVAILABLE')],
  [504, words('timeout_error', 'timeout_error', 'DEADLINE_EXCEEDED')],
]);

/**
 * The JSON of a refusal in the shape that the client's SDK reads, as LiteLLM would have answered.
 * It holds the refusal's message and code, and never its cause.
 */
export function errorBody(dialect: Dialect, refusal: Refusal): string {
  const status = statusOf(refusal.code);
  const kind = WORDS_OF.get(status) ?? (status < 500 ? REQUEST : SERVER);
  return JSON.stringify(SHAPES[dialect](kind, refusal, status));
}

type Shape = (kind: Words, refusal: Refusal, status: number) => object;

const SHAPES: Readonly<Record<Dialect, Shape>> = {
  // LiteLLM's `code` is a string, too; OpenAI's SDKs show message, type, param and code.
  openai: (kind, { code, message }) => ({
    error: { message, type: kind.openai, param: null, code },
  }),
  // Anthropic's SDKs show message and type, and read their `errorCode` from `details.error_code`.
  anthropic: (kind, { code, message }) => ({
    type: 'error',
    error: { type: kind.anthropic, message, code, details: { error_code: code } },
  }),
  // A `reason` is in capitals (google/rpc/error_details.proto), so the code stands in `metadata`.
  google: (kind, { code, message }, status) => ({
    error: {
      code: status,
      message,
      status: kind.google,
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: code.toUpperCase(),
          domain: DOMAIN,
          metadata: { code },
        },
      ],
    },
  }),
};
