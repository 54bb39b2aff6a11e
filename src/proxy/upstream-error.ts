import type { UpstreamErrorKind } from './exchange-record.ts';

/** What a failed dispatch means for the request. */
export type Failure =
  /** Nothing was sent, and LiteLLM cannot be reached. */
  | { readonly kind: 'away' }
  /** Nothing was sent, but only because this connection had just ended. */
  | { readonly kind: 'stale' }
  /** It was sent, and no answer came. */
  | { readonly kind: 'died'; readonly error: UpstreamErrorKind }
  /** undici would not send it. */
  | { readonly kind: 'unsendable' };

const codeOf = (error: Error): string => ('code' in error ? String(error.code) : '');

/**
 * Reads an error of undici's.
 *
 * @param sent whether the request had been written to a socket
 */
export function readFailure(error: Error, sent: boolean): Failure {
  const code = codeOf(error);
  if (sent) {
    const isProtocol = error.name === 'HTTPParserError' || isProtocolError(code);
    return { kind: 'died', error: isProtocol ? 'protocol' : 'reset' };
  }
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') return { kind: 'stale' };
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
    return { kind: 'unsendable' };
  }
  return { kind: 'away' };
}

/**
 * Node's errors of llhttp, undici's own about the answer, and Node's about fields it will not
 * write. undici's errors of llhttp are known by their name: their code is missing.
 */
const isProtocolError = (code: string): boolean =>
  code.startsWith('HPE_') ||
  code.startsWith('UND_ERR_RES') ||
  code === 'UND_ERR_HEADERS_OVERFLOW' ||
  code.startsWith('ERR_INVALID_') ||
  code.startsWith('ERR_HTTP_');
