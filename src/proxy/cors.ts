import { type Head, hasBody } from './head.ts';

/** Which pages in a browser may read answers here, by the origin that a page is of. */
export interface Cors {
  /** The origin of a request, if a page of it may read the answer. */
  reader(origin: string | undefined): string | undefined;
  /** `Access-Control-Allow-Origin` for such a page. */
  allow(reader: string): [name: string, value: string];
  /** Leaves of LiteLLM's answer, which any page may read, no more than this gateway allows. */
  narrow(headers: string[], reader: string | undefined): void;
}

/** @param origins those that are allowed; none are given: every origin, as LiteLLM has it */
export function createCors(origins: readonly string[]): Cors {
  if (origins.length === 0) {
    return {
      reader: (origin) => origin,
      allow: () => [ALLOW_ORIGIN, '*'],
      narrow: () => undefined,
    };
  }
  const listed = new Set(origins);
  return {
    reader: (origin) => (origin !== undefined && listed.has(origin) ? origin : undefined),
    allow: (reader) => [ALLOW_ORIGIN, reader],
    narrow(headers, reader) {
      for (let at = headers.length - 2; at >= 0; at -= 2) {
        if (headers[at]?.toLowerCase() === ALLOW_ORIGIN) headers.splice(at, 2);
      }
      if (reader !== undefined) headers.push(ALLOW_ORIGIN, reader);
      // Caches must not give the answer for one origin to a page of another.
      headers.push('vary', 'Origin');
    },
  };
}

const ALLOW_ORIGIN = 'access-control-allow-origin';

/**
 * A CORS preflight (Fetch standard, "CORS-preflight request"). It carries no key, so it is answered
 * here, and neither held nor forwarded.
 */
export const isPreflight = (head: Head): boolean =>
  head.method === 'OPTIONS' &&
  head.origin !== undefined &&
  head.requestMethod !== undefined &&
  !hasBody(head);

/** What LiteLLM's own answer names (Starlette, middleware/cors.py). */
const METHODS = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT';
/** Seconds that a browser keeps the answer, as LiteLLM has it. */
const MAX_AGE = '600';

/** The fields that answer a preflight: what LiteLLM's own answer allows. */
export function preflightFields({ names, values }: Head): string[] {
  const at = names.indexOf('access-control-request-headers');
  return [
    ...['access-control-allow-methods', METHODS],
    ...(at < 0 ? [] : ['access-control-allow-headers', values[at] ?? '']),
    ...['access-control-max-age', MAX_AGE],
    ...['vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'],
  ];
}
