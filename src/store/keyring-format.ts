import { hash } from 'node:crypto';
import * as z from 'zod';
import { checkInvariants, DIGEST } from '../keyring/invariants.ts';
import {
  type Client,
  DECLARED_SOURCES,
  type Keyring,
  SCOPES,
  type Tombstone,
} from '../keyring/keyring.ts';
import type { StoredKeyring } from './key-store.ts';
import { seal, unseal } from './sealed.ts';

/** The format of `keyring.json`; one field more or less is another format. */
const FORMAT = 3;

const digest = z.string().regex(DIGEST);
const number = z.int().positive();
const source = z.enum(DECLARED_SOURCES);
const origin = z.enum(['made', 'declared']);
const idempotency = { digest, fingerprint: z.string() };

const retirement = z.strictObject({
  rotatedAt: z.number(),
  graceMs: z.number(),
  latestEnd: z.number(),
  deadline: z.number().optional(),
});
const generation = z.strictObject({
  number,
  digest,
  state: z.enum(['active', 'retiring']),
  origin,
  createdAt: z.number(),
  publishedAt: z.number().optional(),
  afterCompromise: z.boolean(),
  retirement: retirement.optional(),
});
const staged = z.strictObject({
  number,
  digest,
  origin,
  stagedAt: z.number(),
  graceMs: z.number(),
  maxGraceMs: z.number(),
  compromised: z.boolean(),
  source: source.optional(),
  idempotency: z.strictObject(idempotency).optional(),
});
const client = z.strictObject({
  name: z.string().min(1),
  scopes: z.array(z.enum(SCOPES)),
  allowFrom: z.array(z.string()),
  createdAt: z.number(),
  expiresAt: z.number().optional(),
  disabled: z.boolean(),
  disabledByHand: z.boolean(),
  removed: z.boolean(),
  lastNumber: z.int().nonnegative(),
  generations: z.array(generation),
  staged: staged.optional(),
  idempotency: z.strictObject({ ...idempotency, number }).optional(),
});
const tombstone = z.strictObject({
  client: z.string().min(1),
  number,
  digest,
  state: z.enum(['retired', 'revoked']),
  origin,
  createdAt: z.number(),
  publishedAt: z.number().optional(),
  endedAt: z.number(),
  clockStarted: z.boolean(),
});
const common = {
  changedAt: z.number(),
  declared: z.strictObject({
    file: digest.optional(),
    dotenv: digest.optional(),
    environment: digest.optional(),
  }),
  audit: z.strictObject({
    count: z.int().nonnegative(),
    head: z.union([z.literal(''), digest]),
    pending: z.array(z.string()),
  }),
};
const document = z.strictObject({
  format: z.literal(FORMAT),
  version: z.int().positive(),
  keyring: z.strictObject({
    ...common,
    clients: z.array(client),
    tombstones: z.strictObject({
      count: z.int().nonnegative(),
      sum: digest,
      list: z.array(tombstone),
    }),
  }),
  sum: z.string(),
});

/** Format 2 did not keep who had disabled a client. */
const client2 = client.omit({ disabledByHand: true });
const document2 = document.extend({
  format: z.literal(2),
  keyring: document.shape.keyring.extend({ clients: z.array(client2) }),
});

/** Format 1 kept what had ended among the other generations of a client. */
const oldGeneration = generation.extend({
  state: z.enum(['active', 'retiring', 'retired', 'revoked']),
  endedAt: z.number().optional(),
});
const oldClient = client2
  .omit({ lastNumber: true })
  .extend({ generations: z.array(oldGeneration) });
const oldDocument = document.extend({
  format: z.literal(1),
  keyring: z.strictObject({ ...common, clients: z.array(oldClient) }),
});

/** The text of `keyring.json`, sealed: a line for each client, and for each tombstone. */
export function encodeKeyring({ keyring, version }: StoredKeyring): string {
  const { changedAt, declared, audit, clients, tombstones } = keyring;
  const rows = [...clients.values()].map((each) => `\n      ${textOf(each)}`);
  const lines = linesOf([...tombstones.values()]);
  return seal(`{
  "format": ${FORMAT},
  "version": ${version},
  "keyring": {
    "changedAt": ${textOf(changedAt)},
    "declared": ${textOf(declared)},
    "audit": ${textOf(audit)},
    "clients": [${rows.join()}
    ],
    "tombstones": {
      "count": ${tombstones.size},
      "sum": "${hash('sha256', lines, 'base64url')}",
      "list": [${lines}
      ]
    }
  }`);
}

/** What `linesOf` made last. At 10,000 tombstones to make it anew takes 5 ms, to add to it none. */
let made: { readonly last: Tombstone | undefined; readonly count: number; readonly text: string } =
  {
    ...{ last: undefined, count: 0, text: '' },
  };

/** The text of the list of tombstones. It has a sum of its own, which covers what it says. */
function linesOf(list: readonly Tombstone[]): string {
  // The list only grows, so that the same tombstone at the same place has the same ones before it.
  const known = list[made.count - 1] === made.last ? made : { count: 0, text: '' };
  const lines = list.slice(known.count).map(lineOf);
  const text = [...(known.count === 0 ? [] : [known.text]), ...lines].join();
  made = { last: list.at(-1), count: list.length, text };
  return text;
}

const TOMBSTONE_FIELDS = Object.keys(tombstone.shape);
/** The fields always stand in one order, whoever made the tombstone. */
const lineOf = (each: Tombstone): string => `\n        ${JSON.stringify(each, TOMBSTONE_FIELDS)}`;

