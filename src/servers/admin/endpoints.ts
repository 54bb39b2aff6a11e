import type { IncomingMessage, ServerResponse } from 'node:http';
import { HandoverError } from '../../handover/contracts.ts';
import { type Actor, AdminError } from '../../rotation/admin.ts';
import {
  type AdminParts,
  AUDIT_PAGE,
  endpoint,
  findEndpoint,
  NEW_CLIENT,
  RELOAD,
  REMOVAL,
  REVOCATION,
  ROTATION,
} from './endpoint.ts';
import {
  type Answer,
  isProblem,
  type Problem,
  problemAnswer,
  problemOf,
  readBody,
  sendAnswer,
} from './http.ts';

/** The admin API. HEAD is answered wherever GET is; every answer is JSON, of views.ts. */
const ENDPOINTS = [
  endpoint('GET /api/status', 'everything on one page', {}, ({ admin }) => admin.status()),
  endpoint('GET /api/clients', 'every client and its keys', {}, ({ admin }) => ({
    clients: admin.clients(),
  })),
  endpoint(
    'POST /api/clients',
    'a new client with a key: name, scopes (inference), expires, allowFrom',
    { body: NEW_CLIENT, idempotencyKey: true, status: 201 },
    ({ admin }, { body, idempotencyKey, by }) => {
      const { name, scopes = ['inference'], expires, allowFrom = [] } = body;
      const request = { name, scopes, allowFrom, expiresInMs: expires, idempotencyKey };
      return admin.addClient(request, by);
    },
  ),
  endpoint('GET /api/clients/{name}', 'one client', {}, ({ admin }, { target }) =>
    admin.client(target),
  ),
  endpoint(
    'DELETE /api/clients/{name}',
    'ends its keys and removes it: ?force=true',
    { query: REMOVAL },
    ({ admin }, { target, query, by }) => admin.remove(target, query.force ?? false, by),
  ),
  endpoint(
    'POST /api/clients/{name}/rotate',
    'a new key: grace, compromised, force',
    { body: ROTATION, idempotencyKey: true },
    ({ admin }, { target, body, idempotencyKey, by }) => {
      const { grace, compromised = false, force = false } = body;
      const request = { client: target, graceMs: grace, compromised, force, idempotencyKey };
      return admin.rotate(request, by);
    },
  ),
  endpoint(
    'POST /api/clients/{name}/rollback',
    'the key before the newest is active again',
    {},
    ({ admin }, { target, by }) => admin.rollback(target, by),
  ),
  endpoint(
    'POST /api/clients/{name}/disable',
    'refuses its keys from now on',
    {},
    ({ admin }, { target, by }) => admin.disable(target, by),
  ),
  endpoint('POST /api/clients/{name}/enable', 'takes them again', {}, ({ admin }, { target, by }) =>
    admin.enable(target, by),
  ),
  endpoint(
    'POST /api/generations/{id}/revoke',
    'ends one key at once: force, compromised',
    { body: REVOCATION },
    ({ admin }, { target, body, by }) => {
      const { force = false, compromised = false } = body;
      return admin.revoke({ generation: target, force, compromised }, by);
    },
  ),
  endpoint('GET /api/generations/{id}/who', 'who uses it', {}, ({ admin }, { target }) =>
    admin.who(target),
  ),
  endpoint('GET /api/upstream', "LiteLLM's own key and configuration", {}, ({ upstream }) =>
    upstream.status(),
  ),
  endpoint(
    'POST /api/upstream/rotate',
    'a LiteLLM with a new key takes over; its handover tells how it goes on',
    { status: 202 },
    ({ upstream }, { by }) => upstream.rotate(by),
  ),
  endpoint(
    'POST /api/upstream/reload',
    'one with the configuration as it is now: dryRun',
    { body: RELOAD, status: 202 },
    ({ upstream }, { body, by }) => upstream.reload({ dryRun: body.dryRun ?? false }, by),
  ),
  endpoint('GET /api/upstream/handovers', 'the last 20, the latest first', {}, ({ upstream }) => ({
    handovers: upstream.history(),
  })),
  endpoint('GET /api/upstream/handovers/{id}', 'one of them', {}, ({ upstream }, { target }) =>
    upstream.handover(target),
  ),
  endpoint(
    'POST /api/upstream/salt-key',
    'a new LITELLM_SALT_KEY, which is stored nowhere',
    {},
    ({ upstream }, { by }) => upstream.saltKey(by),
  ),
  endpoint(
    'GET /api/audit',
    'its lines, the oldest first: ?after=0&limit=200',
    { query: AUDIT_PAGE },
    ({ audit }, { query }) => audit.read(query.after ?? 0, query.limit ?? 200),
  ),
  endpoint('GET /api/audit/verify', 'whether its chain is whole', {}, ({ audit }) =>
    audit.verify(),
  ),
] as const;

export interface AdminApiOptions extends AdminParts {
  /** Told of a verb that failed for an unknown reason; its caller gets 500 without it. */
  readonly onError: (error: unknown) => void;
}

export interface AdminApi {
  /**
   * Answers a request whose caller has shown that it may ask. What has begun is carried out, even
   * if the caller leaves.
   */
  handle(request: IncomingMessage, response: ServerResponse, actor: Actor): void;
}

const FAILED: Problem = { code: 'failed', detail: 'it failed; the log of the sidecar says why' };

/** A page in a browser has no business here, and would act with its reader's rights. */
const FROM_A_PAGE: Problem = {
  code: 'origin_refused',
  detail: 'a request with an Origin comes from a web page, and none may use this API',
};

/** What operators do, over HTTP; who may ask is for the socket and the port to say. */
export function createAdminApi(options: AdminApiOptions): AdminApi {
  const answerTo = async (
    request: IncomingMessage,
    by: Actor,
  ): Promise<Answer | Problem | undefined> => {
    const { headers, method = '', url = '' } = request;
    if (headers.origin !== undefined) return FROM_A_PAGE;
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const found = findEndpoint(ENDPOINTS, method, path);
    if (isProblem(found)) return found;
    const body = await readBody(request);
    if (body === undefined || isProblem(body)) return body;
    const query = mark < 0 ? '' : url.slice(mark + 1);
    const { fields } = body;
    return found.endpoint.answer(options, { target: found.target, fields, query, headers, by });
  };

  const problemIn = (error: unknown): Problem => {
    if (error instanceof AdminError || error instanceof HandoverError) return problemOf(error);
    options.onError(error);
    return FAILED;
  };

  return {
    handle(request, response, actor) {
      void answerTo(request, actor)
        .catch(problemIn)
        .then((answer) => {
          // Undefined: the client left in the middle of its body.
          if (answer === undefined) return;
          sendAnswer(request, response, isProblem(answer) ? problemAnswer(answer) : answer);
        })
        .catch((error: unknown) => {
          options.onError(error);
          response.destroy();
        });
    },
  };
}
