import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ConfigView } from '../../config/view.ts';
import { HandoverError, type UpstreamAdmin } from '../../handover/contracts.ts';
import type { UpstreamView } from '../../handover/views.ts';
import { limitShares } from '../../keyring/client-limits.ts';
import { type Actor, AdminError, type ClientView, type KeyAdmin } from '../../rotation/admin.ts';
import { nearest } from '../../text/nearest.ts';
import type { UsageReport } from '../../usage/report.ts';
import { isFromOwnPage } from '../operators.ts';
import {
  type AdminRoute,
  type AnswerOf,
  ENDPOINTS,
  type Endpoint,
  type Method,
  type ReadOf,
  type StreamRoute,
} from './endpoints.ts';
import { FIELDS, readFields, readIdempotencyKey, readQuery } from './fields.ts';
import {
  type AdminAnswer,
  isProblem,
  jsonAnswer,
  type Problem,
  problemAnswer,
  problemOf,
  readBody,
  sendAnswer,
} from './http.ts';
import type { LiveStream } from './live.ts';

/** The audit, as far as it is read from outside. */
export interface AuditReader {
  /** Lines with a number above `after`, the oldest first; `count` is that of the whole audit. */
  read(after: number, limit: number): Promise<AnswerOf<'GET /api/audit'>>;
  verify(): Promise<AnswerOf<'GET /api/audit/verify'>>;
}

/** Requests, tokens and cost by hour, as far as they are read from outside. */
export interface UsageTeller {
  /** Rows are read for who still wants them when it is their turn. */
  report(
    question: ReadOf<'GET /api/usage', 'query'>,
    isWanted?: () => boolean,
  ): Promise<AnswerOf<'GET /api/usage'>>;
  save(): Promise<AnswerOf<'POST /api/usage/save'>>;
}

/** Whom the endpoints ask. */
interface AdminParts {
  readonly admin: KeyAdmin;
  readonly upstream: Omit<UpstreamAdmin, 'status'> & {
    status(): UpstreamView | Promise<UpstreamView>;
  };
  readonly audit: AuditReader;
  readonly usage: UsageTeller;
  readonly live: LiveStream;
  /** The settings in force, beside those that stand there now. */
  readonly settings: () => ConfigView;
}

/** A request to an endpoint, read and found good. */
interface AdminCall<R extends AdminRoute> {
  /** What `{name}` or `{id}` stands for; '' where the path has neither. */
  readonly target: string;
  readonly body: ReadOf<R, 'body'>;
  readonly query: ReadOf<R, 'query'>;
  /** Where the endpoint takes one. */
  readonly idempotencyKey: string | undefined;
  readonly by: Actor;
  /** Whether the caller is still there to hear the answer. */
  readonly isWanted: () => boolean;
}

/** Carries out what a route asks for; rejects with `AdminError` or `HandoverError`. */
type Handler<R extends AdminRoute> = (
  parts: AdminParts,
  call: AdminCall<R>,
) => AnswerOf<R> | Promise<AnswerOf<R>>;

type PlainRoute = Exclude<AdminRoute, StreamRoute>;

const HANDLERS: { readonly [R in PlainRoute]: Handler<R> } = {
  'GET /api/status': ({ admin }) => admin.status(),
  'GET /api/config': ({ settings }) => settings(),
  'GET /api/clients': ({ admin }) => ({ clients: admin.clients() }),
  'GET /api/clients-file': ({ admin }) => admin.clientsFile(),
  'POST /api/clients': ({ admin }, { body, idempotencyKey, by }) => {
    const { name, scopes = ['inference'], expires, allowFrom = [], namesEndUsers = false } = body;
    const { limits = {}, models = [] } = body;
    const about = { scopes, allowFrom, expiresInMs: expires, namesEndUsers, limits, models };
    return admin.addClient({ name, ...about, idempotencyKey }, by);
  },
  'GET /api/clients/{name}': ({ admin }, { target }) => admin.client(target),
  'PATCH /api/clients/{name}': ({ admin }, { target: name, body, by }) => {
    const { expires, ...changes } = body;
    const end = 'expires' in body && { expiresInMs: expires };
    return admin.setClient({ name, ...changes, ...end }, by);
  },
  'DELETE /api/clients/{name}': ({ admin }, { target, query, by }) =>
    admin.remove(target, query.force ?? false, by),
  'POST /api/clients/{name}/rotate': ({ admin }, { target, body, idempotencyKey, by }) => {
    const { grace, compromised = false, force = false } = body;
    const request = { client: target, graceMs: grace, compromised, force, idempotencyKey };
    return admin.rotate(request, by);
  },
  'POST /api/clients/{name}/rollback': ({ admin }, { target, body, by }) =>
    admin.rollback(target, body.from, by),
  'POST /api/clients/{name}/disable': ({ admin }, { target, by }) => admin.disable(target, by),
  'POST /api/clients/{name}/enable': ({ admin }, { target, by }) => admin.enable(target, by),
  'POST /api/generations/{id}/revoke': ({ admin }, { target, body, by }) => {
    const { force = false, compromised = false } = body;
    return admin.revoke({ generation: target, force, compromised }, by);
  },
  'GET /api/generations/{id}/who': ({ admin }, { target }) => admin.who(target),
  'GET /api/upstream': ({ upstream }) => upstream.status(),
  'POST /api/upstream/rotate': ({ upstream }, { by }) => upstream.rotate(by),
  'POST /api/upstream/reload': ({ upstream }, { body, by }) =>
    upstream.reload({ dryRun: body.dryRun ?? false }, by),
  'GET /api/upstream/handovers': ({ upstream }) => ({ handovers: upstream.history() }),
  'GET /api/upstream/handovers/{id}': ({ upstream }, { target }) => upstream.handover(target),
  'POST /api/upstream/salt-key': ({ upstream }, { by }) => upstream.saltKey(by),
  'GET /api/audit': ({ audit }, { query }) => audit.read(query.after ?? 0, query.limit ?? 200),
  'GET /api/usage': async ({ usage, admin }, { query, isWanted }) =>
    withBudgets(await usage.report(query, isWanted), admin.clients),
  'POST /api/usage/save': ({ usage }) => usage.save(),
  'GET /api/audit/verify': ({ audit }) => audit.verify(),
  'GET /api/refusals': ({ live }) => ({ refusals: live.refused() }),
  'GET /api/tombstones': ({ admin }) => ({ tombstones: admin.comebacks() }),
  'GET /api/openapi.json': async () => (await import('./openapi.ts')).describeApi(),
};

