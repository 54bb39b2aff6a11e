/**
 * Why the sidecar itself says no. The union is closed: a metric label, a header and an error body
 * carry these words, and clients are told by them who answered (the sidecar, not LiteLLM).
 */
const STATUS_OF = {
  missing_key: 401,
  malformed_key: 401,
  unknown_key: 401,
  expired_key: 401,
  revoked_key: 401,
  route_denied: 403,
  scope_denied: 403,
  address_denied: 403,
  model_denied: 403,
  bad_target: 400,
  bad_request: 400,
  // RFC 9110 §15.5.9 and RFC 6585 §5: SDKs send a 408 again, and a 431 says what to shorten.
  request_timeout: 408,
  headers_too_large: 431,
  body_too_large: 413,
  too_many_failures: 429,
  rate_limited: 429,
  sidecar_failed: 500,
  upstream_unavailable: 503,
  draining: 503,
  overloaded: 503,
  upstream_failed: 502,
  upstream_timeout: 504,
} as const;

export type RefusalCode = keyof typeof STATUS_OF;

/** Every code, in the order of the table. */
export const REFUSAL_CODES = Object.keys(STATUS_OF) as readonly RefusalCode[];

/** The HTTP status of a refusal. */
export const statusOf = (code: RefusalCode): number => STATUS_OF[code];

/** What a client's use is limited by, as its limits are named wherever they are read or shown. */
export const LIMIT_NAMES = ['rpm', 'parallel', 'tokens_per_day', 'usd_per_day'] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

/** A decision against a request; a value, never thrown. */
export interface Refusal {
  readonly code: RefusalCode;
  /** For the person at the client: what is wrong and what to do; no key, no internal address. */
  readonly message: string;
  /** Seconds, for `Retry-After` (RFC 9110 §10.2.3); set on 429 and 503. */
  readonly retryAfter?: number;
  /** `x-should-retry: false`, which SDKs heed: until then nothing changes. */
  readonly final?: true;
  /** Of `rate_limited`: which limit was reached. */
  readonly limit?: LimitName;
  /** More fields of the answer: name, value, name, value. */
  readonly fields?: readonly string[];
  /** What happened, for the log only. */
  readonly cause?: unknown;
}

/** Makes a refusal; `extra` holds what only some of them have. */
export const refusal = (
  code: RefusalCode,
  message: string,
  extra: Omit<Refusal, 'code' | 'message'> = {},
): Refusal => ({ code, message, ...extra });

/** Whether a value that may be a decision in favour is a refusal. */
export const isRefusal = (value: object): value is Refusal => 'code' in value && 'message' in value;
