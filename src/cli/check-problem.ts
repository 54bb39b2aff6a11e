import { describeAnswer } from './check-outcome.ts';

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
