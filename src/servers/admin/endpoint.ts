import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { blocks } from '../../config/kinds.ts';
import { type Reading, readAs, readSpan } from '../../config/units.ts';
import type { UpstreamAdmin } from '../../handover/contracts.ts';
import type { AuditLine, AuditVerdict } from '../../keyring/audit.ts';
import { SCOPES } from '../../keyring/keyring.ts';
import type { Actor, KeyAdmin } from '../../rotation/admin.ts';
import { nearest } from '../../text/nearest.ts';
import { type Answer, jsonAnswer, type Problem } from './http.ts';

/** A phrase behind the name of a field, with what to do where that is known. */
const phrase = (allowed: string, hint = ''): string => `${allowed}${hint && `; ${hint}`}`;

const SPAN = 'must be text: a number and its unit, such as 30s, 5m, 24h or 7d, or 0; at most 3650d';

/** A schema of a function that reads text; `allowed` says what may be written. */
const read = <T>(allowed: string, reader: (text: string) => Reading<T>) => {
  const hintTo = (text: string): string => {
    const reading = reader(text);
    return phrase(allowed, 'hint' in reading ? reading.hint : '');
  };
  // A number where its text is wanted, `5`, has the same hint as the text.
  const error = ({ input }: { input?: unknown }) =>
    typeof input === 'number' ? hintTo(String(input)) : allowed;
  return z.string({ error }).transform((text, context) => {
    const reading = reader(text);
    if ('value' in reading) return reading.value;
    context.addIssue({ code: 'custom', message: hintTo(text) });
    return z.NEVER;
  });
};

/** Milliseconds of a text with a unit. */
const span = read(SPAN, readSpan);

const BLOCK = 'must be an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8';

/** As the settings read it; one alone, for a list without any place would be "from anywhere". */
const block = read(BLOCK, (text): Reading<string> => {
  const reading = readAs(blocks, text.trim());
  if ('hint' in reading) return reading;
  const [one, ...more] = reading.value;
  return one === undefined || more.length > 0 ? { hint: '' } : { value: one };
});

const text = z.string({ error: 'must be text' }).min(1, { error: 'must not be empty' });
const flag = z.boolean({ error: 'must be true or false' });
const scopes = z
  .array(z.enum(SCOPES, { error: `must be one of ${SCOPES.join(', ')}` }), {
    error: 'must be a list, such as ["inference"]',
  })
  .min(1, { error: `must name one at least of ${SCOPES.join(', ')}` });

export const NOTHING = z.strictObject({});

export const NEW_CLIENT = z.strictObject({
  name: text,
  scopes: scopes.optional(),
  expires: span.optional(),
  allowFrom: z.array(block, { error: 'must be a list, such as ["10.0.0.0/8"]' }).optional(),
});

export const ROTATION = z.strictObject({
  grace: span.optional(),
  compromised: flag.optional(),
  force: flag.optional(),
});

export const REVOCATION = z.strictObject({ force: flag.optional(), compromised: flag.optional() });

export const RELOAD = z.strictObject({ dryRun: flag.optional() });

const queryFlag = z.enum(['true', 'false'], { error: 'must be true or false' });

export const REMOVAL = z.strictObject({
  force: queryFlag.transform((word) => word === 'true').optional(),
});

const wholeNumber = (least: number, most: number) =>
  read(`must be a whole number from ${least} to ${most}`, (digits): Reading<number> => {
    const number = /^\d{1,15}$/.test(digits) ? Number(digits) : -1;
    return number >= least && number <= most ? { value: number } : { hint: '' };
  });

export const AUDIT_PAGE = z.strictObject({
  after: wholeNumber(0, 999_999_999_999_999).optional(),
  limit: wholeNumber(1, 1000).optional(),
});

/** The fields by their schema, or every mistake in them. */
export function readFields<T extends z.ZodObject>(
  schema: T,
  fields: object,
  word: 'field' | 'parameter',
): { readonly value: z.output<T> } | { readonly mistakes: readonly string[] } {
  const result = schema.safeParse(fields);
  if (result.success) return { value: result.data };
  const known = Object.keys(schema.shape);
  const mistakes = result.error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((name) => unknownName(name, known, word))
      : [`${placeOf(issue.path)}: ${issue.message}`],
  );
  return { mistakes };
}

/** `allowFrom[2]` */
const placeOf = (path: readonly PropertyKey[]): string =>
  path.map((part, at) => (at === 0 ? String(part) : `[${String(part)}]`)).join('');

function unknownName(name: string, known: readonly string[], word: string): string {
  // What is longer than any name is not repeated: it may be a key that was put in the wrong place.
  const shown = /^[\w.-]{1,16}$/.test(name) ? `unknown ${word} ${name}` : `an unknown ${word}`;
  const near = nearest(name, known);
  if (near !== undefined) return `${shown}; did you mean ${near}?`;
  return `${shown}; ${known.length === 0 ? 'there are none here' : `known: ${known.join(', ')}`}`;
}

/** The parameters of a query; each may stand once. */
export function readQuery(
  query: string,
): { readonly fields: object } | { readonly mistakes: string[] } {
  const pairs = [...new URLSearchParams(query)];
  const names = new Set(pairs.map(([name]) => name));
  return names.size === pairs.length
    ? { fields: Object.fromEntries(pairs) }
    : { mistakes: ['a parameter stands twice'] };
}

const VISIBLE = /^[\x21-\x7e]{1,255}$/;

/** The value of `Idempotency-Key`, plain or as the quoted string that its draft asks for. */
export function readIdempotencyKey(
  header: string | undefined,
): { readonly key: string | undefined } | { readonly mistakes: readonly string[] } {
  if (header === undefined) return { key: undefined };
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1];
  const key = quoted === undefined ? header : quoted.replace(/\\(.)/g, '$1');
  const isWhole = quoted !== undefined || !header.startsWith('"');
  return isWhole && VISIBLE.test(key)
    ? { key }
    : { mistakes: ['Idempotency-Key: must be 1 to 255 visible ASCII characters'] };
}

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
