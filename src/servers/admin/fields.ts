import * as z from 'zod';
import { blocks, modelGlob } from '../../config/kinds.ts';
import { amount, dollars, type Kind, type Reading, readSpan } from '../../config/units.ts';
import { LIMIT_MODES } from '../../keyring/client-limits.ts';
import { SCOPES } from '../../keyring/keyring.ts';
import { USAGE_GROUPS } from '../../store/usage-database.ts';
import { nearest } from '../../text/nearest.ts';
import { readSince, SINCE_WANTS } from '../../usage/report.ts';

/**
 * A schema of text that `reader` reads; `allowed` says, behind the name of the field, what may be
 * written, and the reader's hint stands behind that.
 */
const read = <T>(allowed: string, reader: (text: string) => Reading<T>) => {
  const mistakeIn = (text: string): string => {
    const reading = reader(text);
    const hint = 'hint' in reading ? reading.hint : '';
    return hint === '' ? allowed : `${allowed}; ${hint}`;
  };
  // Who sends the number 5 where text is wanted gets the same hint as who sends the text "5".
  const error = ({ input }: { input?: unknown }) =>
    typeof input === 'number' ? mistakeIn(String(input)) : allowed;
  return z
    .string({ error })
    .describe(allowed)
    .transform((text, context) => {
      const reading = reader(text);
      if ('value' in reading) return reading.value;
      context.addIssue({ code: 'custom', message: mistakeIn(text) });
      return z.NEVER;
    });
};

/** A span with its unit, read as milliseconds. */
const span = read(
  'must be text: a number and its unit, such as 30s, 5m, 24h or 7d, or 0; at most 3650d',
  readSpan,
);

/**
 * One block, read as the settings read it. An entry without any block is refused: an empty list
 * would mean "from anywhere".
 */
const block = read(
  'must be an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8',
  (text): Reading<string> => {
    const reading = blocks.read(text.trim());
    if ('hint' in reading) return reading;
    const [one, ...more] = reading.value;
    return one === undefined || more.length > 0 ? { hint: '' } : { value: one };
  },
);

const text = z.string({ error: 'must be text' }).min(1, { error: 'must not be empty' });
const flag = z.boolean({ error: 'must be true or false' });
const scopes = z
  .array(z.enum(SCOPES, { error: `must be one of ${SCOPES.join(', ')}` }), {
    error: 'must be a list, such as ["inference"]',
  })
  .min(1, { error: `must name one at least of ${SCOPES.join(', ')}` });

/** An amount as a number or as people write it, `2M`; null: no limit. */
const limit = (kind: Kind<number>) =>
  z
    .union([z.string(), z.number().transform(String), z.null()], {
      error: `must be ${kind.allowed}, or null`,
    })
    .pipe(read(`must be ${kind.allowed}, or null`, kind.read).nullable())
    .transform((value) => value ?? undefined)
    .optional();

const limits = z.strictObject(
  {
    rpm: limit(amount),
    parallel: limit(amount),
    tokensPerDay: limit(amount),
    usdPerDay: limit(dollars),
    mode: z.enum(LIMIT_MODES, { error: `must be one of ${LIMIT_MODES.join(', ')}` }).optional(),
  },
  { error: 'must be an object, such as {"rpm": 60}; or null' },
);

const model = read(`must be ${modelGlob.allowed}`, (name) => modelGlob.read(name.trim()));

/** What a client may do; null is as if nobody had ever said anything of it. */
const rights = {
  expires: span
    .nullable()
    .transform((ms) => ms ?? undefined)
    .optional(),
  allowFrom: z
    .array(block, { error: 'must be a list, such as ["10.0.0.0/8"]' })
    .nullable()
    .transform((list) => list ?? [])
    .optional(),
  namesEndUsers: flag.optional(),
  limits: limits
    .nullable()
    .transform((changes) => changes ?? undefined)
    .optional(),
  models: z
    .array(model, { error: 'must be a list, such as ["gpt-4o*"]' })
    .nullable()
    .transform((list) => list ?? [])
    .optional(),
};

const queryFlag = z.enum(['true', 'false'], { error: 'must be true or false' });

