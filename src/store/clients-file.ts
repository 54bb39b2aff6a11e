import * as z from 'zod';
import { blocks, modelGlob } from '../config/kinds.ts';
import { amount, dollars, got, type Kind, type Reading, wrong } from '../config/units.ts';
import { LIMIT_MODES } from '../keyring/client-limits.ts';
import { digestOf } from '../keyring/key.ts';
import { MOST_VALID, SCOPES } from '../keyring/keyring.ts';
import { mayHoldKey } from '../text/safe.ts';

const DIGEST_FORM = /^sha256:(?:([0-9a-f]{64})|([\w-]{43})=?)$/i;
const DIGEST_ALLOWED = 'the digest of a key as `sidecar key digest` prints it: sha256:…';

/** Of keys that nobody has alone: the one of every tutorial, and what an empty file holds. */
const EVERYBODYS = new Set(['sk-1234', 'sk-1234\n', '', '\n'].map(digestOf));

/** SHA-256 in base64url of `sha256:` and hex or base64url digits. */
export function readDigest(text: string): Reading<string> {
  const [, hex, base64url] = DIGEST_FORM.exec(text) ?? [];
  const digest = hex === undefined ? base64url : Buffer.from(hex, 'hex').toString('base64url');
  if (digest === undefined) return wrong(digestHint(text));
  return EVERYBODYS.has(digest) ? wrong('everybody knows the key of this digest') : got(digest);
}

function digestHint(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return 'put sha256: before it';
  if (!text.startsWith('sk-') && !mayHoldKey(text)) return '';
  return 'that is a key itself, and whoever reads this file has it: make a new one';
}

const INSTANT =
  /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?) ?([Zz]|[+-]\d\d:\d\d))?$/;

/** Milliseconds since the epoch of a day, which begins at 00:00 UTC, or of an instant. */
function readInstant(text: string): Reading<number> {
  const [, day = '', time = '00:00', zone = 'Z'] = INSTANT.exec(text) ?? [];
  const midnight = Date.parse(`${day}T00:00Z`);
  // Date.parse takes the 30th of February for the 2nd of March.
  const isDay = !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day);
  const at = isDay && day !== '' ? Date.parse(`${day}T${time}${zone.toUpperCase()}`) : Number.NaN;
  if (!Number.isNaN(at)) return got(at);
  return wrong(/^\d{4}-\d\d-\d\d[Tt ][\d:.]+$/.test(text) ? `did you mean ${text}Z?` : '');
}

function readBlock(text: string): Reading<string> {
  const reading = blocks.read(text);
  if ('hint' in reading) return reading;
  const [block] = reading.value;
  return block === undefined || reading.value.length > 1 ? wrong('one by one') : got(block);
}

/** A text that is read by one of the kinds of the settings. */
const read = <T>(allowed: string, by: (text: string) => Reading<T>) => {
  const error = `must be ${allowed}`;
  return z.string({ error }).transform((text, context) => {
    const reading = by(text.trim());
    if ('value' in reading) return reading.value;
    const message = reading.hint === '' ? error : `${error} (${reading.hint})`;
    context.issues.push({ code: 'custom', message, input: text });
    return z.NEVER;
  });
};

/** An amount as a number, or as people write it. */
const limit = (kind: Kind<number>, description: string) =>
  z
    .union([z.number().transform(String), z.string()], { error: `must be ${kind.allowed}` })
    .pipe(read(kind.allowed, kind.read))
    .optional()
    .meta({ description });

const listOf = <T extends z.ZodType>(item: T, example: string) => {
  const error = `must be a list with something in it, such as ${example}`;
  return z.array(item, { error }).min(1, { error });
};

const digest = read(DIGEST_ALLOWED, readDigest).meta({
  description: 'SHA-256 of a key, as `sidecar key digest` prints it',
  pattern: '^sha256:([0-9A-Fa-f]{64}|[A-Za-z0-9_-]{43}=?)$',
});

const LIMIT_MEMBERS = z.strictObject(
  {
    rpm: limit(amount, 'requests a minute'),
    parallel: limit(amount, 'requests and WebSockets at once'),
    tokens_per_day: limit(amount, 'tokens read and written, each day of UTC'),
    usd_per_day: limit(dollars, 'US dollars, each day of UTC'),
    mode: z
      .enum(LIMIT_MODES, { error: `must be one of ${LIMIT_MODES.join(', ')}` })
      .optional()
      .meta({ description: 'what a limit does that is reached; default: refuse' }),
  },
  { error: 'must be a map, such as {rpm: 60}' },
);

const limits = LIMIT_MEMBERS.refine(
  ({ mode: _, ...amounts }) => Object.values(amounts).some((each) => each !== undefined),
  {
    error: 'limits nothing: leave it out for no limits',
  },
).transform(({ rpm, parallel, tokens_per_day, usd_per_day, mode = 'refuse' }) => ({
  ...{ rpm, parallel, tokensPerDay: tokens_per_day, usdPerDay: usd_per_day, mode },
}));

/** The members of a client, by their names in the file. */
export const CLIENT_MEMBERS = z.strictObject(
  {
    keys: listOf(digest, '[sha256:…]')
      .max(MOST_VALID, { error: `has too many keys: ${MOST_VALID} may be valid at once` })
      .optional()
      .meta({ description: 'digests of its keys; all of them are valid' }),
    keys_file: read('the path of a file', (text) => (text === '' ? wrong() : got(text)))
      .optional()
      .meta({ description: 'instead of keys: a file with a key or a digest on each line' }),
    scopes: listOf(z.enum(SCOPES, { error: `must be one of ${SCOPES.join(', ')}` }), '[inference]')
      .optional()
      .meta({ description: 'what its keys may do; default: [inference]' }),
    expires: read('a day or an instant, such as 2027-03-01 or 2027-03-01T12:00:00Z', readInstant)
      .optional()
      .meta({ description: 'from this day (00:00 UTC) or instant on its keys are refused' }),
    allow_from: listOf(
      read('an address or a CIDR block, such as 10.0.0.0/8', readBlock),
      '[10.0.0.0/8]; leave it out for anywhere',
    )
      .optional()
      .meta({ description: 'where its requests may come from; default: anywhere' }),
    models: listOf(read(modelGlob.allowed, modelGlob.read), '[gpt-4o*]; leave it out for all')
      .optional()
      .meta({ description: 'the models that it may use, * for any characters; default: all' }),
    names_end_users: z
      .boolean({ error: 'must be true or false' })
      .optional()
      .meta({ description: 'it names its end users to LiteLLM; default: false' }),
    limits: limits.optional().meta({ description: 'what it may use; default: no limits' }),
  },
  { error: 'must be a map with its keys, such as {keys: [sha256:…]}' },
);

/** The known names in the place that a path leads to. */
export const membersAt = (path: readonly PropertyKey[]): readonly string[] =>
  Object.keys(path[0] === 'limits' ? LIMIT_MEMBERS.shape : CLIENT_MEMBERS.shape);

/** The whole file, for editors. */
export const CLIENTS_FILE_SCHEMA = z
  .strictObject({
    clients: z
      .record(
        z.string().regex(/^(?!sk-)(?!master$)[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/),
        CLIENT_MEMBERS,
      )
      .meta({ description: 'each client by its name' }),
  })
  .meta({ title: 'The clients of litellm-sidecar (SIDECAR_CLIENTS)' });
