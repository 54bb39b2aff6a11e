import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { HandoverError, HandoverErrorCode } from '../../handover/contracts.ts';
import type { HandoverView } from '../../handover/views.ts';
import { discardRest, serveNoMore } from '../../proxy/client-connection.ts';
import type { AdminError, AdminErrorCode, WhoView } from '../../rotation/admin.ts';
import { redact } from '../../text/safe.ts';

/** The HTTP status of each code that the admin API refuses with. */
const STATUS_OF = {
  bad_request: 400,
  bad_client_name: 400,
  bad_scopes: 400,
  bad_expiry: 400,
  bad_limits: 400,
  bad_grace: 400,
  unauthorized: 401,
  origin_refused: 403,
  not_found: 404,
  unknown_client: 404,
  unknown_generation: 404,
  unknown_handover: 404,
  method_not_allowed: 405,
  client_exists: 409,
  client_in_file: 409,
  client_disabled: 409,
  client_enabled: 409,
  master_stays: 409,
  no_active_key: 409,
  too_many_generations: 409,
  rotation_under_way: 409,
  nothing_staged: 409,
  key_is_active: 409,
  key_is_retiring: 409,
  key_is_tombstone: 409,
  key_of_another_client: 409,
  already_ended: 409,
  nothing_to_roll_back: 409,
  not_the_active_key: 409,
  no_rollback_after_compromise: 409,
  in_use: 409,
  handover_under_way: 409,
  no_slots: 409,
  no_state: 409,
  salt_key_unknown: 409,
  salt_key_not_new: 409,
  nothing_to_reload: 409,
  body_too_large: 413,
  unsupported_media_type: 415,
  idempotency_mismatch: 422,
  too_many_failures: 429,
  too_many_watchers: 429,
  failed: 500,
  publish_failed: 500,
  store_unavailable: 503,
  state_unavailable: 503,
  starting: 503,
  stopping: 503,
  stopping_upstream: 503,
} as const;

export type ProblemCode = keyof typeof STATUS_OF;
export const PROBLEM_CODES = Object.keys(STATUS_OF) as readonly ProblemCode[];

/** Why the admin API did nothing; a value, never thrown. It holds no key. */
export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  /** What the caller can do, each a line. */
  readonly hints?: readonly string[];
  /** Of `in_use`: who used the key, and would be refused. */
  readonly who?: WhoView;
  /** Of `handover_under_way`: that handover. */
  readonly handover?: HandoverView;
  /** Of `bad_request`: every mistake, each with the name of its field. */
  readonly mistakes?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is sent: an answer of the admin API, or a problem. */