const wholeNumber = (least: number, most: number) =>
  read(`must be a whole number from ${least} to ${most}`, (digits): Reading<number> => {
    const number = /^\d{1,15}$/.test(digits) ? Number(digits) : -1;
    return number >= least && number <= most ? { value: number } : { hint: '' };
  });

/** What the bodies and queries of the admin API may hold; unknown names are refused. */
export const FIELDS = {
  nothing: z.strictObject({}),
  newClient: z.strictObject({
    name: text,
    scopes: scopes.optional(),
    ...rights,
  }),
  clientChanges: z.strictObject(rights),
  rotation: z.strictObject({
    grace: span.optional(),
    compromised: flag.optional(),
    force: flag.optional(),
  }),
  rollback: z.strictObject({ from: text.optional() }),
  revocation: z.strictObject({ force: flag.optional(), compromised: flag.optional() }),
  reload: z.strictObject({ dryRun: flag.optional() }),
  removal: z.strictObject({
    force: queryFlag.transform((word) => word === 'true').optional(),
  }),
  usage: z.strictObject({
    by: z.enum(USAGE_GROUPS, { error: `must be one of ${USAGE_GROUPS.join(', ')}` }).optional(),
    since: read(`must be ${SINCE_WANTS}`, readSince).optional(),
    client: text.optional(),
    model: text.optional(),
  }),
  auditPage: z.strictObject({
    after: wholeNumber(0, 999_999_999_999_999).optional(),
    limit: wholeNumber(1, 1000).optional(),
  }),
} as const;

/** Reads the fields of a JSON body; adds to `mistakes` every one that it finds. */
export function readFields(
  schema: z.ZodObject,
  fields: object,
  mistakes: string[],
  word: 'field' | 'parameter' = 'field',
): unknown {
  const result = schema.safeParse(fields);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const place = placeOf(issue.path);
    const before = place === '' ? '' : `${place}: `;
    if (issue.code !== 'unrecognized_keys') {
      mistakes.push(`${before}${issue.message}`);
      continue;
    }
    // The one object that stands within another is that of the limits.
    const known = Object.keys(place === '' ? schema.shape : limits.shape);
    mistakes.push(...issue.keys.map((name) => `${before}${unknownName(name, known, word)}`));
  }
  return undefined;
}

/** Reads the parameters of a query, of which each may stand once. */
export function readQuery(schema: z.ZodObject, query: string, mistakes: string[]): unknown {
  const pairs = [...new URLSearchParams(query)];
  const fields = Object.fromEntries(pairs);
  if (Object.keys(fields).length === pairs.length)
    return readFields(schema, fields, mistakes, 'parameter');
  mistakes.push('a parameter stands twice');
  return undefined;
}

/** Where a mistake stands: `allowFrom[2]`, `limits.rpm`. */
const placeOf = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .slice(1);

function unknownName(name: string, known: readonly string[], word: string): string {
  // A long name is not repeated: it may be a key that somebody put in the wrong place.
  const shown = /^[\w.-]{1,16}$/.test(name) ? `unknown ${word} ${name}` : `an unknown ${word}`;
  const near = nearest(name, known);
  if (near !== undefined) return `${shown}; did you mean ${near}?`;
  return `${shown}; ${known.length === 0 ? 'there are none here' : `known: ${known.join(', ')}`}`;
}

const VISIBLE = /^[\x21-\x7e]{1,255}$/;

/**
 * Reads the value of `Idempotency-Key`: plain, or as the quoted string (RFC 8941 §3.3.3) that
 * draft-ietf-httpapi-idempotency-key-header asks for.
 */
export function readIdempotencyKey(
  header: string | undefined,
  mistakes: string[],
): string | undefined {
  if (header === undefined) return undefined;
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1];
  const key = quoted === undefined ? header : quoted.replace(/\\(.)/g, '$1');
  const isWhole = quoted !== undefined || !header.startsWith('"');
  if (isWhole && VISIBLE.test(key)) return key;
  mistakes.push('Idempotency-Key: must be 1 to 255 visible ASCII characters');
  return undefined;
}
