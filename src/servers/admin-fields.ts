import { z } from 'zod';
import { blocks } from '../config/kinds.ts';
import { type Reading, readAs, readSpan } from '../config/units.ts';
import { SCOPES } from '../keyring/keyring.ts';
import { nearest } from '../text/nearest.ts';

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