/** JSON has no Infinity; such a number would come back as null. */
const textOf = (value: unknown): string =>
  JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== 'number' || Number.isFinite(each)) return each;
    throw new RangeError('a keyring with a number that is not finite cannot be stored');
  });

export type Decoded =
  | { readonly ok: true; readonly stored: StoredKeyring }
  | {
      readonly ok: false;
      readonly kind: 'damaged' | 'newer';
      /** Goes on after "keyring.json cannot be used:"; quotes nothing of it. */
      readonly reason: string;
    };

const READERS = new Map<unknown, typeof document | typeof document2 | typeof oldDocument>([
  [1, oldDocument],
  [2, document2],
]);

/** Reads what `encodeKeyring` made, in this format or one before. Never throws. */
export function decodeKeyring(bytes: Buffer): Decoded {
  const unsealed = unseal(bytes);
  const { content } = unsealed;
  const format = (content as { readonly format?: unknown } | null | undefined)?.format;
  if (typeof format === 'number' && format > FORMAT) {
    return { ok: false, kind: 'newer', reason: 'it was written by a newer sidecar' };
  }
  if (!unsealed.ok) return damaged(unsealed.reason);
  const parsed = (READERS.get(format) ?? document).safeParse(content);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.join('.') ?? '';
    return damaged(path === '' ? 'its fields are wrong' : `its field ${path} is wrong`);
  }
  const { keyring, version } = parsed.data;
  const isOld = !('tombstones' in keyring);
  const read = isOld ? keyring.clients.map(withoutEnded) : keyring.clients;
  const clients = new Map(read.map((each) => [each.name, clientOf(each)]));
  if (clients.size < read.length) return damaged('two of its clients have one name');
  const list = isOld ? endedIn(keyring.clients) : keyring.tombstones.list.map(tombstoneOf);
  const tombstones = new Map(list.map((each) => [each.digest, each]));
  if (tombstones.size < list.length) return damaged('two of its tombstones are the same key');
  const wrong = isOld ? undefined : listFault(list, keyring.tombstones);
  if (wrong !== undefined) return damaged(wrong);
  const { changedAt, audit } = keyring;
  const decoded = {
    ...{ clients, tombstones, changedAt, audit },
    declared: declaredOf(keyring.declared),
  };
  const broken = checkInvariants(decoded);
  if (broken !== undefined) return damaged(`it breaks a rule: ${broken}`);
  return { ok: true, stored: { keyring: decoded, version } };
}

const damaged = (reason: string): Decoded => ({ ok: false, kind: 'damaged', reason });

/** What is wrong with the list of tombstones, even where somebody sealed the file anew. */
function listFault(
  list: readonly Tombstone[],
  { count, sum }: { readonly count: number; readonly sum: string },
): string | undefined {
  if (list.length < count) return `its tombstones were cut: ${list.length} of ${count} are there`;
  if (list.length > count) return `it has ${list.length} tombstones, and counts ${count}`;
  if (hash('sha256', linesOf(list), 'base64url') === sum) return undefined;
  return 'its tombstones do not match their checksum: one was changed, or they were moved';
}

type ReadClient = z.infer<typeof client2> & Partial<Pick<Client, 'disabledByHand'>>;

/**
 * The fields that JSON leaves out are there again, as undefined. Of a client without an active key
 * an older format does not say whether somebody had disabled it, too: then nobody had.
 */
const clientOf = (read: ReadClient): Client => ({
  ...read,
  disabledByHand:
    read.disabledByHand ??
    (read.disabled && read.generations.some(({ state }) => state === 'active')),
  expiresAt: read.expiresAt,
  generations: read.generations.map((each) => ({
    ...each,
    publishedAt: each.publishedAt,
    retirement: each.retirement && { ...each.retirement, deadline: each.retirement.deadline },
  })),
  staged: read.staged && {
    ...read.staged,
    source: read.staged.source,
    idempotency: read.staged.idempotency,
  },
  idempotency: read.idempotency,
});

const tombstoneOf = (read: z.infer<typeof tombstone>): Tombstone => ({
  ...read,
  publishedAt: read.publishedAt,
});

type OldClient = z.infer<typeof oldClient>;

function withoutEnded({ generations, ...rest }: OldClient): ReadClient {
  const valid = generations.flatMap(({ state, endedAt, ...each }) =>
    state === 'active' || state === 'retiring' ? [{ ...each, state }] : [],
  );
  return { ...rest, lastNumber: generations.at(-1)?.number ?? 0, generations: valid };
}

const endedIn = (clients: readonly OldClient[]): Tombstone[] =>
  clients
    .flatMap(({ name, generations }) =>
      generations.flatMap(({ state, afterCompromise, retirement, ...each }) => {
        if (state === 'active' || state === 'retiring') return [];
        const clockStarted = retirement?.deadline !== undefined;
        // The invariants refuse what has no date of its end.
        const endedAt = each.endedAt ?? Number.NaN;
        return [tombstoneOf({ ...each, client: name, state, endedAt, clockStarted })];
      }),
    )
    .sort((one, other) => one.endedAt - other.endedAt);

function declaredOf(read: z.infer<typeof document>['keyring']['declared']): Keyring['declared'] {
  const known = DECLARED_SOURCES.filter((each) => read[each] !== undefined);
  return Object.fromEntries(known.map((each) => [each, read[each]]));
}
