import { z } from 'zod';
import { Secret } from '../secret.ts';
import { nearest } from '../text/nearest.ts';
import { got, type Kind, reading, wrong } from './kind.ts';

/** A whole number from `least` to `most`. */
export const integer = (least: number, most: number): Kind<number> => ({
  schema: z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(least).max(most)),
  allowed: `a whole number from ${least} to ${most}`,
  show: String,
});

/** A TCP port; 0 takes a free one. */
export const port: Kind<number> = {
  ...integer(0, 65_535),
  allowed: 'a port from 1 to 65535, or 0 for a free one',
};

export const flag: Kind<boolean> = {
  schema: z.stringbool({
    truthy: ['true', '1', 'yes', 'on'],
    falsy: ['false', '0', 'no', 'off'],
  }),
  allowed: 'true or false',
  show: String,
};

/** One word of a closed set, in any case. */
export const oneOf = <const W extends string>(words: readonly W[]): Kind<W> => ({
  schema: reading((text) => {
    const word = words.find((each) => each === text.toLowerCase());
    if (word !== undefined) return got(word);
    const near = nearest(text.toLowerCase(), words);
    return wrong(near === undefined ? '' : `did you mean ${near}?`);
  }),
  allowed: words.join(', '),
  show: (word) => word,
});

/** A file or a folder; relative ones start where the sidecar was started. */
export const path: Kind<string> = {
  schema: reading((text) => (text === '' || text.includes('\0') ? wrong() : got(text))),
  allowed: 'the path of a file or a folder',
  show: (text) => text,
};

const secretOf = (pattern: RegExp, allowed: string): Kind<Secret> => ({
  schema: z
    .string()
    .regex(pattern)
    .transform((text) => new Secret(text)),
  allowed,
  secret: true,
  show: String,
});

/** The declared key: whether it is a good one is the keyring's to say. */
export const declaredSecret = secretOf(/./s, 'a key');

/** A key that goes into a header: visible ASCII (RFC 9110 §5.5), no spaces. */
export const headerSecret = secretOf(
  /^[\x21-\x7e]+$/,
  'a key of visible ASCII characters without spaces',
);

/** A password that programs present: long enough that nobody guesses it. */
export const tokenSecret = secretOf(
  /^[\x21-\x7e]{16,}$/,
  'at least 16 visible ASCII characters without spaces, such as `openssl rand -hex 24` makes',
);