/** A report by client, with what each has used of its budget. */
function withBudgets(report: UsageReport, clients: KeyAdmin['clients']): UsageReport {
  if (report.by !== 'client') return report;
  const used = new Map(clients().map((client) => [client.name, budgetUsed(client)]));
  const rows = report.rows.map((row) => {
    return { ...row, budgetUsed: used.get(row.name ?? '') ?? null };
  });
  return { ...report, rows };
}

function budgetUsed({ limits, use }: ClientView): number | null {
  if (limits === null || use === null) return null;
  const { tokensPerDay = null, usdPerDay = null } = limitShares(limits, use);
  return tokensPerDay === null ? usdPerDay : Math.max(tokensPerDay, usdPerDay ?? 0);
}

interface AdminApiOptions extends AdminParts {
  /** Told of a verb that failed for an unknown reason; its caller gets 500 without it. */
  readonly onError: (error: unknown) => void;
}

const FAILED: Problem = { code: 'failed', detail: 'this request failed; the log says why' };

/** Any other page would act with its reader's rights. */
const FROM_ELSEWHERE: Problem = {
  code: 'origin_refused',
  detail:
    'a request of a web page that this port did not serve: its console alone may use this API',
  hints: ['a proxy in front must pass Host on as the browser sent it, with its port'],
};

export type AdminApi = ReturnType<typeof createAdminApi>;

/**
 * What operators do, over HTTP. Whether a caller may ask is for the admin socket and the ops port
 * to say.
 */
export function createAdminApi(options: AdminApiOptions) {
  let stopping = false;
  const watch = (request: IncomingMessage, response: ServerResponse, query: string) => {
    const mistakes: string[] = [];
    readQuery(FIELDS.nothing, query, mistakes);
    return mistakes.length > 0 ? mistaken(mistakes) : options.live.watch(request, response);
  };
  /** Undefined: the client left in the middle of its body, or is being told what goes on. */
  const answerTo = async (
    request: IncomingMessage,
    response: ServerResponse,
    by: Actor,
  ): Promise<AdminAnswer | Problem | undefined> => {
    const { headers, method = '', url = '' } = request;
    if (!isFromOwnPage(headers)) return FROM_ELSEWHERE;
    if (stopping) return STOPPING;
    const mark = url.indexOf('?');
    const found = findRoute(method, mark < 0 ? url : url.slice(0, mark));
    if (isProblem(found)) return found;
    const body = await readBody(request);
    if (body === undefined || isProblem(body)) return body;
    const query = mark < 0 ? '' : url.slice(mark + 1);
    const { route, target } = found;
    if (isStream(route)) return watch(request, response, query);
    return carryOut(options, route, {
      ...{ target, fields: body.fields, query, by, isWanted: () => !response.destroyed },
      idempotencyKey: headers['idempotency-key']?.toString(),
    });
  };

  const problemIn = (error: unknown): Problem => {
    if (error instanceof AdminError || error instanceof HandoverError) return problemOf(error);
    options.onError(error);
    return FAILED;
  };

  return {
    /**
     * Answers a request whose caller has shown that it may ask. What has begun is carried out, even
     * if the caller leaves.
     */
    handle(request: IncomingMessage, response: ServerResponse, actor: Actor): void {
      void answerTo(request, response, actor)
        .catch(problemIn)
        .then((answer) => {
          if (answer === undefined) return;
          sendAnswer(request, response, isProblem(answer) ? problemAnswer(answer) : answer);
        })
        .catch((error: unknown) => {
          options.onError(error);
          response.destroy();
        });
    },
    /** Ends the live figures, and refuses each request from now on. */
    stop(): void {
      stopping = true;
      options.live.end();
    },
  };
}

