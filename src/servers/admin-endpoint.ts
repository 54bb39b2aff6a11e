import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { UpstreamAdmin } from '../handover/contracts.ts';
import type { AuditLine, AuditVerdict } from '../keyring/audit.ts';
import type { Actor, KeyAdmin } from '../rotation/admin.ts';
import { nearest } from '../text/nearest.ts';
import { NOTHING, readFields, readIdempotencyKey, readQuery } from './admin-fields.ts';
import { type Answer, jsonAnswer, type Problem } from './admin-problem.ts';

/** The audit, as far as it is read from outside. */
export interface AuditReader {
  /** Lines with a number above `after`, the oldest first; `count` is that of the whole audit. */
  read(
    after: number,
    limit: number,
  ): Promise<{ readonly lines: readonly AuditLine[]; readonly count: number }>;
  verify(): Promise<AuditVerdict>;
}

/** Whom the endpoints ask. */
export interface AdminParts {
  readonly admin: KeyAdmin;
  readonly upstream: UpstreamAdmin;
  readonly audit: AuditReader;
}

/** A request to an endpoint, read and found good. */
export interface Call<B, Q> {
  /** What `{name}` or `{id}` stands for; '' where the path has neither. */
  readonly target: string;
  readonly body: B;
  readonly query: Q;
  /** Where the endpoint takes one. */
  readonly idempotencyKey: string | undefined;
  readonly by: Actor;
}

interface RawCall {
  readonly target: string;
  readonly fields: object;
  readonly query: string;
  readonly headers: IncomingMessage['headers'];
  readonly by: Actor;
}

export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** With one `{name}` or `{id}` at most. */
  readonly path: string;
  readonly about: string;
  /** Rejects with what a verb rejects with; no verb is called where anything is a mistake. */
  answer(parts: AdminParts, call: RawCall): Promise<Answer | Problem>;
}

interface Takes<B, Q> {
  readonly body?: B;
  readonly query?: Q;
  readonly idempotencyKey?: true;
  /** 201: it is made; 202: it has begun. The default is 200. */
  readonly status?: 201 | 202;
}

/** @param route method and path, as a row of the table shows them */
export function endpoint<
  B extends z.ZodObject = typeof NOTHING,
  Q extends z.ZodObject = typeof NOTHING,
>(
  route: `${Endpoint['method']} /api/${string}`,
  about: string,
  takes: Takes<B, Q>,
  verb: (parts: AdminParts, call: Call<z.output<B>, z.output<Q>>) => unknown,
): Endpoint {
  const [method, path] = route.split(' ') as [Endpoint['method'], string];
  const bodySchema = (takes.body ?? NOTHING) as B;
  const querySchema = (takes.query ?? NOTHING) as Q;
  return {
    method,
    path,
    about,
    async answer(parts, { target, fields, query, headers, by }) {
      const parameters = readQuery(query);
      const readings = [
        readFields(bodySchema, fields, 'field'),
        'mistakes' in parameters
          ? parameters
          : readFields(querySchema, parameters.fields, 'parameter'),
        takes.idempotencyKey === true
          ? readIdempotencyKey(headers['idempotency-key']?.toString())
          : { key: undefined },
      ] as const;
      const [body, parsedQuery, idempotency] = readings;
      if ('mistakes' in body || 'mistakes' in parsedQuery || 'mistakes' in idempotency) {
        return mistaken(readings.flatMap((each) => ('mistakes' in each ? each.mistakes : [])));
      }
      const call = { target, by, idempotencyKey: idempotency.key };
      const result = verb(parts, { ...call, body: body.value, query: parsedQuery.value });
      return jsonAnswer(takes.status ?? 200, await result);
    },
  };
}

function mistaken(mistakes: readonly string[]): Problem {
  const [only = ''] = mistakes;
  const detail = mistakes.length === 1 ? only : `the request has ${mistakes.length} mistakes`;
  return { code: 'bad_request', detail, mistakes };
}

/** The endpoint that a request means, and what its path names. */
export function findEndpoint(
  endpoints: readonly Endpoint[],
  method: string,
  path: string,
): { readonly endpoint: Endpoint; readonly target: string } | Problem {
  const segments = decodeSegments(path);
  if (segments === undefined) {
    return { code: 'bad_request', detail: 'the path holds a % that encodes nothing' };
  }
  const there = endpoints.filter((each) => matches(each.path, segments));
  if (there.length === 0) return notFound(endpoints, segments);
  const wanted = method === 'HEAD' ? 'GET' : method;
  const found = there.find((each) => each.method === wanted);
  if (found === undefined) return notAllowed(there);
  const at = found.path.split('/').findIndex(isPlaceholder);
  return { endpoint: found, target: segments[at] ?? '' };
}

/** Decoded once: `%252F` names a client with `%2F` in its name, and there is none. */
function decodeSegments(path: string): readonly string[] | undefined {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

const isPlaceholder = (part: string): boolean => part.startsWith('{');

function matches(pattern: string, segments: readonly string[]): boolean {
  const parts = pattern.split('/');
  return (
    parts.length === segments.length &&
    parts.every((part, at) => (isPlaceholder(part) ? segments[at] !== '' : part === segments[at]))
  );
}

const show = ({ method, path, about }: Endpoint): string => `${method} ${path}  ${about}`;

function notFound(endpoints: readonly Endpoint[], segments: readonly string[]): Problem {
  /** By what it would be with this request's own name in it. */
  const patterns = new Map(
    endpoints.map(({ path }) => [
      path
        .split('/')
        .map((part, at) => (isPlaceholder(part) ? (segments[at] ?? part) : part))
        .join('/'),
      path,
    ]),
  );
  const near = patterns.get(nearest(segments.join('/'), [...patterns.keys()]) ?? '');
  const hints = near === undefined ? [] : [`did you mean ${near}?`];
  return {
    code: 'not_found',
    detail: 'there is nothing at this path',
    hints: [...hints, ...endpoints.map(show)],
  };
}

function notAllowed(there: readonly Endpoint[]): Problem {
  const methods = there.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  const allow = methods.join(', ');
  return {
    code: 'method_not_allowed',
    detail: `allowed here: ${allow}`,
    hints: there.map(show),
    headers: { allow },
  };
}
