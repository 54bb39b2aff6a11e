import { type Refusal, refusal } from '../refusal.ts';
import { type Head, MOST_FIELDS } from './head.ts';

/** A request target that means the same to every parser on its way. */
export interface Target {
  /** Percent-decoded once, the root path removed: what LiteLLM's router will match. */
  readonly path: string;
  /** The target's path and query, byte for byte; the query without its question mark. */
  readonly rawPath: string;
  readonly rawQuery: string | undefined;
}

/** A path with nothing to decode and nothing to doubt: that of nearly every request. */
const PLAIN = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9_~.:@-]*)+\/?$/;
/** RFC 3986 without the fragment, the backslash and the characters it never allows. */
const ALLOWED = /^[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+$/;
/**
 * What hides something from whoever decodes only once: after decoding there still is an encoded
 * separator, control character, or character that needs no encoding at all (RFC 3986 §2.3).
 */
const ENCODED_TWICE = /%(?:2[35d-f]|3[0-9abf]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9aef]|[01])/i;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are looked for.
const UNSAFE_DECODED = /[\x00-\x1f\x7f-\x9f\\;?#]/;
const CARRIES_NO_CHUNKED_BODY = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

const bad = (message: string): Refusal => refusal('bad_target', message);

/**
 * Reads the request target in origin-form (RFC 9112 §3.2.1). Whatever two parsers could read in two
 * ways is refused rather than cleaned: the bytes that were judged are the bytes that are sent.
 *
 * @param rootPath LiteLLM's SERVER_ROOT_PATH, '' or like `/llm`
 */
export function readTarget(target: string, rootPath: string): Target | Refusal {
  const mark = target.indexOf('?');
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  const rawQuery = mark < 0 ? undefined : target.slice(mark + 1);
  if (!rawPath.startsWith('/')) return bad('the request target must be a path that begins with /');
  if (rawQuery !== undefined && !/^[\x21\x22\x24-\x7e]*$/.test(rawQuery)) {
    return bad('the query holds a character that a URL cannot hold');
  }
  const path = PLAIN.test(rawPath) ? rawPath : decodePath(rawPath);
  if (typeof path !== 'string') return path;
  return { path: withoutRoot(path, rootPath), rawPath, rawQuery };
}

function decodePath(rawPath: string): string | Refusal {
  if (!ALLOWED.test(rawPath)) return bad('the path holds a character that a URL cannot hold');
  let path: string;
  try {
    path = decodeURIComponent(rawPath);
  } catch {
    return bad('the path holds a percent-encoding that is not UTF-8');
  }
  if (UNSAFE_DECODED.test(path)) {
    return bad('the path holds a backslash, a semicolon, `?`, `#` or a control character');
  }
  if (ENCODED_TWICE.test(path)) return bad('the path is percent-encoded twice');
  const segments = path.split('/').slice(1);
  // `//` is one slash to some parsers and two to others; and a DELETE of `/v1/files/s3://bucket/x`
  // would delete an object of the operator's own storage.
  const empty = segments.indexOf('');
  if (empty >= 0 && empty < segments.length - 1) return bad('the path holds an empty segment');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    return bad('the path holds a dot segment');
  }
  return path;
}

function withoutRoot(path: string, rootPath: string): string {
  if (rootPath === '' || !path.startsWith(rootPath)) return path;
  const rest = path.slice(rootPath.length);
  if (rest === '') return '/';
  return rest.startsWith('/') ? rest : path;
}

/**
 * Refuses what two HTTP parsers could frame in two ways (RFC 9112 §6.1, §6.3, §11.2). Node refuses
 * some of these by itself; all of them stand here, so that no change of Node's opens one.
 */
export function checkFraming(head: Head): Refusal | undefined {
  const refuse = (message: string): Refusal => refusal('bad_request', message);
  const { transferEncoding } = head;
  // Beyond its own limit Node hides fields by which its parser frames the body all the same.
  if (head.names.length > MOST_FIELDS) {
    return refusal('headers_too_large', `the head has more than ${MOST_FIELDS} fields`);
  }
  if (!head.http1) return refuse('only HTTP/1.0 and HTTP/1.1 are served');
  if (head.method === 'CONNECT')
    return refuse('this is not a forward proxy: CONNECT is not served');
  // The answer to TRACE repeats the request, with LiteLLM's key in it (RFC 9110 §9.3.8).
  if (head.method === 'TRACE') return refuse('TRACE is not served');
  if (head.repeated.has('host')) return refuse('Host stands twice');
  if (head.host === undefined && !head.http10) return refuse('HTTP/1.1 wants a Host');
  if (head.repeated.has('content-length')) return refuse('Content-Length stands twice');
  if (transferEncoding === undefined) return undefined;
  if (head.contentLength !== undefined) {
    return refuse('Content-Length and Transfer-Encoding stand together');
  }
  if (head.repeated.has('transfer-encoding') || transferEncoding.toLowerCase() !== 'chunked') {
    return refuse('only the transfer coding "chunked", once, is served');
  }
  if (head.http10) return refuse('HTTP/1.0 knows no Transfer-Encoding');
  if (CARRIES_NO_CHUNKED_BODY.has(head.method)) {
    return refuse(`a ${head.method} request with a chunked body is not served`);
  }
  return undefined;
}
