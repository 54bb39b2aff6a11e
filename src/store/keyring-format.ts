import * as z from 'zod';
import { checkInvariants, DIGEST } from '../keyring/invariants.ts';
import {
  type Client,
  DECLARED_SOURCES,
  type Generation,
  type Keyring,
  SCOPES,
} from '../keyring/keyring.ts';
import type { StoredKeyring } from './key-store.ts';
import { seal, unseal } from './sealed.ts';

/** The format of `keyring.json`; one field more or less is another format. */
const FORMAT = 1;

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
  state: z.enum(['active', 'retiring', 'retired', 'revoked']),
  origin,
  createdAt: z.number(),
  publishedAt: z.number().optional(),
  afterCompromise: z.boolean(),
  retirement: retirement.optional(),
  endedAt: z.number().optional(),
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
  removed: z.boolean(),
  generations: z.array(generation),
  staged: staged.optional(),
  idempotency: z.strictObject({ ...idempotency, number }).optional(),
});
const document = z.strictObject({
  format: z.literal(FORMAT),
  version: z.int().positive(),
  keyring: z.strictObject({
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
    clients: z.array(client),
  }),
  sum: z.string(),
});

/** The text of `keyring.json`, sealed: a line for each client. */
export function encodeKeyring({ keyring, version }: StoredKeyring): string {
  const { changedAt, declared, audit, clients } = keyring;
  const lines = [...clients.values()].map((each) => `\n      ${textOf(each)}`);
  return seal(`{
  "format": ${FORMAT},
  "version": ${version},
  "keyring": {
    "changedAt": ${textOf(changedAt)},
    "declared": ${textOf(declared)},
    "audit": ${textOf(audit)},
    "clients": [${lines.join()}
    ]
  }`);
}

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

/** Reads what `encodeKeyring` made, and nothing else. Never throws. */
export function decodeKeyring(bytes: Buffer): Decoded {
  const unsealed = unseal(bytes);
  if (isNewer(unsealed.content)) {
    return { ok: false, kind: 'newer', reason: 'it was written by a newer sidecar' };
  }
  if (!unsealed.ok) return damaged(unsealed.reason);
  const parsed = document.safeParse(unsealed.content);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.join('.') ?? '';
    return damaged(path === '' ? 'its fields are wrong' : `its field ${path} is wrong`);
  }
  const { version, keyring } = parsed.data;
  const clients = new Map(keyring.clients.map((each) => [each.name, clientOf(each)]));
  if (clients.size < keyring.clients.length) return damaged('two of its clients have one name');
  const decoded: Keyring = {
    clients,
    declared: declaredOf(keyring.declared),
    audit: keyring.audit,
    changedAt: keyring.changedAt,
  };
  const broken = checkInvariants(decoded);
  if (broken !== undefined) return damaged(`it breaks a rule: ${broken}`);
  return { ok: true, stored: { keyring: decoded, version } };
}

const damaged = (reason: string): Decoded => ({ ok: false, kind: 'damaged', reason });

function isNewer(content: unknown): boolean {
  const format = (content as { readonly format?: unknown } | null | undefined)?.format;
  return typeof format === 'number' && format > FORMAT;
}

/** Adds the fields that JSON leaves out, so that V8 gives all clients one hidden class. */
function clientOf(read: z.infer<typeof client>): Client {
  return {
    name: read.name,
    scopes: read.scopes,
    allowFrom: read.allowFrom,
    createdAt: read.createdAt,
    expiresAt: read.expiresAt,
    disabled: read.disabled,
    removed: read.removed,
    generations: read.generations.map(generationOf),
    staged: read.staged && {
      ...read.staged,
      source: read.staged.source,
      idempotency: read.staged.idempotency,
    },
    idempotency: read.idempotency,
  };
}

function generationOf(read: z.infer<typeof generation>): Generation {
  return {
    number: read.number,
    digest: read.digest,
    state: read.state,
    origin: read.origin,
    createdAt: read.createdAt,
    publishedAt: read.publishedAt,
    afterCompromise: read.afterCompromise,
    retirement: read.retirement && {
      ...read.retirement,
      deadline: read.retirement.deadline,
    },
    endedAt: read.endedAt,
  };
}

function declaredOf(read: z.infer<typeof document>['keyring']['declared']): Keyring['declared'] {
  const known = DECLARED_SOURCES.filter((each) => read[each] !== undefined);
  return Object.fromEntries(known.map((each) => [each, read[each]]));
}