const STOPPING: Problem = { code: 'stopping', detail: 'the sidecar is stopping' };

const isStream = (route: AdminRoute): route is StreamRoute => 'stream' in ENDPOINTS[route];

/** Calls the handler of a route, unless a part of the request is a mistake. */
async function carryOut<R extends PlainRoute>(
  parts: AdminParts,
  route: R,
  {
    target,
    by,
    isWanted,
    ...unread
  }: Omit<AdminCall<R>, 'body' | 'query'> & { fields: object; query: string },
): Promise<AdminAnswer | Problem> {
  const row: Endpoint = ENDPOINTS[route];
  const mistakes: string[] = [];
  const body = readFields(FIELDS[row.body ?? 'nothing'], unread.fields, mistakes);
  const query = readQuery(FIELDS[row.query ?? 'nothing'], unread.query, mistakes);
  const key = row.idempotencyKey ? unread.idempotencyKey : undefined;
  const idempotencyKey = readIdempotencyKey(key, mistakes);
  if (mistakes.length > 0) return mistaken(mistakes);
  // The schemas are those that the row names, and so are the types of the route.
  const call = { target, by, isWanted, body, query, idempotencyKey };
  const handler: Handler<R> = HANDLERS[route];
  return jsonAnswer(row.status ?? 200, await handler(parts, call as AdminCall<R>));
}

function mistaken(mistakes: readonly string[]): Problem {
  const [only = ''] = mistakes;
  const detail = mistakes.length === 1 ? only : `the request has ${mistakes.length} mistakes`;
  return { code: 'bad_request', detail, mistakes };
}

interface RoutePattern {
  readonly route: AdminRoute;
  readonly method: Method;
  /** `['', 'api', 'clients', '{name}']` */
  readonly parts: readonly string[];
}

const PATTERNS: readonly RoutePattern[] = (Object.keys(ENDPOINTS) as AdminRoute[]).map((route) => {
  const [method, path] = route.split(' ') as [Method, string];
  return { route, method, parts: path.split('/') };
});

/** The route that a request means, and what its path names. */
function findRoute(
  method: string,
  path: string,
): { readonly route: AdminRoute; readonly target: string } | Problem {
  const segments = decodeSegments(path);
  if (segments === undefined) {
    return { code: 'bad_request', detail: 'the path holds a % that encodes nothing' };
  }
  const there = PATTERNS.filter(({ parts }) => matches(parts, segments));
  if (there.length === 0) return notFound(segments);
  const wanted = method === 'HEAD' ? 'GET' : method;
  const found = there.find((each) => each.method === wanted);
  if (found === undefined) return notAllowed(there);
  return { route: found.route, target: segments[found.parts.findIndex(isPlaceholder)] ?? '' };
}

/** Decodes each segment once: `%252F` names a client with `%2F` in its name, and there is none. */
function decodeSegments(path: string): readonly string[] | undefined {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

const isPlaceholder = (part: string): boolean => part.startsWith('{');

const matches = (parts: readonly string[], segments: readonly string[]): boolean =>
  parts.length === segments.length &&
  parts.every((part, at) => (isPlaceholder(part) ? segments[at] !== '' : part === segments[at]));

const describeRoute = ({ route }: RoutePattern): string => `${route}  ${ENDPOINTS[route].about}`;

function notFound(segments: readonly string[]): Problem {
  // Each path as it would be with the name that stands in this request, so that only the rest of
  // it is compared.
  const paths = new Map(
    PATTERNS.map(({ parts }) => [
      parts.map((part, at) => (isPlaceholder(part) ? (segments[at] ?? part) : part)).join('/'),
      parts.join('/'),
    ]),
  );
  const near = paths.get(nearest(segments.join('/'), [...paths.keys()]) ?? '');
  const hints = near === undefined ? [] : [`did you mean ${near}?`];
  return {
    code: 'not_found',
    detail: 'there is nothing at this path',
    hints: [...hints, ...PATTERNS.map(describeRoute)],
  };
}

function notAllowed(there: readonly RoutePattern[]): Problem {
  const methods = there.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  const allow = methods.join(', ');
  return {
    code: 'method_not_allowed',
    detail: `allowed here: ${allow}`,
    hints: there.map(describeRoute),
    headers: { allow },
  };
}
