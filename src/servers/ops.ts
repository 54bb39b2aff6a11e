import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isServedNoMore, serveNoMore } from '../proxy/client-connection.ts';
import type { AdminApi } from './admin/api.ts';
import { carriesBody, problemAnswer, sendAnswer } from './admin/http.ts';
import { createTokenGuard } from './admin/token.ts';
import { createPendingAnswers, listenerOf } from './listener.ts';
import { createOperatorServer, isOurHost } from './operators.ts';
import { createPipelineGuard } from './pipelining.ts';

/**
 * The endpoints of the ops port. Each answers GET and HEAD; any other path is 404 with this list.
 * Where a token is set, `/api/` is the admin API (`admin/endpoints.ts`).
 */
const ENDPOINTS = {
  '/livez': 'the process is there',
  '/readyz': 'requests can be served; 503 says what it waits for',
  '/metrics': 'Prometheus text format',
} as const;

export interface OpsOptions {
  readonly metrics: {
    render(): Promise<string>;
    readonly contentType: string;
  };
  /** Asked at each `/readyz`; `waitingFor` is empty where it is ready. */
  readonly isReady: () => { readonly ready: boolean; readonly waitingFor: readonly string[] };
  /** Told of an endpoint that failed; its caller gets 500 without the reason. */
  readonly onError?: (error: unknown) => void;
  /** What this port is called, in lower case, besides addresses and private names. */
  readonly names?: readonly string[];
  /** Serves the admin API too, to callers with the token of this digest (`digestOf`). */
  readonly admin?: { readonly tokenDigest: string; readonly api: AdminApi };
}

interface OpsAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly allow?: string;
}

const TEXT = 'text/plain; charset=utf-8';
const ALLOWED = 'GET, HEAD';

/** Above the usual scrape interval of 60 s, so that a scraper's connection is kept. */
const KEEP_ALIVE_MS = 75_000;
/** A reader that takes nothing of its answer for so long is cut. */
const IDLE_MS = 30_000;
const CLOSE_WITHIN_MS = 1_000;

const text = (status: number, body: string): OpsAnswer => ({
  status,
  type: TEXT,
  body: `${body}\n`,
});

const createAnswers = (
  options: OpsOptions,
): Record<keyof typeof ENDPOINTS, () => OpsAnswer | Promise<OpsAnswer>> => ({
  '/livez': () => text(200, 'ok'),
  '/readyz': () => {
    const { ready, waitingFor } = options.isReady();
    const body = JSON.stringify({ ready, waitingFor });
    return { ...text(ready ? 200 : 503, body), type: 'application/json' };
  },
  '/metrics': async () => ({
    status: 200,
    type: options.metrics.contentType,
    body: await options.metrics.render(),
  }),
});

const notFound = (hasAdmin: boolean): OpsAnswer => {
  const rows = Object.entries(ENDPOINTS).map((row) => row.join('  '));
  if (hasAdmin) rows.push('/api/  the admin API, for who has its token');
  return text(404, ['not found; this port has', ...rows].join('\n'));
};
const notAllowed: OpsAnswer = { ...text(405, `allowed: ${ALLOWED}`), allow: ALLOWED };

const notOurs = text(
  421,
  'this port has no such name: ask by its address, or name it in SIDECAR_OPS_NAMES',
);

const isEndpoint = (path: string): path is keyof typeof ENDPOINTS => Object.hasOwn(ENDPOINTS, path);

const send = (response: ServerResponse, answer: OpsAnswer, last: boolean): void => {
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(answer.allow !== undefined && { allow: answer.allow }),
    ...(last && { connection: 'close' }),
  });
  response.end(answer.body);
};

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), CLOSE_WITHIN_MS);
    // Its only error is that the server was not listening: then it is closed already.
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
  });

/** Lets callers with the token through to the admin API. */
const createAdminDoor = ({ tokenDigest, api }: NonNullable<OpsOptions['admin']>) => {
  const guard = createTokenGuard(tokenDigest);
  return (request: IncomingMessage, response: ServerResponse, expects: boolean): void => {
    const actor = guard(request);
    if (typeof actor !== 'string') {
      sendAnswer(request, response, problemAnswer(actor));
      return;
    }
    if (expects) response.writeContinue();
    api.handle(request, response, actor);
  };
};

/**
 * The ops port: liveness, readiness and metrics, for probes and scrapers inside the network, and
 * with a token the admin API.
 */
export const createOpsServer = (options: OpsOptions) => {
  const answers = createAnswers(options);
  const nothing = notFound(options.admin !== undefined);
  const admin = options.admin && createAdminDoor(options.admin);
  const pending = createPendingAnswers();

  const answerTo = async (request: IncomingMessage): Promise<OpsAnswer> => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    if (!isEndpoint(path)) return nothing;
    if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed;
    try {
      return await answers[path]();
    } catch (error) {
      options.onError?.(error);
      return text(500, 'failed; the log says why');
    }
  };
  const isServed = createPipelineGuard();
  const serve =
    (expects: boolean) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      if (!isServed(request, response) || isServedNoMore(request.socket)) return;
      pending.add(response);
      const hosts = request.headersDistinct['host'] ?? [undefined];
      if (!hosts.every((host) => isOurHost(host, options.names ?? []))) {
        serveNoMore(request.socket);
        send(response, notOurs, true);
        return;
      }
      if (admin !== undefined && request.url?.startsWith('/api/') === true) {
        admin(request, response, expects);
        return;
      }
      // A body is not read: the connection ends with the answer, or the body would be taken for the
      // next request.
      if (carriesBody(request)) serveNoMore(request.socket);
      void answerTo(request).then((answer) => send(response, answer, carriesBody(request)));
    };
  const server = createOperatorServer({ keepAliveTimeout: KEEP_ALIVE_MS }, serve(false));
  // `100 Continue` is sent where the body is read, by the admin API, and nowhere else.
  server.on('checkContinue', serve(true));
  server.setTimeout(IDLE_MS);

  return {
    ...listenerOf(server),
    /** Answers under way are finished within a second; then everything is closed. */
    close: (): Promise<void> => {
      pending.endConnections();
      return close(server);
    },
  };
};
