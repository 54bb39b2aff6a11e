import type * as z from 'zod';
import type { ConfigView } from '../../config/view.ts';
import type { HandoverView, SaltKeyView, UpstreamView } from '../../handover/views.ts';
import type { AuditLine, AuditVerdict } from '../../keyring/audit.ts';
import type {
  ChangeView,
  ClientsFileView,
  ClientView,
  RotateView,
  StatusView,
  WhoView,
} from '../../rotation/admin.ts';
import type { RefusedView } from '../../usage/live.ts';
import type { UsageReport, UsageStoreView } from '../../usage/report.ts';
import type { FIELDS } from './fields.ts';
import type { LiveEvent } from './live.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** What a request may hold, by the names of `fields.ts`. */
type FieldSet = keyof typeof FIELDS;

/** The type of a JSON document; the object itself is empty. */
interface Shape<T> {
  readonly type?: T;
}

const shape = <T>(): Shape<T> => ({});

/** A row of the table below. */
export interface Endpoint {
  /** What the endpoint does, in the list that a request for an unknown path is answered with. */
  readonly about: string;
  readonly answers: Shape<unknown>;
  /** The fields of the request's JSON body; without it a body has none. */
  readonly body?: FieldSet;
  /** The parameters behind the `?`; without it there are none. */
  readonly query?: FieldSet;
  /** The status of success, where it is not 200. 201: it is made; 202: it has begun. */
  readonly status?: 201 | 202;
  /** It takes an `Idempotency-Key`: the second request with the same one gets the same answer. */
  readonly idempotencyKey?: true;
  /** A POST that changes nothing that is kept, so that a client may send it again. */
  readonly repeatable?: true;
  /** It answers with server-sent events, each with one document, until its reader leaves. */
  readonly stream?: true;
}

/**
 * The admin API: method and path of each endpoint, with one `{name}` or `{id}` at most, what it
 * takes and what it answers. The server answers by it, the command line and the console ask by it,
 * and `openapi.ts` describes it. HEAD is answered wherever GET is. Every answer is JSON, that of a
 * row or a problem (`http.ts`).
 */
