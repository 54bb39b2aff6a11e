import { hash } from 'node:crypto';

/**
 * SHA-256 of a key, the only form in which keys are kept and compared. A look-up by the digest of
 * 250 random bits tells an attacker nothing by how long it takes.
 */
export const digestOf = (key: string): string => hash('sha256', key, 'base64url');