export interface AdminAnswer {
  readonly status: number;
  readonly type: 'application/json' | 'application/problem+json';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** Seconds, for `Retry-After`: these refusals end by themselves. */
const RETRY_AFTER: Partial<Record<ProblemCode, string>> = {
  starting: '1',
  stopping: '5',
  stopping_upstream: '5',
  store_unavailable: '5',
  state_unavailable: '5',
};

export const isProblem = (value: object): value is Problem => 'code' in value && 'detail' in value;

export const jsonAnswer = (status: number, body: unknown): AdminAnswer => ({
  status,
  type: 'application/json',
  headers: {},
  body,
});

/** RFC 9457; where the type is `about:blank`, the title is that of the status (§4.2.1). */
export function problemAnswer(problem: Problem): AdminAnswer {
  const { code, detail, hints = [], who, handover, mistakes, headers } = problem;
  const status = STATUS_OF[code];
  const retryAfter = RETRY_AFTER[code];
  return {
    status,
    type: 'application/problem+json',
    headers: { ...(retryAfter !== undefined && { 'retry-after': retryAfter }), ...headers },
    body: {
      type: 'about:blank',
      title: STATUS_CODES[status],
      status,
      // It may repeat what was asked for, and somebody may have asked with a key.
      detail: redact(detail),
      code,
      hints,
      ...(who !== undefined && { who }),
      ...(handover !== undefined && { handover }),
      ...(mistakes !== undefined && { mistakes }),
    },
  };
}

/** What a verb of `KeyAdmin` or `UpstreamAdmin` rejected with, as its caller reads it. */
export function problemOf(error: AdminError | HandoverError): Problem {
  const { message: detail, hints } = error;
  const code: AdminErrorCode | HandoverErrorCode = error.code;
  const who = 'who' in error ? error.who : undefined;
  const handover = 'handover' in error ? error.handover : undefined;
  return {
    code,
    detail,
    hints,
    ...(who !== undefined && { who }),
    ...(handover !== undefined && { handover }),
  };
}

/** Whether a request has a body, by its head. */
export const carriesBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';

/**
 * Sends an answer, or to HEAD its head alone. Where the body of the request is still coming, nobody
 * reads it: the connection ends, but only after the client had the time to read why.
 */
export function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: AdminAnswer,
): void {
  const body = `${JSON.stringify(answer.body)}\n`;
  const unread = carriesBody(request) && !request.complete;
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...answer.headers,
    ...(unread && { connection: 'close' }),
  });
  if (!unread) {
    response.end(body);
    return;
  }
  serveNoMore(request.socket);
  response.write(body);
  discardRest(request, () => response.end());
}

/** The longest body is a new client's, with its list of addresses. */
const MOST_BYTES = 64 * 1024;

const unsupported = (detail: string): Problem => ({
  code: 'unsupported_media_type',
  detail,
  hints: ['send JSON, with `content-type: application/json`'],
});

/**
 * Reads a body of JSON; an empty one is `{}`. Resolves to undefined where the client left in
 * the middle: then nothing is done for it.
 */
export async function readBody(
  request: IncomingMessage,
): Promise<{ readonly fields: object } | Problem | undefined> {
  const { 'content-type': type, 'content-encoding': encoding } = request.headers;
  // A page of another site can send a form or plain text without a CORS preflight, but not JSON.
  if (type === undefined ? carriesBody(request) : !isJson(type)) {
    return unsupported('only application/json is read here');
  }
  if (encoding !== undefined) return unsupported('a body is read as it is, without an encoding');
  const bytes = await readBytes(request);
  if (bytes === undefined) return undefined;
  return Buffer.isBuffer(bytes) ? parse(bytes) : bytes;
}

/** JSON, or what RFC 7396 calls the changes of a PATCH. */
const isJson = (type: string): boolean =>
  /^application\/(?:json|merge-patch\+json)$/i.test(type.split(';', 1)[0]?.trim() ?? '');

function readBytes(request: IncomingMessage): Promise<Buffer | Problem | undefined> {
  const tooLarge: Problem = {
    code: 'body_too_large',
    detail: `a body may have ${MOST_BYTES / 1024} KiB`,
  };
  if (Number(request.headers['content-length'] ?? 0) > MOST_BYTES) return Promise.resolve(tooLarge);
  if (request.destroyed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > MOST_BYTES) finish(tooLarge);
      else chunks.push(chunk);
    };
    const onEnd = (): void => finish(Buffer.concat(chunks));
    const onClose = (): void => finish(undefined);
    function finish(result: Buffer | Problem | undefined): void {
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    }
    request.on('data', onData).on('end', onEnd).on('close', onClose);
    // Where a client leaves there is an `error` too; without a listener it would end the process.
    request.on('error', () => undefined);
  });
}

const bad = (detail: string): Problem => ({ code: 'bad_request', detail });

function parse(bytes: Buffer): { fields: object } | Problem {
  if (bytes.length === 0) return { fields: {} };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // Not in the words of the parser, which quote what was sent: that may be a key.
    return bad('the body is not JSON in UTF-8');
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? { fields: value }
    : bad('the body must be a JSON object');
}
