import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { digestOf } from '../../keyring/key.ts';
import { plainAddress } from '../../proxy/address.ts';
import { createFailureLimiter } from '../../proxy/failure-limiter.ts';
import type { Problem } from './http.ts';

/** Wrong tokens in a minute from one address; who has the right one is never locked out. */
const FAILURES_PER_MINUTE = 10;

/**
 * Tells who asks, such as `api:10.0.0.7`, or why that caller may not.
 *
 * @param tokenDigest `digestOf` of the token that opens the admin API
 */
export function createTokenGuard(tokenDigest: string) {
  const expected = Buffer.from(tokenDigest);
  const limiter = createFailureLimiter(FAILURES_PER_MINUTE, () => performance.now());
  return ({ headers, socket }: IncomingMessage): string | Problem => {
    const address = plainAddress(socket.remoteAddress ?? '');
    const token = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (token === undefined) return missing;
    // Digests are compared: they have one length, and a caller cannot choose their bytes.
    if (timingSafeEqual(Buffer.from(digestOf(token)), expected)) return `api:${address}`;
    const wait = limiter.count(address);
    return wait === undefined ? wrong : tooMany(wait);
  };
}

// RFC 6750 §3: a caller without a token is told the scheme alone.
const missing: Problem = {
  code: 'unauthorized',
  detail: 'the admin API wants its token',
  hints: ['send `authorization: Bearer` and the value of SIDECAR_ADMIN_TOKEN'],
  headers: { 'www-authenticate': 'Bearer' },
};

const wrong: Problem = {
  code: 'unauthorized',
  detail: 'that is not the token of the admin API',
  hints: ['it is the value of SIDECAR_ADMIN_TOKEN; a client key does not open this API'],
  headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
};

const tooMany = (seconds: number): Problem => ({
  code: 'too_many_failures',
  detail: `too many wrong tokens from this address; the next try is in ${seconds} s`,
  headers: { 'retry-after': String(seconds) },
});
