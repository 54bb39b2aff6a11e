import { randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const RANDOM_LENGTH = 42;
/** 62^6 is above 2^32: every CRC-32 fits. */
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
 * `randomInt` rejects what would bias a modulo.
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
