import { hash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** A shorter key could be guessed; LiteLLM's Helm chart makes keys of 18 characters. */
const SHORTEST = 12;
/** A shorter key, of less than about 190 bits of letters and digits, is taken with a warning. */
const COMFORTABLE = 32;
/** Values from tutorials, from LiteLLM's own documents and from example files. */
const KNOWN = [
  /^(?:sk-)?(?:1234\d*|x+|\*+|\.+|test|secret|key|master-?key|password|changeit|todo)$/i,
  /^(?:sk-)?(?:litellm(?:-master-key)?|my-?(?:secret-?)?key)$/i,
  /^(?:sk-)?(?:change-?me|replace|your|example|placeholder|<|\$\{)/i,
];

type DeclaredKeyCheck =
  | { readonly ok: true; readonly warning?: string }
  | { readonly ok: false; readonly reason: string };

/**
 * Whether a key that the operator set may guard the gateway. Such a key needs no checksum, but must
 * not be one that everybody knows. Neither the reason nor the warning holds the value.
 */
export function checkDeclaredKey(value: string): DeclaredKeyCheck {
  const refuse = (reason: string): DeclaredKeyCheck => ({ ok: false, reason });
  if (!/^[\x21-\x7e]*$/.test(value)) return refuse('it has spaces or characters outside ASCII');
  if (KNOWN.some((known) => known.test(value)))
    return refuse('it is a value that everybody knows, or a placeholder');
  if (value.length < SHORTEST) {
    return refuse(`it has ${value.length} characters; at least ${SHORTEST} are needed`);
  }
  const body = value.startsWith('sk-') ? value.slice(3) : value;
  if (new Set(body).size < 3) return refuse('it repeats one or two characters');
  if (value.length >= COMFORTABLE) return { ok: true };
  return {
    ok: true,
    warning: `it has only ${value.length} characters; replace it by one of \`sidecar key new\``,
  };
}

/**
 * SHA-256 of a key: keys are kept and compared in no other form. How long a look-up by the digest
 * of 250 random bits takes tells an attacker nothing.
 */
export const digestOf = (key: string): string => hash('sha256', key, 'base64url');

/** As a clients file has it. */
export const showDigest = (digest: string): string =>
  `sha256:${Buffer.from(digest, 'base64url').toString('hex')}`;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const RANDOM_LENGTH = 42;
/** Every CRC-32 fits into six digits, as 62^6 is above 2^32. */
const CHECKSUM_LENGTH = 6;
const WELL_FORMED = /^sk-([A-Za-z0-9]{42})([A-Za-z0-9]{6})$/;

function checksumOf(random: string): string {
  let rest = crc32(random);
  let digits = '';
  for (let place = 0; place < CHECKSUM_LENGTH; place++) {
    digits = ALPHABET.charAt(rest % ALPHABET.length) + digits;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return digits;
}

/**
 * A fresh client key: `sk-`, 42 random letters and digits (about 250 bits) and their CRC-32 in six
 * base-62 digits, so that a secret scanner can tell a key from a word that looks like one.
 * `randomInt` has no modulo bias.
 */
export function generateKey(): string {
  let random = '';
  for (let place = 0; place < RANDOM_LENGTH; place++) {
    random += ALPHABET.charAt(randomInt(ALPHABET.length));
  }
  return `sk-${random}${checksumOf(random)}`;
}

/** Whether a value has the form of a key that `generateKey` made, its checksum included. */
export function isWellFormedKey(value: string): boolean {
  const [, random, checksum] = WELL_FORMED.exec(value) ?? [];
  return random !== undefined && checksum === checksumOf(random);
}
