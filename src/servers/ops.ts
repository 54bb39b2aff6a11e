import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { OwnMetrics } from '../litellm/own-metrics.ts';
import { isServedNoMore, serveNoMore } from '../proxy/client-connection.ts';
import type { AdminApi } from './admin/api.ts';
import { carriesBody, problemAnswer, sendAnswer } from './admin/http.ts';
import { createTokenGuard } from './admin/token.ts';
import { type ConsoleOptions, createConsole, isConsolePath } from './console.ts';
import { createPendingAnswers, listenerOf } from './listener.ts';
import { createOperatorServer, isOurHost } from './operators.ts';
import { createPipelineGuard } from './pipelining.ts';

/**
 * The endpoints of the ops port. Each answers GET and HEAD; any other path is 404 with this list.
 * `/` is the console (`console.ts`). Where a setting opens it, `/litellm/metrics` passes LiteLLM's
 * own metrics on; where a token is set, `/api/` is the admin API (`admin/endpoints.ts`).
 */
const ENDPOINTS = {
  '/livez': 'the process is there',
  '/readyz': 'requests can be served; 503 says what it waits for',
  '/metrics': 'Prometheus text format, or OpenMetrics',
} as const;

/** @param accept the field of that name, as it came */
export type OpenOwnMetrics = (
  accept: string | undefined,
  signal: AbortSignal,
) => Promise<OwnMetrics>;

export interface OpsOptions {
  /** @param accept the field of that name, as it came */
  readonly metrics: (
    accept: string | undefined,
  ) => Promise<{ readonly type: string; readonly body: string }>;
  /** LiteLLM's own metrics; undefined: they are not passed on. */
  readonly litellmMetrics?: OpenOwnMetrics;
  /** Asked at each `/readyz`; `waitingFor` is empty where it is ready. */
  readonly isReady: () => { readonly ready: boolean; readonly waitingFor: readonly string[] };
  /** Told of an endpoint that failed; its caller gets 500 without the reason. */
  readonly onError?: (error: unknown) => void;
  /** What this port is called, in lower case, besides addresses and private names. */
  readonly names?: readonly string[];
  /** Serves the admin API too, to callers with the token of this digest (`digestOf`). */
  readonly admin?: { readonly tokenDigest: string; readonly api: AdminApi };
  /** What the build made of the console; undefined: there is none. */
  readonly console?: ConsoleOptions['folder'];
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
): Record<
  keyof typeof ENDPOINTS,
  (accept: string | undefined) => OpsAnswer | Promise<OpsAnswer>
> => ({
  '/livez': () => text(200, 'ok'),
  '/readyz': () => {
    const { ready, waitingFor } = options.isReady();
    const body = JSON.stringify({ ready, waitingFor });
    return { ...text(ready ? 200 : 503, body), type: 'application/json' };
  },
  '/metrics': async (accept) => ({ status: 200, ...(await options.metrics(accept)) }),
});

const OWN_METRICS = '/litellm/metrics';

const notFound = ({ admin, console, litellmMetrics }: OpsOptions): OpsAnswer => {
  const rows = Object.entries(ENDPOINTS).map((row) => row.join('  '));
  if (console) rows.unshift('/  the console, for a browser');
  if (litellmMetrics) rows.push(`${OWN_METRICS}  LiteLLM's own metrics`);
  if (admin) rows.push('/api/  the admin API, for who has its token');
  return text(404, ['not found; this port has', ...rows].join('\n'));
};
const notAllowed: OpsAnswer = { ...text(405, `allowed: ${ALLOWED}`), allow: ALLOWED };

const notOurs = text(
  421,
  'this port has no such name: ask by its address, or name it in SIDECAR_OPS_NAMES',
);

const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?', 1)[0] ?? '';
const isReading = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD';
const isEndpoint = (path: string): path is keyof typeof ENDPOINTS => Object.hasOwn(ENDPOINTS, path);

const notPassedOn = text(404, "to pass LiteLLM's own metrics on, set SIDECAR_LITELLM_METRICS=true");
const tooMany = text(503, "LiteLLM's own metrics are being passed on to others; ask again");

/** Nobody keeps an answer, or takes it for another type than it has. */
const SAFE = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

const send = (response: ServerResponse, answer: OpsAnswer, last: boolean): void => {
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    ...SAFE,
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

/** LiteLLM makes the text on the thread that serves its requests: a few at once are plenty. */
const MOST_AT_ONCE = 4;

/** Passes LiteLLM's own metrics on as they come; what breaks off there breaks off here. */
const createMetricsDoor = (open: OpenOwnMetrics | undefined) => {
  let passing = 0;
  const refusalOf = (request: IncomingMessage): OpsAnswer | undefined => {
    if (open === undefined) return notPassedOn;
    if (!isReading(request)) return notAllowed;
    return passing < MOST_AT_ONCE ? undefined : tooMany;
  };
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const last = carriesBody(request);
    const refusal = refusalOf(request);
    if (open === undefined || refusal) {
      send(response, refusal ?? notPassedOn, last);
      return;
    }
    passing += 1;
    const gone = new AbortController();
    response.once('close', () => {
      passing -= 1;
      gone.abort();
    });
    const found = await open(request.headers.accept, gone.signal);
    if ('fault' in found) {
      send(response, text(502, found.fault), last);
      return;
    }
    const end = last ? { connection: 'close' } : {};
    response.writeHead(200, { 'content-type': found.type, ...SAFE, ...end });
    if (request.method === 'HEAD') response.end();
    // A failure has destroyed the answer, so that the scraper does not take a part for the whole.
    else await pipeline(found.body, response).catch(() => undefined);
  };
};

const createConsoleDoor = ({ console: folder, admin, onError }: OpsOptions) =>
  folder && createConsole({ folder, isOpen: admin !== undefined, onError });

/**
 * The ops port: liveness, readiness and metrics, for probes and scrapers inside the network, the
 * console, and with a token the admin API.
 */
export const createOpsServer = (options: OpsOptions) => {
  const answers = createAnswers(options);
  const nothing = notFound(options);
  const admin = options.admin && createAdminDoor(options.admin);
  const passMetricsOn = createMetricsDoor(options.litellmMetrics);
  const showConsole = createConsoleDoor(options);
  const pending = createPendingAnswers();

  const answerTo = async (request: IncomingMessage): Promise<OpsAnswer> => {
    const path = pathOf(request);
    if (!isEndpoint(path)) return nothing;
    if (!isReading(request)) return notAllowed;
    try {
      return await answers[path](request.headers.accept);
    } catch (error) {
      options.onError?.(error);
      return text(500, 'failed; the log says why');
    }
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = pathOf(request);
    if (path === OWN_METRICS) await passMetricsOn(request, response);
    else if (showConsole && isConsolePath(path)) await showConsole(request, response);
    else send(response, await answerTo(request), carriesBody(request));
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
      void answer(request, response);
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