export const ENDPOINTS = {
  'GET /api/status': { about: 'everything on one page', answers: shape<StatusView>() },
  'GET /api/config': {
    about: 'the settings in force, and what a restart would take instead',
    answers: shape<ConfigView>(),
  },
  'GET /api/clients': {
    about: 'every client and its keys',
    answers: shape<{ readonly clients: readonly ClientView[] }>(),
  },
  'GET /api/clients-file': {
    about: 'the clients, with the digests of their keys, as a clients file has them',
    answers: shape<ClientsFileView>(),
  },
  'POST /api/clients': {
    about:
      'a new client with a key: name, scopes (inference), expires, allowFrom, namesEndUsers, ' +
      'limits, models',
    body: 'newClient',
    idempotencyKey: true,
    status: 201,
    answers: shape<RotateView>(),
  },
  'GET /api/clients/{name}': { about: 'one client', answers: shape<ClientView>() },
  'PATCH /api/clients/{name}': {
    about:
      'changes what a client may do, null taking a limit off: expires, allowFrom, ' +
      'namesEndUsers, limits, models',
    body: 'clientChanges',
    answers: shape<ChangeView>(),
  },
  'DELETE /api/clients/{name}': {
    about: 'ends the keys of a client and removes it: ?force=true',
    query: 'removal',
    answers: shape<ChangeView>(),
  },
  'POST /api/clients/{name}/rotate': {
    about: 'a new key: grace, compromised, force',
    body: 'rotation',
    idempotencyKey: true,
    answers: shape<RotateView>(),
  },
  'POST /api/clients/{name}/rollback': {
    about: 'the key before the active one is active again: from, the active key that this is for',
    body: 'rollback',
    answers: shape<ChangeView>(),
  },
  'POST /api/clients/{name}/disable': {
    about: 'refuses the keys of a client from now on',
    answers: shape<ChangeView>(),
  },
  'POST /api/clients/{name}/enable': {
    about: 'accepts the keys of a client again',
    answers: shape<ChangeView>(),
  },
  'POST /api/generations/{id}/revoke': {
    about: 'ends one key at once: force, compromised',
    body: 'revocation',
    answers: shape<ChangeView>(),
  },
  'GET /api/generations/{id}/who': { about: 'who uses a key', answers: shape<WhoView>() },
  'GET /api/upstream': {
    about: "LiteLLM's own key and configuration",
    answers: shape<UpstreamView>(),
  },
  'POST /api/upstream/rotate': {
    about: 'a LiteLLM with a new key takes over; the handover that is answered tells how far it is',
    status: 202,
    answers: shape<HandoverView>(),
  },
  'POST /api/upstream/reload': {
    about: 'a LiteLLM with the configuration as it is now takes over: dryRun',
    body: 'reload',
    status: 202,
    answers: shape<HandoverView>(),
  },
  'GET /api/upstream/handovers': {
    about: 'the last 20 handovers, the latest first',
    answers: shape<{ readonly handovers: readonly HandoverView[] }>(),
  },
  'GET /api/upstream/handovers/{id}': { about: 'one handover', answers: shape<HandoverView>() },
  'POST /api/upstream/salt-key': {
    about: 'a new LITELLM_SALT_KEY, which is stored nowhere',
    repeatable: true,
    answers: shape<SaltKeyView>(),
  },
  'GET /api/audit': {
    about: 'lines of the audit, the oldest first: ?after=0&limit=200',
    query: 'auditPage',
    answers: shape<{ readonly lines: readonly AuditLine[]; readonly count: number }>(),
  },
  'GET /api/usage': {
    about: 'requests, tokens and cost: ?by=client|model|key|hour|day&since=7d&client=&model=',
    query: 'usage',
    answers: shape<UsageReport>(),
  },
  'POST /api/usage/save': {
    about: 'writes into usage.db what is not in there yet',
    repeatable: true,
    answers: shape<UsageStoreView>(),
  },
  'GET /api/audit/verify': { about: 'whether the audit is whole', answers: shape<AuditVerdict>() },
  'GET /api/live': {
    about: 'traffic as it goes, an event each second',
    stream: true,
    answers: shape<LiveEvent>(),
  },
  'GET /api/refusals': {
    about: 'the last 100 requests that were refused, the latest first',
    answers: shape<{ readonly refusals: readonly RefusedView[] }>(),
  },
  'GET /api/tombstones': {
    about: 'ended keys that came back, and who presented them since',
    answers: shape<{ readonly tombstones: readonly WhoView[] }>(),
  },
  'GET /api/openapi.json': {
    about: 'this API as OpenAPI 3.1',
    answers: shape<Readonly<Record<string, unknown>>>(),
  },
} as const satisfies Readonly<Record<`${Method} /api/${string}`, Endpoint>>;

/** `POST /api/clients` */
export type AdminRoute = keyof typeof ENDPOINTS;

/** The routes that answer with a stream of events. */
export type StreamRoute = {
  [R in AdminRoute]: (typeof ENDPOINTS)[R] extends { readonly stream: true } ? R : never;
}[AdminRoute];

/** The document that a route answers, or of a stream each event. */
export type AnswerOf<R extends AdminRoute> =
  (typeof ENDPOINTS)[R]['answers'] extends Shape<infer T> ? T : never;

type SchemaOf<R extends AdminRoute, Part extends 'body' | 'query'> =
  (typeof ENDPOINTS)[R] extends Readonly<Record<Part, infer Name extends FieldSet>>
    ? (typeof FIELDS)[Name]
    : (typeof FIELDS)['nothing'];

/** Body or query of a route as a client writes them: `24h`. */
export type SentOf<R extends AdminRoute, Part extends 'body' | 'query'> = z.input<
  SchemaOf<R, Part>
>;

/** Body or query of a route as they were read: 86,400,000 ms. */
export type ReadOf<R extends AdminRoute, Part extends 'body' | 'query'> = z.output<
  SchemaOf<R, Part>
>;
